"""A report as tables for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from metarec_sdk.evaluation.rows import RANKED_BY, Row

if TYPE_CHECKING:
    from metarec_sdk.evaluation.evaluation_report import EvaluationReport

_STYLES = {"recommender": "bold", "member": "", "baseline": "dim", "ablation": "dim italic"}


def tables_of(report: EvaluationReport) -> Group:
    """One table for each protocol and order, then what was skipped and whether anything leaks."""
    parts: list[RenderableType] = []
    cases = list(dict.fromkeys((row.protocol, row.order) for row in report.rows))
    for protocol, order in cases:
        parts.append(_table([row for row in report.rows if (row.protocol, row.order) == (protocol, order)]))
    parts += [Text(f"{name} left out: {reason}") for name, reason in report.skipped.items()]
    for check in report.leaks:
        parts.append(
            Text(
                f"LEAK? {check.order} order, k = {check.k}: another user's support reaches "
                f"{check.ndcg:.3f}, more than {check.reference_ndcg:.3f} of {check.reference!r}",
                style="bold red",
            )
        )
    return Group(*parts)


def _table(rows: list[Row]) -> Table:
    first = rows[0]
    ks = list(dict.fromkeys(row.k for row in rows))
    title = f"{first.protocol}, {first.order} order, {first.users} users: NDCG@10 (95 % interval)"
    caption = (
        f"protocol {first.protocol_hash[:12]}, {first.unknown_share:.1%} of targets outside the catalogue"
    )
    table = Table(title=title, caption=caption, title_justify="left", caption_justify="left")
    table.add_column("method")
    for k in ks:
        table.add_column("all" if k is None else f"k = {k}", justify="right")
    by_case = {(row.method, row.k): row for row in rows}
    best = {k: _best([row for row in rows if row.k == k]) for k in ks}
    for method in dict.fromkeys(row.method for row in rows):
        cells = [by_case.get((method, k)) for k in ks]
        kind = next(cell.kind for cell in cells if cell is not None)
        texts = [_cell(cell, cell is not None and cell.method == best[k]) for cell, k in zip(cells, ks)]
        table.add_row(method, *texts, style=_STYLES[kind])
    lifts = [by_case.get(("recommender", k)) for k in ks]
    if any(row is not None and row.lift is not None for row in lifts):
        table.add_section()
        table.add_row("lift over best baseline", *[_lift(row) for row in lifts])
    return table


def _best(rows: list[Row]) -> str:
    """The best baseline: what the lift is against."""
    return next(
        (row.lift.over for row in rows if row.lift is not None),
        max(rows, key=lambda row: row.metrics[RANKED_BY].value).method,
    )


def _cell(row: Row | None, strictest: bool) -> Text:
    if row is None:
        return Text("–")
    estimate = row.metrics[RANKED_BY]
    text = Text(f"{estimate.value:.3f}", style="underline" if strictest else "")
    text.append(f" ({estimate.low:.3f}–{estimate.high:.3f})", style="dim")
    return text


def _lift(row: Row | None) -> Text:
    if row is None or row.lift is None:
        return Text("–")
    lift = row.lift
    style = "green" if lift.low > 0 else "red" if lift.high < 0 else ""
    text = Text(f"{lift.value:+.1%}", style=style)
    text.append(f" ({lift.low:+.1%} to {lift.high:+.1%})", style="dim")
    return text
