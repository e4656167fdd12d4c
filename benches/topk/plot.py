"""The picture: a dot for each cell, how many times faster we are than the fastest other contender."""

from __future__ import annotations

from pathlib import Path

from topk.results import Measured

FINE, BELOW, LOST = "#1f5fa8", "#d98c00", "#c0283c"
"""At or above the floor, or without one; faster, yet below the floor; slower."""

SECTIONS = {
    "batch": "Batches, against the best exact peer",
    "seen": "60 seen items left out, against the best peer that filters",
    "cold": "One query, from memory",
    "warm": "One query, from the cache",
    "approximate": "Against the best approximate index at recall ≥ 0.95",
}


def draw(cells: list[Measured], path: Path) -> None:
    """Save the picture as PNG."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt
    from matplotlib.lines import Line2D

    sections = [
        (title, [cell for cell in cells if cell.kind == kind])
        for kind, title in SECTIONS.items()
        if any(cell.kind == kind for cell in cells)
    ]
    rows = sum(len(members) + 1.6 for _, members in sections)
    figure, axes = plt.subplots(figsize=(10, 0.235 * rows + 1.5), layout="constrained")
    place, ticks, labels = 0.0, [], []
    for title, members in sections:
        place += 0.9
        axes.text(
            0.0,
            place,
            title,
            transform=axes.get_yaxis_transform(),
            fontweight="bold",
            va="center",
            fontsize=9,
        )
        place += 0.9
        for cell in members:
            ratio, floor, aim = cell.ratio(), *_bounds(cell)
            colour = LOST if ratio < 1 else BELOW if floor is not None and ratio < floor else FINE
            if floor is not None and aim is not None:
                axes.plot(
                    [floor, aim], [place, place], color="0.8", linewidth=5, solid_capstyle="butt", zorder=1
                )
                axes.plot(floor, place, "|", color="0.35", markersize=9, markeredgewidth=1.6, zorder=2)
                axes.plot(aim, place, "|", color="0.35", markersize=9, markeredgewidth=1.6, zorder=2)
            axes.plot(ratio, place, "o", color=colour, markersize=5.5, zorder=3)
            axes.annotate(
                f"{ratio:.3g}× {cell.opponent().contender}",
                (1.0, place),
                xycoords=axes.get_yaxis_transform(),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
                fontsize=7.5,
                color=colour,
                annotation_clip=False,
            )
            ticks.append(place)
            labels.append(cell.name)
            place += 1.0
    axes.axvline(1.0, color="0.2", linewidth=1, zorder=0)
    axes.set_xscale("log")
    shown = [1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8, 16, 32, 64, 128]
    values = [1.0, *(cell.ratio() for _, members in sections for cell in members)]
    values += [
        bound for _, members in sections for cell in members for bound in _bounds(cell) if bound is not None
    ]
    axes.set_xlim(min(values) / 1.3, max(values) * 1.3)
    axes.set_xticks([tick for tick in shown if min(values) / 1.3 <= tick <= max(values) * 1.3])
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}×")
    axes.xaxis.set_minor_locator(mpl.ticker.NullLocator())
    axes.set_yticks(ticks, labels, fontsize=7.5, family="monospace")
    axes.set_ylim(place, -0.2)
    axes.grid(axis="x", color="0.9", zorder=0)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    row = cells[-1].rows[0]
    axes.set_title(
        f"Exact top-k: times faster than the fastest other contender\n{row['machine']}, {row['cores']} cores"
        f", {row['isa']}" + (", quick run" if row["mode"] == "quick" else ""),
        fontsize=10,
        loc="left",
    )
    keys = [
        *(
            Line2D([], [], marker="o", linestyle="", color=colour, label=label)
            for colour, label in ((FINE, "faster"), (BELOW, "faster, below its floor"), (LOST, "slower"))
        ),
        Line2D([], [], color="0.8", linewidth=5, marker="|", markeredgecolor="0.35", label="floor to aim"),
    ]
    figure.legend(handles=keys, loc="outside lower left", ncols=4, frameon=False, fontsize=8)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _bounds(cell: Measured) -> tuple[float | None, float | None]:
    """Floor and aim of the ratio that is drawn, if it has any."""
    for target, _ in cell.targets():
        if target.unit != "×" or target.ours != cell.ours().contender:
            continue
        if target.against in {"best exact", cell.opponent().contender}:
            return target.floor, target.aim
    return None, None
