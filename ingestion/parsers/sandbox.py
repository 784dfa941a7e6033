"""Drops permissions of the parser's child before it reads a document (Linux): another user, no network, Landlock.

Every step is taken if the kernel and the container allow it; `restrict` returns which ones were. They apply to the
calling thread and to threads that it starts later, so they come before the first one.
"""

import ctypes
import os
import sys

_NOBODY = 65534
_CLONE_NEWNET = 0x40000000
_PR_SET_NO_NEW_PRIVS = 38
# Landlock has no functions in the C library. The numbers are those of x86-64, Arm and RISC-V.
_CREATE_RULESET, _RESTRICT_SELF = 444, 446
_CREATE_RULESET_VERSION = 1
_ACCESS_FS_BITS = {1: 13, 2: 14, 3: 15, 5: 16}
"""Number of access rights on files and folders, by version of Landlock."""
_ACCESS_NET_TCP = 0b11
_SCOPE_SOCKETS_AND_SIGNALS = 0b11


class _Ruleset(ctypes.Structure):
    """The access that Landlock denies, except what rules allow; there are no rules."""

    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


def restrict() -> list[str]:
    """Drops the permissions that a parser does not need. Open descriptors stay usable.

    Returns the steps that were taken: `network` (a network namespace without interfaces), `user` (nobody instead of
    root), `no_new_privs`, `landlock_N` (version N: no path can be opened, from 4 on no TCP either, from 6 on no signal
    reaches another process).
    """
    if sys.platform != "linux":
        return []
    libc = ctypes.CDLL(None, use_errno=True)
    taken = []
    if os.geteuid() == 0:
        if libc.unshare(_CLONE_NEWNET) == 0:
            taken.append("network")
        if _become_nobody():
            taken.append("user")
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
        taken.append("no_new_privs")
        if version := _landlock(libc):
            taken.append(f"landlock_{version}")
    return taken


def _become_nobody() -> bool:
    """Switches to the user nobody. Without root's capabilities limits cannot be raised, nor the parent's environment
    read.
    """
    try:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    except OSError:
        return False
    return True


def _landlock(libc: ctypes.CDLL) -> int:
    """Returns the Landlock version in force; 0 if the kernel has none."""
    version = int(libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _CREATE_RULESET_VERSION))
    if version < 1:
        return 0
    bits = max(bits for since, bits in _ACCESS_FS_BITS.items() if since <= version)
    denied = _Ruleset(
        fs=2**bits - 1,
        net=_ACCESS_NET_TCP if version >= 4 else 0,
        scoped=_SCOPE_SOCKETS_AND_SIGNALS if version >= 6 else 0,
    )
    # An older kernel takes the longer structure as long as what it does not know is zero.
    ruleset = int(libc.syscall(_CREATE_RULESET, ctypes.byref(denied), ctypes.c_size_t(ctypes.sizeof(denied)), 0))
    if ruleset < 0:
        return 0
    try:
        return version if libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0 else 0
    finally:
        os.close(ruleset)
