"""Where originals are kept."""

from pathlib import Path

import pytest

from app.settings import Settings, load_settings
from app.wiring.components import build_blobs
from ingestion.blobs.folder import FolderBlobStore
from ingestion.blobs.s3 import S3BlobStore
from retrieval.errors import ConfigurationError


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BLOBS", "S3_ENDPOINT", "S3_REGION", "S3_STYLE", "S3_ACCESS_KEY", "S3_SECRET_KEY"):
        monkeypatch.delenv(f"TANDEM_{name}", raising=False)


async def test_originals_lie_in_the_data_folder_or_in_one_of_their_own(tmp_path: Path) -> None:
    for settings, folder in (
        (Settings(data_dir=tmp_path), tmp_path / "originals"),
        (Settings(data_dir=tmp_path, blobs=str(tmp_path / "mine")), tmp_path / "mine"),
    ):
        store = build_blobs(settings)
        assert isinstance(store, FolderBlobStore)
        await store.start()
        assert folder.is_dir()


async def test_a_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_BLOBS", "s3://originals/team-a/docs/")
    monkeypatch.setenv("TANDEM_S3_ENDPOINT", "http://127.0.0.1:9")
    store = build_blobs(load_settings())
    assert isinstance(store, S3BlobStore)
    assert store.place == "s3://originals/team-a/docs at http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BLOBS", "gs://originals"),
        ("BLOBS", "s3://"),
        ("BLOBS", "s3://Originals"),
        ("BLOBS", "s3://originals/../others"),
        ("BLOBS", "s3://originals//others"),
        ("BLOBS", "s3://key:word@originals"),
        ("S3_ENDPOINT", "minio:9000"),
        ("S3_ENDPOINT", "https://key:word@minio:9000"),
        ("S3_ENDPOINT", "https://minio:9000/originals"),
        ("S3_STYLE", "dns"),
    ],
)
def test_a_wrong_value_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"TANDEM_{name}", value)
    with pytest.raises(ConfigurationError, match=f"TANDEM_{name}="):
        load_settings()


@pytest.mark.parametrize("name", ["S3_ACCESS_KEY", "S3_SECRET_KEY"])
def test_keys_come_in_pairs(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"TANDEM_{name}", "a-secret")
    with pytest.raises(ConfigurationError, match="together") as failure:
        load_settings()
    assert "a-secret" not in failure.value.message
