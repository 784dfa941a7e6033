"""What passes the scan costs a parser little; what a parser takes, and is within the bounds, passes."""

import json
import random
from collections.abc import Iterator

import pytest

from app.errors import InvalidJson
from app.http.server.json_scan import MAX_DEPTH, MAX_KEYS, PIECE_BYTES, JsonScan
from ingestion.errors import TooLarge
from retrieval.errors import InvalidRequest, TandemError


def scan(data: bytes, max_values: int = 100, part: int | None = None, max_containers: int = 10**6) -> None:
    it = JsonScan(max_values, max_containers)
    for start in range(0, len(data), part or max(1, len(data))):
        it.feed(data[start : start + (part or len(data))])


def values(tree: object) -> Iterator[object]:
    """What the scan counts: each member of a list or object, and one for each that is empty."""
    if isinstance(tree, dict | list):
        members = list(tree.values()) if isinstance(tree, dict) else tree
        yield from members or [None]
        for each in members:
            yield from values(each)


def made_up(source: random.Random, depth: int = 0) -> object:
    kind = source.randrange(5 if depth < 4 else 3)
    if kind == 0:
        return "".join(source.choices('[]{},:"\\/ \n\tä漢😀', k=source.randrange(12)))
    if kind == 1:
        return source.choice([None, True, -1.5e300, 12345678901234567890])
    if kind == 2:
        return "\\" * source.randrange(5) + '"' * source.randrange(3)
    size = source.randrange(6)
    if kind == 3:
        return [made_up(source, depth + 1) for _ in range(size)]
    return {f'{number}"\\{source.random()}': made_up(source, depth + 1) for number in range(size)}


@pytest.mark.parametrize("part", [None, 1, 2, 3, 7, 64])
def test_counts_as_a_parser_does_wherever_the_parts_end(part: int | None) -> None:
    for seed in range(60):
        tree = made_up(random.Random(seed))
        count = len(list(values(tree)))
        for data in (json.dumps(tree).encode(), json.dumps(tree, ensure_ascii=False, indent=1).encode()):
            scan(data, count, part)
            if count:
                with pytest.raises(TooLarge):
                    scan(data, count - 1, part)


@pytest.mark.parametrize("part", [None, 1, 1000])
@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"[" + b"[]," * 50 + b"[]]", TooLarge),
        (b'{"documents":[' + b"{}," * 50 + b"{}]}", TooLarge),
        (b"[" + b"1," * 100 + b"1]", TooLarge),
        (b'["' + b'","' * 100 + b'"]', TooLarge),
        (b"[" * (MAX_DEPTH + 1), InvalidRequest),
        (b'{"a":' * (MAX_DEPTH + 1), InvalidRequest),
        (b"]", InvalidJson),
        (b'{"a":1}}', InvalidJson),
        ('{"a":1}'.encode("utf-16"), InvalidJson),
        ("[1,1]".encode("utf-32-le"), InvalidJson),
        (b'"a\0b"', InvalidJson),
    ],
)
def test_refuses(data: bytes, error: type[TandemError], part: int | None) -> None:
    with pytest.raises(error):
        scan(data, part=part)


def test_lists_and_objects_are_bounded_by_themselves() -> None:
    scan(b"[[],{}]", max_containers=3)
    for data in (b"[[],{}]", b"[[[", b'{"a":{"b":{'):
        with pytest.raises(TooLarge, match="lists and objects"):
            scan(data, max_containers=2)


def test_keys_of_one_object_are_bounded_and_those_of_many_are_not_added_up() -> None:
    def wide(keys: int) -> str:
        return json.dumps({str(number): [1, 2] for number in range(keys)})

    scan(wide(MAX_KEYS).encode(), 10**6)
    scan(f"[{wide(MAX_KEYS)},{wide(MAX_KEYS)}]".encode(), 10**6)
    scan(json.dumps([[0] * 2 * MAX_KEYS]).encode(), 10**6)
    with pytest.raises(InvalidRequest):
        scan(f"[{wide(MAX_KEYS + 1)}]".encode(), 10**6)


def test_what_stands_in_texts_does_not_count() -> None:
    text = '[{,"\\' * PIECE_BYTES
    scan(json.dumps({"text": text, "more": [text]}).encode(), 3)


def test_unbalanced_quotes_do_not_cost_more_than_their_length() -> None:
    """A scan that begins anew at each of them would take hours."""
    scan(b'"' + b'\\"' * 5_000_000)
    scan(b'"' * 1_000_001)
    scan(b"\\" * 1_000_001)
