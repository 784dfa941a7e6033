"""Every route asked by schemathesis with what its schema allows and what it forbids: no defect, no undocumented answer.
With a key that may do everything, and with keys that may do less.

`make fuzz` asks much more, with keys of every scope. What schemathesis is not asked to check, and why, stands in
schemathesis.toml.
"""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.main import create_app
from app.settings import Settings
from retrieval.errors import ModelUnavailable
from retrieval.ports import Embedder
from tests.support.fuzz import REQUESTS
from tests.support.models.fake_models import FakeEmbedder, FakeReranker
from tests.support.nodes.listening import listening
from tests.support.nodes.node import real_but_for

HERE = Path(__file__).parent
EXAMPLES = {"short": 4, "long": 200}
"""For each route and phase, with a key that may do everything."""
EXAMPLES_OF_LESSER_KEYS = {"short": 1, "long": 40}
"""For each route and phase; the short form has one phase."""
ADMIN, FUZZING_ADMIN = "a-key-of-the-settings", "another-key-of-the-settings"
"""Keys that nothing rotates or revokes: who may do everything comes upon its own key, and ends it."""
KEYS: dict[str, dict[str, Any]] = {
    "admin": {},  # one of the settings
    "search": {"scopes": ["search"]},
    "ingest": {"scopes": ["ingest"]},
    "manage": {"scopes": ["manage"]},
    "collections": {"scopes": ["search", "ingest", "manage"], "collections": ["a*"]},
    "tenant": {"scopes": ["search", "ingest"], "tenant": "mill"},
    "filter": {"scopes": ["search"], "filter": {"type": "exists", "key": "metadata.audience"}},
    "limits": {"scopes": ["search"], "limits": {"requests_per_minute": 60, "texts_per_minute": 5}},
}
SHORT = {"admin", "filter"}
"""Keys of the short form; the long one has all."""


async def open_embedder(models: str) -> Embedder:
    if models == "qwen3-4b":
        return FakeEmbedder(dimension=512)
    raise ModelUnavailable(f"{models!r} is neither a folder nor an id of the form organisation/name.")


@pytest.fixture(scope="module")
async def url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    folder = tmp_path_factory.mktemp("fuzzed")
    components = replace(real_but_for(FakeEmbedder(), FakeReranker(), folder), open_embedder=open_embedder)
    settings = Settings(
        data_dir=folder,
        selftest_margin=False,
        api_keys=f"{ADMIN},{FUZZING_ADMIN}",
        max_body_mb=2,
        max_document_mb=1,
        max_documents=50,
    )
    async with listening(create_app(settings, components)) as listener:
        yield listener.url


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", KEYS)
async def test_no_defect_and_no_undocumented_answer(
    url: str, tmp_path: Path, pytestconfig: pytest.Config, name: str
) -> None:
    form = pytestconfig.getoption("--fuzz")
    if form == "short" and name not in SHORT:
        pytest.skip("a key of the long form")
    async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {ADMIN}"}) as http:
        if name == "admin":
            key, id_ = FUZZING_ADMIN, sha256(FUZZING_ADMIN.encode()).hexdigest()[:12]
        else:
            made = await http.post("/keys", json={"name": name, **KEYS[name]})
            assert made.status_code == 201, made.text
            key, id_ = made.json()["key"], made.json()["id"]
        try:
            await fuzz(url, key, arguments_of(name, form), tmp_path)
        finally:
            counted = re.search(rf'key="{id_}"}} (\d+)', (await http.get("/metrics")).text)
            pytestconfig.stash[REQUESTS][name] = int(counted[1]) if counted else 0
        assert counted, "no request had the key"


def arguments_of(name: str, form: str) -> list[str]:
    if name == "admin":
        return ["--max-examples", str(EXAMPLES[form])]
    phases = ["--phases", "fuzzing"] if form == "short" else []
    return ["--max-examples", str(EXAMPLES_OF_LESSER_KEYS[form]), *phases]


async def fuzz(url: str, key: str, more: Sequence[str], folder: Path) -> None:
    arguments = [
        *("--config-file", str(HERE / "schemathesis.toml"), "run", f"{url}/openapi.json", "--no-color"),
        *more,
    ]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", *arguments),
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(HERE.parents[1]), "FUZZ_KEY": key},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
