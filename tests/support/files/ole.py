"""OLE containers, as old Office files and messages of Outlook are (MS-CFB)."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

_SECTOR, _MINI, _CUTOFF = 512, 64, 4096
_END, _FREE, _FAT = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD


@dataclass
class _Entry:
    name: str
    kind: int
    data: bytes = b""
    children: dict[str, "_Entry"] = field(default_factory=dict)
    right: int = _FREE
    child: int = _FREE
    start: int = _END
    size: int = 0


def ole(streams: Mapping[str, bytes]) -> bytes:
    """`streams`: content by path, folders separated by `/`."""
    root = _Entry("Root Entry", 5)
    for path, data in streams.items():
        *folders, name = path.split("/")
        place = root
        for folder in folders:
            place = place.children.setdefault(folder, _Entry(folder, 1))
        place.children[name] = _Entry(name, 2, data)
    entries = [root]
    _number(root, entries)
    sectors: list[bytes] = []
    fat: list[int] = []
    mini = b""
    mini_fat: list[int] = []
    for entry in entries:
        if entry.kind == 2:
            entry.size = len(entry.data)
            if len(entry.data) >= _CUTOFF:
                entry.start = _put(entry.data, sectors, fat)
            elif entry.data:
                entry.start = len(mini_fat)
                count = -(-len(entry.data) // _MINI)
                mini_fat += [*range(entry.start + 1, entry.start + count), _END]
                mini += entry.data.ljust(count * _MINI, b"\0")
    if mini:
        root.start, root.size = _put(mini, sectors, fat), len(mini)
    packed = b"".join(struct.pack("<I", each) for each in mini_fat)
    first_mini = _put(packed, sectors, fat, b"\xff") if packed else _END
    directory = _put(b"".join(map(_packed, entries)), sectors, fat)
    fat_count = 1
    while fat_count * 128 < len(fat) + fat_count:
        fat_count += 1
    first_fat = len(fat)
    fat += [_FAT] * fat_count
    table = b"".join(struct.pack("<I", each) for each in fat).ljust(fat_count * _SECTOR, b"\xff")
    sectors += [table[at : at + _SECTOR] for at in range(0, len(table), _SECTOR)]
    header = struct.pack(
        "<8s16xHHHHH6xIIIIIIIII",
        *(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 0x3E, 3, 0xFFFE, 9, 6),
        *(0, fat_count, directory, 0, _CUTOFF, first_mini, -(-len(packed) // _SECTOR), _END, 0),
    )
    places = [first_fat + number for number in range(fat_count)] + [_FREE] * (109 - fat_count)
    return header + struct.pack("<109I", *places) + b"".join(sectors)


def _number(entry: _Entry, entries: list[_Entry]) -> None:
    ordered = sorted(entry.children.values(), key=lambda child: (len(child.name), child.name.upper()))
    numbers = range(len(entries), len(entries) + len(ordered))
    entries += ordered
    if ordered:
        entry.child = numbers[0]
    for child, following in zip(ordered, numbers[1:], strict=False):
        child.right = following
    for child in ordered:
        _number(child, entries)


def _put(data: bytes, sectors: list[bytes], fat: list[int], fill: bytes = b"\0") -> int:
    start, count = len(fat), max(-(-len(data) // _SECTOR), 1)
    fat += [*range(start + 1, start + count), _END]
    padded = data.ljust(count * _SECTOR, fill)
    sectors += [padded[at : at + _SECTOR] for at in range(0, len(padded), _SECTOR)]
    return start


def _packed(entry: _Entry) -> bytes:
    name = entry.name.encode("utf-16-le")
    return struct.pack(
        "<64sHBBIII16xI8x8xIQ",
        *(name, len(name) + 2, entry.kind, 1, _FREE, entry.right, entry.child, 0, entry.start, entry.size),
    )


def properties(values: Mapping[int, tuple[int, int]], header: int) -> bytes:
    """The stream of a message's values of fixed size: kind and value by tag, behind a header of so many bytes."""
    return bytes(header) + b"".join(struct.pack("<HHIQ", kind, tag, 6, value) for tag, (kind, value) in values.items())


def message(
    texts: Mapping[str, str | bytes], *parts: Mapping[str, bytes], sent: int = 0, header: int = 32
) -> dict[str, bytes]:
    """Streams of a message: texts by tag (`0037`), and those of its parts; `sent`: days since 1601."""
    found = {
        f"__substg1.0_{tag}{'0102' if isinstance(text, bytes) else '001F'}": (
            text if isinstance(text, bytes) else text.encode("utf-16-le")
        )
        for tag, text in texts.items()
    }
    found["__properties_version1.0"] = properties({0x0039: (0x40, sent * 86_400 * 10**7)}, header)
    for part in parts:
        found |= part
    return found


def attachment(number: int, name: str, data: bytes, *, hidden: bool = False) -> dict[str, bytes]:
    folder = f"__attach_version1.0_#{number:08X}"
    return {
        f"{folder}/__substg1.0_3707001F": name.encode("utf-16-le"),
        f"{folder}/__substg1.0_37010102": data,
        f"{folder}/__properties_version1.0": properties({0x3705: (3, 1), 0x7FFE: (0xB, int(hidden))}, 8),
    }


def recipient(number: int, address: str, kind: int) -> dict[str, bytes]:
    folder = f"__recip_version1.0_#{number:08X}"
    return {
        f"{folder}/__substg1.0_39FE001F": address.encode("utf-16-le"),
        f"{folder}/__properties_version1.0": properties({0x0C15: (3, kind)}, 8),
    }


def forwarded(number: int, streams: Mapping[str, bytes]) -> dict[str, bytes]:
    folder = f"__attach_version1.0_#{number:08X}"
    return {f"{folder}/__properties_version1.0": properties({0x3705: (3, 5)}, 8)} | {
        f"{folder}/__substg1.0_3701000D/{path}": data for path, data in streams.items()
    }
