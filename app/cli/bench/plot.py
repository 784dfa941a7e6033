"""The figure of `tandem bench`: the latencies of searches and the rate of ingestion."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from retrieval.errors import InvalidRequest

WIDTH, HEIGHT = 4.6, 3.4
"""Size of one panel in inches."""
COLORS = ("#9ecae1", "#08519c")
"""Alone, and together. They differ in lightness, so that they are distinguishable in greyscale and by colour-blind
readers.
"""


def draw(
    latencies: Mapping[str, Sequence[float]], rates: Mapping[str, Sequence[tuple[float, float]]], title: str, path: Path
) -> None:
    """Draws, by label, times of searches in milliseconds as a cumulative distribution, and documents per second over
    seconds.

    Empty data get no panel. PNG or SVG by the suffix of `path`. Needs no display. Raises InvalidRequest if there is no
    data.
    """
    latencies = {label: times for label, times in latencies.items() if times}
    rates = {label: points for label, points in rates.items() if points}
    panels = [partial(_draw_latencies, series=latencies)] if latencies else []
    panels += [partial(_draw_rates, series=rates)] if rates else []
    if not panels:
        raise InvalidRequest(f"{path}: nothing was measured that could be drawn.")
    figure = Figure(figsize=(WIDTH * len(panels), HEIGHT + 0.4), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False).flatten()
    for panel, fill in zip(axes, panels, strict=True):
        fill(panel)
        panel.set_ylim(bottom=0)
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(alpha=0.3)
        panel.legend(frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=160)


def _draw_latencies(panel: Axes, series: Mapping[str, Sequence[float]]) -> None:
    for color, (label, times) in zip(COLORS, series.items(), strict=False):
        ordered = np.sort(np.asarray(times))
        panel.step(ordered, (np.arange(len(ordered)) + 1) / len(ordered), where="post", color=color, label=label)
    panel.set_xscale("log")
    ticks = [each * 10**power for power in range(6) for each in (1, 2, 5)]
    panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    panel.minorticks_off()
    every = np.concatenate([np.asarray(times) for times in series.values()])
    panel.set_xlim(every.min() * 0.9, every.max() * 1.1)
    panel.set_xlabel("milliseconds from the moment it was due")
    panel.set_ylabel("share of searches")
    panel.set_title("Searches", fontsize=9)


def _draw_rates(panel: Axes, series: Mapping[str, Sequence[tuple[float, float]]]) -> None:
    for color, (label, points) in zip(COLORS, series.items(), strict=False):
        panel.plot([at for at, _ in points], [rate for _, rate in points], color=color, label=label)
    panel.set_xlabel("seconds")
    panel.set_ylabel("documents a second")
    panel.set_title("Ingestion", fontsize=9)
