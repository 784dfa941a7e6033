"""The caller of a request and its permissions."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache
from typing import Final

from app.access.space import Space
from app.errors import Forbidden
from ingestion.access.keys import EVERY_COLLECTION, NO_LIMITS, SCOPES, KeyLimits, Scope, StoredKey

INTERNAL: Final = "internal"
"""Id of the key that the node's own worker processes have."""
COMPILED: Final = 10_000
"""Lists of names and globs whose compiled form is kept."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of a request. The defaults are every right: those of a key of the settings, and of everyone on a
    node without keys."""

    key_id: str | None
    """Id of a stored key; for a key of the settings, the first 12 hexadecimal digits of its SHA-256; INTERNAL. None:
    this node has no keys.
    """
    scopes: frozenset[Scope] = frozenset(SCOPES)
    collections: tuple[str, ...] = EVERY_COLLECTION
    """Names and globs."""
    limits: KeyLimits = NO_LIMITS
    tenant: str | None = None
    """Whose documents alone exist for this caller; None: those of everybody."""
    filter: Mapping[str, object] | None = None
    """Tree of the documents that alone exist for this caller; None: all."""

    @property
    def unlimited(self) -> bool:
        """Whether the caller may see every collection and everything in it."""
        return self.collections == EVERY_COLLECTION and self.space.whole

    @property
    def space(self) -> Space:
        return Space(self.tenant, self.filter)

    def sees(self, collection: str) -> bool:
        """Returns whether the caller may see a collection of that name."""
        return self.collections == EVERY_COLLECTION or _pattern(self.collections).fullmatch(collection) is not None

    def has(self, *any_of: Scope) -> bool:
        return "admin" in self.scopes or not self.scopes.isdisjoint(any_of)

    def require(self, *any_of: Scope) -> None:
        """Raises Forbidden for a key with none of the scopes."""
        if not self.has(*any_of):
            wanted = " or ".join(any_of)
            raise Forbidden(
                f"This API key has the scopes {', '.join(sorted(self.scopes))}; {wanted} is needed here. Ask for a key "
                "with that scope.",
                scopes=list(any_of),
            )


def caller_of(key: StoredKey) -> Caller:
    return Caller(key.id, frozenset(key.scopes), key.collections, key.limits, key.tenant, key.filter)


@lru_cache(COMPILED)
def _pattern(names: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(translate, names)))
