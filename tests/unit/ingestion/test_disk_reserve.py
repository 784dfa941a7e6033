from pathlib import Path

import pytest

from ingestion import disk_reserve
from ingestion.disk_reserve import DiskReserve, Space, space_at
from retrieval.errors import StoreFull

MB = 2**20
DATA = Path("/data")


class Disk:
    def __init__(self, total_mb: int, free_mb: int) -> None:
        self.total, self.free, self.looks, self.now = total_mb, free_mb, 0, 0.0

    def look(self, path: Path) -> Space:
        self.looks += 1
        return Space(self.total * MB, self.free * MB)

    def reserve(self, mb: int) -> DiskReserve:
        return DiskReserve([DATA], mb * MB, look=self.look, clock=lambda: self.now)


@pytest.mark.parametrize(
    ("total", "free", "reserve", "full"),
    [
        (100_000, 600, 512, False),
        (100_000, 511, 512, True),
        (100_000, 0, 0, False),
        (64, 4, 512, False),  # a twentieth of a small disk
        (64, 3, 512, True),
    ],
)
def test_keeps_the_smaller_of_the_reserve_and_a_share(total: int, free: int, reserve: int, full: bool) -> None:
    found = Disk(total, free).reserve(reserve)
    assert (found.failure is not None) == full
    if full:
        with pytest.raises(StoreFull, match=r"/data has .* MB left.*TANDEM_DISK_RESERVE_MB"):
            found.require()
    else:
        found.require()


def test_looks_once_a_second() -> None:
    disk = Disk(100_000, 1)
    reserve = disk.reserve(512)
    for _ in range(100):
        assert reserve.failure is not None
    assert disk.looks == 1
    disk.free, disk.now = 1000, disk_reserve.FRESH_SECONDS
    assert reserve.failure is None
    assert disk.looks == 2


def test_a_disk_that_cannot_be_looked_at_is_left_to_those_who_write(tmp_path: Path) -> None:
    def broken(path: Path) -> Space:
        raise OSError("gone")

    assert DiskReserve([DATA], MB, look=broken).failure is None


def test_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    assert space_at(tmp_path / "not" / "yet").total == space_at(tmp_path).total > 0
