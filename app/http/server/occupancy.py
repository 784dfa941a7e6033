"""Counts the connections or streams that callers hold open, in total and by address."""

from collections import Counter
from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Literal

IPV6_PREFIX = 64
"""Smallest prefix of an IPv6 subscriber: its addresses count as one."""

Refusal = Literal["all", "address"]
"""The limit that is reached."""


class Occupancy:
    """The number of open items, within two limits. Programs of this machine and trusted proxies, which serve many
    callers, are limited only together with all others.
    """

    def __init__(self, *, total: int, per_address: int, trusted: Sequence[str] = ()) -> None:
        """`trusted` holds addresses and networks."""
        self.total = total
        self._per_address = per_address
        self._trusted = [ip_network(each, strict=False) for each in trusted]
        self._by_address: Counter[str] = Counter()
        self.used = 0

    def refusal(self, address: str | None) -> Refusal | None:
        """Returns the reason why there is no room for one more from `address` (None: a Unix socket), or None."""
        if self.used >= self.total:
            return "all"
        return "address" if self._by_address[_subscriber(address)] >= self._bound_of(address) else None

    def enter(self, address: str | None) -> None:
        self.used += 1
        self._by_address[_subscriber(address)] += 1

    def leave(self, address: str | None) -> None:
        self.used -= 1
        subscriber = _subscriber(address)
        self._by_address[subscriber] -= 1
        if not self._by_address[subscriber]:
            del self._by_address[subscriber]

    def _bound_of(self, address: str | None) -> int:
        return self.total if is_local(address) or self._is_trusted(address) else self._per_address

    def _is_trusted(self, address: str | None) -> bool:
        try:
            parsed = ip_address(address or "")
        except ValueError:
            return False
        return any(parsed in network for network in self._trusted)


def is_local(address: str | None) -> bool:
    """Returns whether the other end is on this machine."""
    try:
        return address is None or ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _subscriber(address: str | None) -> str:
    try:
        parsed = ip_address((address or "").partition("%")[0])
    except ValueError:
        return address or ""
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    return str(parsed.ipv4_mapped or ip_network((parsed, IPV6_PREFIX), strict=False))
