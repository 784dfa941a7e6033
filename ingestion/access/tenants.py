"""Documents of tenants that share a collection. A tenant's documents lie in a partition of its own, `@name`, under ids
that begin with `@name:`, and no other documents do. So ids, versions, chunks and lists of two tenants never meet, while
each chooses its ids freely."""

import re
from typing import Final

from retrieval.errors import InvalidRequest
from retrieval.types import DocumentId

TENANT: Final = re.compile(r"[A-Za-z0-9_.-]{1,32}")
_MARK, _END = "@", ":"
_OWNED: Final = re.compile(rf"({_MARK}{TENANT.pattern}){_END}")


def partition_of(tenant: str) -> str:
    """Partition of the tenant's documents."""
    return _MARK + tenant


def prefix_of(tenant: str) -> str:
    """What the ids of the tenant's documents begin with, in the catalog and in the store."""
    return _MARK + tenant + _END


def after_prefix(prefix: str) -> str:
    """The first text, by code points, behind all that begin with `prefix`."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def owned(tenant: str | None, document_id: str, partition: str) -> tuple[DocumentId, str]:
    """Id and partition under which a document is stored, from those that its request names. Without a tenant they stay,
    and have to belong together. Raises InvalidRequest.
    """
    if tenant is not None:
        if partition not in ("", tenant, partition_of(tenant)):
            raise InvalidRequest(
                f"partition: this API key writes into {tenant!r} alone; leave the partition out.", partition=tenant
            )
        return DocumentId(prefix_of(tenant) + document_id), partition_of(tenant)
    found = _OWNED.match(document_id)
    if (found[1] if found else "") != (partition if _OWNED.match(partition + _END) else ""):
        raise InvalidRequest(
            f"Ids that begin with '@name:' belong to the partition '@name', and no others do; the id is "
            f"{document_id[:80]!r}, the partition {partition[:80]!r}.",
        )
    return DocumentId(document_id), partition
