"""Replaces a part of a shared module for one module alone."""

from types import ModuleType, SimpleNamespace
from typing import Any

import pytest


def replace_in(monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str, **replaced: Any) -> None:
    """Lets `module` find `replaced` in what it imported as `name`. A patch of the imported module itself would reach
    each thread of the process, also the model servers that tests share, whose event loops call the same functions.
    """
    monkeypatch.setattr(module, name, SimpleNamespace(**{**vars(getattr(module, name)), **replaced}))
