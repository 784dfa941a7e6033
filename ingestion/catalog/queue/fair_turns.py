"""Fair turns between jobs, after start-time fair queueing (Goyal, Vin, Cheng: SIGCOMM 1996).

Every queued document has a turn, and claims go by it. A job's documents have consecutive turns, starting after the
greatest turn that was claimed before the job arrived. So a later job interleaves with the rest of the earlier ones,
however many documents they hold; and since each new job starts after what was claimed, no job starves. Background work
has turns of its own. Each function is part of a transaction.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Row, bindparam, case, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ingestion.catalog.tables import documents, turns
from retrieval.types import DocumentId

_FIRST = select(turns.c.claimed + 1).where(turns.c.background == bindparam("of_background"))
_MOVE = (
    update(documents)
    .where(documents.c.collection == bindparam("c"), documents.c.id == bindparam("d"))
    .values(turn=bindparam("t"))
)


async def first(connection: AsyncConnection, *, background: bool) -> int:
    """Returns the turn of the first document of a job that arrives now."""
    found: int = (await connection.execute(_FIRST, {"of_background": background})).scalar_one()
    return found


async def close_gaps(
    connection: AsyncConnection, collection: str, turn_of: Mapping[DocumentId, int], first: int
) -> None:
    """Gives consecutive turns from `first` to the documents that a job queued, and so holds locked: turns of documents
    that were not queued leave no gaps.
    """
    ordered = sorted(turn_of, key=turn_of.__getitem__)
    moved = [{"c": collection, "d": id_, "t": turn} for turn, id_ in enumerate(ordered, first) if turn_of[id_] != turn]
    if moved:
        await connection.execute(_MOVE, moved)


async def advance(connection: AsyncConnection, claimed: Iterable[Row[Any]]) -> None:
    """Records the claimed turns. Called last, since it waits for concurrent claims."""
    greatest: dict[bool, int] = {}
    for row in claimed:
        greatest[row.background] = max(row.turn, greatest.get(row.background, row.turn))
    for background, turn in sorted(greatest.items()):
        await connection.execute(
            update(turns).where(turns.c.background == background, turns.c.claimed < turn).values(claimed=turn)
        )


async def requeue(connection: AsyncConnection, collection: str, rows: Sequence[Row[str, int, bool]]) -> None:
    """Gives turns to documents that are queued again and were locked before. All such documents form one job that never
    ends.
    """
    for background in (False, True):
        ids = [row.id for row in rows if row.background == background]
        if not ids:
            continue
        latest = case((turns.c.claimed > turns.c.requeued, turns.c.claimed), else_=turns.c.requeued)
        statement = update(turns).where(turns.c.background == background).values(requeued=latest + len(ids))
        last: int = (await connection.execute(statement.returning(turns.c.requeued))).scalar_one()
        given = enumerate(ids, last - len(ids) + 1)
        await connection.execute(_MOVE, [{"c": collection, "d": id_, "t": turn} for turn, id_ in given])
