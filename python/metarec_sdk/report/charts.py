"""Charts as inline SVG, so that a page needs nothing from anywhere."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from metarec_sdk.errors import MissingDependencyError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = ("#0b6e99", "#d1603d", "#6a8d3a", "#8a5fa8", "#b8860b", "#5c6670", "#c2477f", "#3a8f8a")
_INK = "#2b2f33"


@dataclass(frozen=True)
class Curve:
    """One line of a chart, with an interval at each point."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    strong: bool = False
    """Drawn in front, with its interval as a band."""


def k_curves(curves: Sequence[Curve], title: str) -> str:
    """SVG of quality by number of support events; the strong curve carries its 95 % interval."""
    figure, axes = _figure(6.4, 4.0)
    ticks = sorted({x for curve in curves for x in curve.x})
    place = {x: number for number, x in enumerate(ticks)}
    for number, curve in enumerate(sorted(curves, key=lambda curve: not curve.strong)):
        colour = _COLOURS[number % len(_COLOURS)]
        x = [place[value] for value in curve.x]
        axes.plot(
            x,
            curve.y,
            color=colour,
            marker="o",
            markersize=4,
            linewidth=2.6 if curve.strong else 1.4,
            linestyle="-" if curve.strong or number < 5 else "--",
            label=curve.name,
            zorder=3 if curve.strong else 2,
        )
        if curve.strong:
            axes.fill_between(x, curve.low, curve.high, color=colour, alpha=0.16, linewidth=0)
    axes.set_xticks(range(len(ticks)), [f"{int(tick)}" for tick in ticks])
    axes.set_xlabel("events known of a new user (k)")
    axes.set_ylabel("NDCG@10")
    axes.set_title(title, loc="left", fontsize=11)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return _svg(figure)


def task_map(points: NDArray[Any], tasks: NDArray[Any], title: str) -> str:
    """SVG of users in two dimensions f[u, 2], coloured by task i[u] (-1: no task of their own)."""
    figure, axes = _figure(5.0, 4.0)
    for task in np.unique(tasks):
        inside = tasks == task
        name = "everybody" if task < 0 and len(np.unique(tasks)) == 1 else f"task {task}"
        axes.scatter(
            points[inside, 0],
            points[inside, 1],
            s=9,
            alpha=0.65,
            linewidths=0,
            color=_COLOURS[int(task) % len(_COLOURS)] if task >= 0 else "#7d8790",
            label=f"{'no task' if task < 0 and name != 'everybody' else name} ({int(inside.sum())})",
        )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(title, loc="left", fontsize=11)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return _svg(figure)


def bars(values: Mapping[str, float], title: str, unit: str) -> str:
    """SVG of named values as horizontal bars, in the given order from the top."""
    figure, axes = _figure(6.4, 0.6 + 0.32 * max(len(values), 1))
    names = list(values)[::-1]
    lengths = [values[name] for name in names]
    axes.barh(names, lengths, color=_COLOURS[0], height=0.62)
    for row, length in enumerate(lengths):
        axes.text(length, row, f" {length:.1f}", va="center", fontsize=8, color=_INK)
    axes.set_xlabel(unit)
    axes.set_title(title, loc="left", fontsize=11)
    return _svg(figure)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError.extra("matplotlib", "report", "drawing a chart") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, colors=_INK)
    axes.grid(axis="y", color="#d9dde0", linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def _svg(figure: Figure) -> str:
    from matplotlib import rc_context

    buffer = io.StringIO()
    # A fixed salt gives the same bytes for the same figure; text stays text, so that it can be searched.
    with rc_context({"svg.hashsalt": "metarec", "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    found = re.search(r"<svg.*</svg>", buffer.getvalue(), re.DOTALL)
    assert found is not None
    return found.group(0)
