"""The figures of a demo as the page shows them: rounded, with intervals."""

from __future__ import annotations

import os
import platform
from typing import Any

from metarec_sdk.evaluation import EvaluationReport
from metarec_sdk.evaluation.rows import RANKED_BY, Row
from metarec_sdk.recommender import FitReport
from metarec_sdk.report.charts import Curve

_STACK = "recommender"
_WARM_METRICS = ("ndcg@10", "recall@20", "hit_rate@10", "mrr@100")
_CURVES = 7


def curves_of(report: EvaluationReport, order: str) -> list[Curve]:
    """The stack and the strongest baselines by k."""
    rows = [row for row in _cold(report, order) if row.kind in ("recommender", "baseline")]
    by_method: dict[str, list[Row]] = {}
    for row in rows:
        by_method.setdefault(row.method, []).append(row)

    def level(method: str) -> float:
        return sum(row.metrics[RANKED_BY].value for row in by_method[method])

    baselines = sorted((name for name in by_method if name != _STACK), key=level, reverse=True)
    curves = []
    for name in [_STACK, *baselines[:_CURVES]]:
        points = sorted(by_method[name], key=lambda row: row.k or 0)
        estimates = [row.metrics[RANKED_BY] for row in points]
        curves.append(
            Curve(
                "metarec_sdk" if name == _STACK else name,
                [float(row.k or 0) for row in points],
                [estimate.value for estimate in estimates],
                [estimate.low for estimate in estimates],
                [estimate.high for estimate in estimates],
                strong=name == _STACK,
            )
        )
    return curves


def cold_section(report: EvaluationReport) -> dict[str, Any]:
    """Everything about new people."""
    orders = sorted({row.order for row in report.rows if row.protocol == "cold-start"}, reverse=True)
    stack = [row for row in _cold(report, orders[0]) if row.method == _STACK]
    record = next(protocol for protocol in report.protocols if protocol.name == "cold-start")
    return {
        "users": f"{stack[0].users:,}",
        "hash": record.hash[:16],
        "tiles": [_tile(row) for row in stack if row.lift is not None and row.k],
        "tables": [_by_k(report, order) for order in orders],
        "notes": [*record.notes, *(f"{name}: {reason}" for name, reason in report.skipped.items())],
    }


def warm_section(report: EvaluationReport) -> dict[str, Any]:
    """Everything about known people."""
    rows = [row for row in report.rows if row.protocol == "warm"]
    names = [name for name in _WARM_METRICS if name in rows[0].metrics]
    record = next(protocol for protocol in report.protocols if protocol.name == "warm")
    return {
        "users": f"{rows[0].users:,}",
        "hash": record.hash[:16],
        "metrics": names,
        "rows": [
            {
                "method": _label(row),
                "strong": row.method == _STACK,
                "cells": [_cell(row, name) for name in names],
            }
            for row in _sorted(rows)
        ],
    }


def fit_section(report: FitReport) -> dict[str, Any]:
    """What was decided, in words and figures."""
    return {
        "members": list(report.bands[0].members) if report.bands else [],
        "bands": [
            {
                "first_length": band.first_length,
                "episodes": band.episodes,
                "stack": f"{band.stack:.3f}",
                "members": [f"{value:.3f}" for value in band.members.values()],
                "serves": band.serves,
            }
            for band in report.bands
        ],
        "structure": [
            {
                "task": row["task"],
                "site": row["site"],
                "rank": row["rank"],
                "spread": f"{row['spread']:.2e}",
            }
            for row in report.structure
        ],
        "decisions": str(report).splitlines()[1:],
    }


def machine() -> dict[str, Any]:
    """What the figures were made on."""
    from metarec_sdk import __version__, _core

    return {
        "processors": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "isa": _core.isa(),
        "python": platform.python_version(),
        "version": __version__,
    }


def _cold(report: EvaluationReport, order: str) -> list[Row]:
    return [row for row in report.rows if row.protocol == "cold-start" and row.order == order]


def _tile(row: Row) -> dict[str, Any]:
    assert row.lift is not None
    return {
        "k": row.k,
        "lift": f"{row.lift.value:+.1%}",
        "low": f"{row.lift.low:+.1%}",
        "high": f"{row.lift.high:+.1%}",
        "over": row.lift.over,
    }


def _by_k(report: EvaluationReport, order: str) -> dict[str, Any]:
    rows = _cold(report, order)
    ks = sorted({row.k for row in rows if row.k is not None})
    methods = {row.method: row for row in _sorted(rows)}
    at = {(row.method, row.k): row for row in rows}
    return {
        "title": f"Support in {'the order of time' if order == 'time' else 'random order'}",
        "ks": ks,
        "rows": [
            {
                "method": _label(row),
                "strong": method == _STACK,
                "cells": [
                    _cell(at[method, k], RANKED_BY) if (method, k) in at else {"mean": "–", "interval": ""}
                    for k in ks
                ],
            }
            for method, row in methods.items()
        ],
    }


def _sorted(rows: list[Row]) -> list[Row]:
    kinds = ("recommender", "member", "baseline", "ablation")
    return sorted(rows, key=lambda row: kinds.index(row.kind))


def _label(row: Row) -> str:
    return "metarec_sdk" if row.method == _STACK else row.method


def _cell(row: Row, metric: str) -> dict[str, str]:
    estimate = row.metrics[metric]
    return {
        "mean": f"{estimate.value:.3f}",
        "interval": f"[{estimate.low:.3f}, {estimate.high:.3f}]",
    }
