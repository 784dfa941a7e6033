"""What `tandem eval --json` keeps."""

import json
from pathlib import Path

import pytest

from app.cli.evaluate.run import Latency, load, save
from retrieval.errors import InvalidRequest
from tests.support.docs.evaluated import full_run, row


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    run = full_run("ships", "harbours")
    save(run, tmp_path / "run.json")
    assert load(tmp_path / "run.json") == run
    written = json.loads((tmp_path / "run.json").read_text())
    first = written["collections"][0]["rows"][0]
    assert (first["mode"], first["pool"], first["measures"]["nDCG@10"]) == ("sparse", None, pytest.approx(2 / 3))
    assert first["queries"]["q1"]["measures"]["nDCG@10"] == 0.7
    assert first["latency_ms"]["client"] == {"median": 21.0, "p95": 21.9}


def test_a_row_holds_means_and_the_stages_it_took() -> None:
    found = row("hybrid", 50, (0.2, 0.4))
    assert found.name == "hybrid + rerank"
    assert found.measures == pytest.approx({"nDCG@10": 0.3, "Recall@10": 0.3, "MRR@10": 0.3})
    assert found.latency_ms.keys() == {"client", "total", "recall", "embed", "rerank"}
    assert found.values("MRR@10") == {"q0": 0.2, "q1": 0.4}


def test_percentiles_lie_within_what_was_measured() -> None:
    assert Latency.of([5.0]) == Latency(5.0, 5.0)
    assert Latency.of([1.0, 2.0]) == Latency(1.5, 1.95)
    assert Latency.of(map(float, range(101))) == Latency(50.0, 95.0)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "not a file of `tandem eval --json`"),
        ('{"collection": "old", "rows": []}', "tandem: Field required"),
        (None, "cannot be read"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: str | None, words: str) -> None:
    path = tmp_path / "run.json"
    if content:
        path.write_text(content)
    with pytest.raises(InvalidRequest, match=words) as refused:
        load(path)
    assert str(path) in refused.value.message
