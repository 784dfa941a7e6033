"""The reserve that writers leave free."""

from pathlib import Path

import pytest

from retrieval.disk_space import free_bytes, require_free
from retrieval.errors import StoreFull


def test_room_is_enough(tmp_path: Path) -> None:
    require_free(tmp_path, 0)
    require_free(tmp_path, 1)


def test_less_than_the_reserve_is_refused_with_both_figures(tmp_path: Path) -> None:
    reserve = 2 * free_bytes(tmp_path) + 2**21
    with pytest.raises(StoreFull, match=rf"{tmp_path} has \d+ MB free") as refusal:
        require_free(tmp_path, reserve)
    assert refusal.value.detail["reserve_mb"] == reserve // 2**20


def test_a_folder_that_cannot_be_asked_refuses_nothing(tmp_path: Path) -> None:
    require_free(tmp_path / "missing", 1)
