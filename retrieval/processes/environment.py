"""The environment of a child process: the variables that any program needs, and those that its caller names. It is an
allow-list, so that a key, token or URL with a password reaches only processes that use it.
"""

import os
import re
from collections.abc import Collection, Mapping

_NAMES = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "TZ", "LANG", "LANGUAGE", "TERM"),
        *("LD_LIBRARY_PATH", "LD_PRELOAD", "GLIBC_TUNABLES", "VIRTUAL_ENV", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"),
    }
)
_PREFIXES = ("LC_", "MALLOC_", "PYTHON")
_SECRET = re.compile(r"(^|_)(KEYS?|TOKENS?|SECRETS?|PASSWORDS?|PASSWD|CREDENTIALS?|AUTH)($|_)")


def process_environment(
    *, names: Collection[str] = (), prefixes: Collection[str] = (), source: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Returns the variables of `source` (None: this process's own) that any program needs, those in `names`, and those
    that begin with one of `prefixes`. A variable whose name indicates a secret (HF_TOKEN, VLLM_API_KEY) passes only by
    `names`, never by a prefix.
    """
    source = os.environ if source is None else source
    every = _NAMES.union(names)
    starts = (*_PREFIXES, *prefixes)
    return {
        name: value
        for name, value in source.items()
        if name in every or (name.startswith(starts) and not _SECRET.search(name.upper()))
    }
