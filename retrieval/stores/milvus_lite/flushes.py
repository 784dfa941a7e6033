"""Searches beside flushes in Milvus Lite's process: no row is out of sight while it goes from memory into a file."""

from typing import Any

from milvus_lite.engine.collection import Collection

_search_at_once = Collection.search
_flush_unguarded = Collection._trigger_flush


def install() -> None:
    Collection.search = _search
    Collection._trigger_flush = _flush


def _search(self: Any, *args: Any, **kwargs: Any) -> Any:
    """In place of Collection.search, which reads files first and memory then, and may find rows in neither. Where
    memory was emptied into a file meanwhile, it is asked again."""
    while True:
        with self._maintenance_lock:
            memory = self._memtable
        found = _search_at_once(self, *args, **kwargs)
        if self._memtable is memory:
            return found


def _flush(self: Any) -> None:
    """In place of Collection._trigger_flush, which empties memory before it locks the files."""
    with self._maintenance_lock:
        _flush_unguarded(self)
