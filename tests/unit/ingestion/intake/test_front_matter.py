import pytest

from ingestion.intake.front_matter import front_matter


def test_fields_become_json_values_without_the_title() -> None:
    data = (
        b"---\r\ntitle: T\r\ntags: [kiln, glaze]\r\ndate: 2024-05-01\r\nat: 2024-05-01T10:00:00Z\r\ndraft: false\r\n"
        b"n: 3\r\nnan: .nan\r\nempty:\r\nnested: {a: {b: 1}}\r\n1: one\r\n---\r\n# Heading\r\n"
    )
    assert front_matter(data) == {
        "tags": ["kiln", "glaze"],
        "date": "2024-05-01",
        "at": "2024-05-01T10:00:00+00:00",
        "draft": False,
        "n": 3,
        "empty": None,
        "nested": {"a": {"b": 1}},
        "1": "one",
    }


@pytest.mark.parametrize(
    "data",
    [
        b"# Heading\n---\na: 1\n---\n",
        b"---\na: 1\n",
        b"---\n- a\n- b\n---\n",
        b"---\na: [\n---\n",
        b"---\na: &x [1]\nb: *x\n---\n",
        b"---\na: !!python/object/apply:os.getcwd []\n---\n",
        b"---\n" + b"[" * 5000 + b"\n---\n",
        b"---\na: " + b"x" * 20_000 + b"\n---\n",
        b"---\n\xff\xfe\n---\n",
    ],
)
def test_what_is_no_front_matter_gives_none(data: bytes) -> None:
    assert front_matter(data) == {}
