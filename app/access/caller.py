"""The caller of a request and its permissions."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
class Token:
    """What a verified token says."""

    subject: str | None
    """Whom it was issued for, in at most 255 printable characters."""
    groups: tuple[str, ...]


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
    groups: tuple[str, ...] | None = None
    """Groups of the caller, by its key or its token; None: neither names any."""
    token_subject: str | None = None
    """Subject of the token; None: the request had none, or the token names nobody."""

    @property
    def unlimited(self) -> bool:
        """Whether the caller may see every collection and everything in it."""
        return self.collections == EVERY_COLLECTION and self.space.whole

    @property
    def space(self) -> Space:
        return Space(self.tenant, self.filter, self.groups if self.groups is not None else self._no_groups())

    def _no_groups(self) -> tuple[str, ...] | None:
        """In collections with principals, whoever reads texts without naming groups reads none; all of them only who
        manages the collection. Whoever ingests without reading texts sees the records of what is there.
        """
        return None if self.has("manage") or "search" not in self.scopes else ()

    def with_token(self, token: Token) -> "Caller":
        """The caller on behalf of whom the token names: it only reads, by the token's groups. Those of a key bound
        the token's.
        """
        groups = token.groups if self.groups is None else tuple(sorted(set(self.groups) & set(token.groups)))
        scopes: frozenset[Scope] = frozenset(["search"] if self.has("search") else [])
        return replace(self, groups=groups, scopes=scopes, token_subject=token.subject)

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
    scopes = frozenset(key.scopes)
    return Caller(key.id, scopes, key.collections, key.limits, key.tenant, key.filter, key.groups)


@lru_cache(COMPILED)
def _pattern(names: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(translate, names)))
