"""The figure of `tandem eval`: nDCG@10 of every search mode, with and without reranking."""

from math import ceil
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from app.cli.evaluate.run import NAMES, CollectionRun, Run

MEASURE = "nDCG@10"
COLUMNS = 3
WIDTH, HEIGHT = 4.2, 3.4
"""Size of one collection's panel in inches."""
BAR = 0.38
"""Share of the way from one group of bars to the next."""
RECALLED, RERANKED = "#9ecae1", "#08519c"
"""They differ in lightness, so that they are distinguishable in greyscale and by colour-blind readers."""


def draw(run: Run, path: Path) -> None:
    """Draws one panel per collection; PNG or SVG by the suffix of `path`. Needs no display."""
    columns = min(COLUMNS, len(run.collections))
    lines = ceil(len(run.collections) / columns)
    # A Figure of its own, without pyplot, opens no window and keeps no state.
    figure = Figure(figsize=(WIDTH * columns + 0.6, HEIGHT * lines + 0.9), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False, sharey=True).flatten()
    for panel, collection in zip(panels, run.collections, strict=False):
        _draw_collection(panel, collection)
    for panel in panels[len(run.collections) :]:
        panel.set_visible(False)
    # Without the owner or the folder: whole names would not fit the width of one panel.
    embedder, reranker = (Path(run.collections[0].models[model]).name for model in ("embed", "rerank"))
    figure.suptitle(f"Search quality\nembedder {embedder}\nreranker {reranker}", fontsize=10)
    handles, _ = panels[0].get_legend_handles_labels()
    labels = ["recall", f"reranked ({run.candidates} candidates)"]
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    figure.savefig(path, dpi=160)


def _draw_collection(panel: Axes, collection: CollectionRun) -> None:
    modes = [mode for mode in NAMES if any(row.mode == mode for row in collection.rows)]
    for shift, reranked, color in ((-BAR / 2, False, RECALLED), (BAR / 2, True, RERANKED)):
        rows = {row.mode: row for row in collection.rows if bool(row.pool) == reranked}
        values = [rows[mode].measures[MEASURE] for mode in modes]
        bars = panel.bar([place + shift for place in range(len(modes))], values, BAR, color=color, label=str(reranked))
        panel.bar_label(bars, fmt="%.3f", fontsize=8, padding=2)
    panel.set_title(
        f"{collection.name}\n{collection.documents:,} documents, {collection.queries:,} queries", fontsize=9
    )
    panel.set_xticks(range(len(modes)), [NAMES[mode] for mode in modes])
    panel.set_xlabel("recall by")
    panel.set_ylabel(MEASURE)
    panel.set_ylim(0, 1.08)
    panel.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1])
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(axis="y", alpha=0.3)
    panel.set_axisbelow(True)
