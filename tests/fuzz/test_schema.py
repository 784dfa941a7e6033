"""Every route asked by schemathesis with what its schema allows and what it forbids: no defect, no undocumented answer.

`make fuzz` asks much more. What schemathesis is not asked to check, and why, stands in schemathesis.toml.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.main import create_app
from app.settings import Settings
from retrieval.errors import ModelUnavailable
from retrieval.ports import Embedder
from tests.support.fake_models import FakeEmbedder, FakeReranker
from tests.support.listening import listening
from tests.support.node import real_but_for

HERE = Path(__file__).parent
EXAMPLES = {"short": 4, "long": 200}
"""For each route and phase."""


async def open_embedder(models: str) -> Embedder:
    if models == "qwen3-4b":
        return FakeEmbedder(dimension=512)
    raise ModelUnavailable(f"{models!r} is neither a folder nor an id of the form organisation/name.")


@pytest.fixture(scope="module")
async def url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    folder = tmp_path_factory.mktemp("fuzzed")
    components = replace(real_but_for(FakeEmbedder(), FakeReranker(), folder), open_embedder=open_embedder)
    settings = Settings(
        data_dir=folder, selftest_margin=False, api_keys="key", max_body_mb=2, max_document_mb=1, max_documents=50
    )
    async with listening(create_app(settings, components)) as listener:
        yield listener.url


@pytest.mark.timeout(3600)
async def test_no_defect_and_no_undocumented_answer(url: str, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    form = pytestconfig.getoption("--fuzz")
    arguments = [
        *("--config-file", str(HERE / "schemathesis.toml"), "run", f"{url}/openapi.json", "--no-color"),
        *("--max-examples", str(EXAMPLES[form])),
    ]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", *arguments),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(HERE.parents[1])},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
