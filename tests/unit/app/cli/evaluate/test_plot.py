"""The figure that `tandem eval --plot` draws."""

from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from app.cli.evaluate.plot import draw
from tests.support.docs.evaluated import collection, full_run, row, run


def test_a_png_opens_and_is_not_blank(tmp_path: Path) -> None:
    draw(full_run("ships"), tmp_path / "figure.png")
    with Image.open(tmp_path / "figure.png") as image:
        image.load()
        assert image.format == "PNG"
        assert min(image.size) > 500
        colors = image.convert("RGB").getcolors(maxcolors=image.width * image.height)
    assert colors is not None
    assert {(158, 202, 225), (8, 81, 156)} <= {color for _, color in colors}


@pytest.mark.parametrize("names", [("ships",), ("ships", "harbours", "tides", "lanterns")])
def test_an_svg_is_xml_and_holds_every_collection(tmp_path: Path, names: tuple[str, ...]) -> None:
    draw(full_run(*names), tmp_path / "figure.svg")
    text = (tmp_path / "figure.svg").read_text(encoding="utf-8")
    assert ElementTree.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
    # Each text stands as a comment above the paths of its letters.
    for word in (*names, "nDCG@10", "BM25", "dense", "hybrid", "0.667", "reranked (50 candidates)"):
        assert word in text
    assert text.count("<!-- 0.667 -->") == 6 * len(names)
    assert text.count('<g id="axes_') == len(names)


def test_a_server_without_bm25_has_fewer_bars(tmp_path: Path) -> None:
    rows = (row("dense", None, (1, 0)), row("dense", 50, (1, 1)))
    draw(run(collection(*rows, reranker="owner/long-name", no_bm25="It has none.")), tmp_path / "figure.svg")
    text = (tmp_path / "figure.svg").read_text(encoding="utf-8")
    assert "<!-- 0.500 -->" in text
    assert "<!-- BM25 -->" not in text
    assert "reranker long-name" in text
