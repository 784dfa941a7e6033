import pytest

from app.http.server.occupancy import Occupancy, is_local


def entered(occupancy: Occupancy, *addresses: str | None) -> list[str | None]:
    found = []
    for address in addresses:
        refusal = occupancy.refusal(address)
        if not refusal:
            occupancy.enter(address)
        found.append(refusal)
    return found


def test_an_address_has_a_bound_of_its_own_and_all_have_one() -> None:
    occupancy = Occupancy(total=3, per_address=2)
    a, b, c = "192.0.2.1", "192.0.2.2", "192.0.2.3"
    assert entered(occupancy, a, a, a, b, c) == [None, None, "address", None, "all"]
    occupancy.leave(a)
    assert entered(occupancy, c, c) == [None, "all"]


def test_a_network_of_ipv6_counts_as_one_address() -> None:
    occupancy = Occupancy(total=10, per_address=1)
    assert entered(occupancy, "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1") == [None, "address", None]
    assert entered(occupancy, "192.0.2.1", "::ffff:192.0.2.1") == [None, "address"]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", None, "10.1.2.3", "192.0.2.7"])
def test_this_machine_and_trusted_proxies_carry_many_callers(address: str | None) -> None:
    occupancy = Occupancy(total=3, per_address=1, trusted=["10.0.0.0/8", "192.0.2.7"])
    assert entered(occupancy, *[address] * 4) == [None, None, None, "all"]


def test_nothing_is_kept_of_those_who_left() -> None:
    occupancy = Occupancy(total=3, per_address=1)
    for number in range(100):
        occupancy.enter(f"192.0.2.{number}")
        occupancy.leave(f"192.0.2.{number}")
    assert (occupancy.used, len(occupancy._by_address)) == (0, 0)


@pytest.mark.parametrize(
    ("address", "local"),
    [("127.0.0.1", True), ("::1", True), (None, True), ("192.0.2.1", False), ("", False), ("x", False)],
)
def test_local(address: str | None, local: bool) -> None:
    assert is_local(address) is local
