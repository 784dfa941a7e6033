"""What collections are called: by requests, in the store, and the second version that each may have."""

import re
from hashlib import sha256

from retrieval.types import Fingerprint, StoreName

_SHADOW = "~other"


def alias_of(name: str) -> str:
    """What the store calls the collection: the name itself where Milvus takes it, which is ASCII letters, digits and
    `_`; else what it takes of it, and a digest. Begins with `_` then, which no name does."""
    if re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name):
        return name
    return f"_{re.sub('[^A-Za-z0-9]+', '_', name).strip('_')}_{sha256(name.encode()).hexdigest()[:16]}"


def store_name_of(name: str, fingerprint: Fingerprint, *, principals: bool) -> StoreName:
    """What the store calls the first version of a collection. With principals it is another name: whoever still knows
    an earlier collection of that name, without them, must not search this one without its groups.
    """
    return StoreName(f"{alias_of(name)}__{fingerprint.digest}{'_p' if principals else ''}")


def shadow_of(name: str) -> str:
    """Returns the name of the second version that a collection may have: the one being filled, or the previous one."""
    return name + _SHADOW


def is_internal(name: str) -> bool:
    """Returns whether the name is internal. No request can name it: public names have letters, digits, `_`, `-` and
    `.`."""
    return "~" in name
