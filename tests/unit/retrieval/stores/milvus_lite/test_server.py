"""The check of the installed release of milvus-lite."""

from pathlib import Path

import pytest

from retrieval.errors import ConfigurationError
from retrieval.stores.milvus_lite import server
from retrieval.stores.milvus_lite.server import VERSION, MilvusLiteServer


async def test_another_release_of_milvus_lite_stops_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "version", lambda name: f"{VERSION}.post1")
    with pytest.raises(ConfigurationError, match=f"milvus-lite {VERSION}.post1 is installed.*milvus-lite.*=={VERSION}"):
        await MilvusLiteServer(tmp_path / "lite").start()
    assert not (tmp_path / "lite").exists()
