"""A node on what was restored from a backup finds what was ingested before."""

from pathlib import Path

from app.node.backup import restore_backup, write_backup
from tests.support.nodes.node import running


async def test_a_restored_node_finds_what_was_saved_and_nothing_later(tmp_path: Path) -> None:
    first, second, archive = tmp_path / "first", tmp_path / "second", tmp_path / "backup.tar.gz"
    first.mkdir()
    async with running(first) as node:
        await node.ingest({"id": "kiln", "text": "The kiln is held at 1280 degrees."})
    write_backup(first, archive)
    async with running(first) as node:
        await node.ingest({"id": "oven", "text": "The oven is held at 220 degrees."})
    restore_backup(archive, second)
    async with running(second) as node:
        hits = (await node.search("how hot is the kiln?"))["hits"]
        assert [hit["document_id"] for hit in hits] == ["kiln"]  # type: ignore[attr-defined]
        assert (await node.http.get("/documents/oven")).status_code == 404
        report = (await node.http.post("/audit", json={})).json()
        assert report["clean"], report
        await node.ingest({"id": "oven", "text": "The oven is held at 220 degrees."})
