"""Collections, as one caller sees them."""

from collections.abc import Mapping, Sequence
from contextlib import aclosing, suppress

from app.access.caller import Caller
from app.access.trail import Trail
from app.errors import Forbidden
from app.node.node import Node
from ingestion.collections.reembedding import Plan, Status
from ingestion.selection import selected
from ingestion.types import Collection, CollectionOptions, GoldenQuery, Totals
from retrieval.errors import CollectionNotFound
from retrieval.ports import Embedder
from retrieval.types import Fingerprint


class CollectionsView:
    def __init__(self, node: Node, caller: Caller, trail: Trail) -> None:
        self._node = node
        self._caller = caller
        self._trail = trail

    async def get(self, name: str) -> Collection:
        """Raises CollectionNotFound."""
        self._trail.require(collection=name)
        return await self._node.collections.get(name)

    async def recent(self, name: str) -> Collection:
        """See CollectionService.get_recent."""
        self._trail.require(collection=name)
        return await self._node.collections.get_recent(name)

    async def list(self) -> Sequence[Collection]:
        return [each for each in await self._node.collections.list() if self._caller.sees(each.name)]

    async def count(self, name: str) -> int:
        """Chunks that a search can find. Raises CollectionNotFound."""
        self._trail.require(collection=name)
        collection = await self._node.collections.get(name)
        if self._caller.space.has_all_of(collection):
            return await self._node.collections.count(name)
        return (await self.totals([name])).get(name, Totals()).chunks

    async def totals(self, names: Sequence[str]) -> Mapping[str, Totals]:
        """Returns the totals of those of `names` that hold documents."""
        seen = [name for name in names if self._caller.sees(name)]
        space, catalog = self._caller.space, self._node.components.catalog
        if space.filter is None:
            return await catalog.totals(seen, prefix=space.prefix, groups=space.groups)
        found: dict[str, Totals] = {}
        for name in seen:
            with suppress(CollectionNotFound):  # deleted meanwhile
                selection = space.selects(await self._node.collections.get_recent(name))
                async with aclosing(selected(catalog, name, selection, prefix=space.prefix)) as records:
                    async for record in records:
                        found[name] = found.get(name, Totals()).plus(record)
        return found

    async def create(self, name: str, fingerprint: Fingerprint, options: CollectionOptions | None = None) -> Collection:
        """See CollectionService.create. Raises Forbidden, also for a name that this caller would not see."""
        async with self._trail.action("collection.create", name):
            self._trail.require("manage")
            if not self._caller.sees(name):
                self._trail.refused(Forbidden.code, name)
                allowed = ", ".join(self._caller.collections[:5])
                raise Forbidden(
                    f"Collection {name!r} is outside of what this API key may use ({allowed}): choose a name within.",
                    collection=name,
                )
            return await self._node.collections.create(name, fingerprint, options)

    async def delete(self, name: str) -> None:
        """Raises Forbidden, CollectionNotFound."""
        async with self._trail.action("collection.delete", name):
            self._trail.require("manage", collection=name)
            await self._node.collections.delete(name)

    async def golden_queries(self, name: str) -> Sequence[GoldenQuery]:
        """Raises Forbidden, CollectionNotFound."""
        self._trail.require("manage", collection=name)
        return await self._node.components.catalog.golden_queries(name)

    async def set_golden_queries(self, name: str, queries: Sequence[GoldenQuery]) -> None:
        """Raises Forbidden, CollectionNotFound."""
        async with self._trail.action("collection.golden", name):
            self._trail.require("manage", collection=name)
            await self._node.components.catalog.set_golden_queries(name, queries)

    async def embedder_for(self, name: str, models: str | None) -> Embedder:
        """Returns the embedder of a re-embedding; see Node.embedder_for. Raises Forbidden, CollectionNotFound."""
        self._trail.require("manage", collection=name)
        return await self._node.embedder_for(models)

    async def reembed(self, name: str, plan: Plan) -> Status:
        """See Reembedding.start. Raises Forbidden, CollectionNotFound."""
        async with self._trail.action("collection.reembed", name):
            self._trail.require("manage", collection=name)
            return await self._node.reembedding.start(name, plan)

    def reembedding(self, name: str) -> Status | None:
        """See Reembedding.status; None also for a collection that this caller does not see. Raises Forbidden."""
        self._trail.require("manage")
        return self._node.reembedding.status(name) if self._caller.sees(name) else None

    async def rollback(self, name: str) -> Status:
        """See Reembedding.rollback. Raises Forbidden, CollectionNotFound."""
        async with self._trail.action("collection.rollback", name):
            self._trail.require("manage", collection=name)
            return await self._node.reembedding.rollback(name)
