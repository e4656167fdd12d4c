"""The rows of a report as a frame."""

from __future__ import annotations

import json
from collections.abc import Sequence

import polars as pl

from metarec_sdk.evaluation.rows import COVERAGE, Lift, Row


def frame_of(rows: Sequence[Row]) -> pl.DataFrame:
    """One line a row; empty cells are null."""
    lines = []
    for row in rows:
        line: dict[str, object] = {
            "protocol": row.protocol,
            "order": row.order,
            "k": row.k,
            "method": row.method,
            "kind": row.kind,
            "users": row.users,
            "seeds": len(row.seeds),
        }
        estimates = row.metrics | {
            f"recall@20 {name}": estimate for name, estimate in row.recall_by_stratum.items()
        }
        for name, estimate in estimates.items():
            line[name] = estimate.value
            line[f"{name}_low"] = estimate.low
            line[f"{name}_high"] = estimate.high
        line[COVERAGE] = row.coverage
        line["unknown_share"] = row.unknown_share
        line |= _lift("lift", row.lift) | _lift("lift_over_member", row.lift_over_member)
        line["settings"] = None if row.settings is None else json.dumps(row.settings, sort_keys=True)
        line["validation_ndcg"] = row.validation_ndcg
        line["fit_seconds"] = row.fit_seconds
        line["rank_seconds"] = row.rank_seconds
        line["protocol_hash"] = row.protocol_hash
        lines.append(line)
    return pl.DataFrame(lines, infer_schema_length=None).with_columns(pl.col(pl.Float64).fill_nan(None))


def _lift(name: str, lift: Lift | None) -> dict[str, object]:
    return {
        name: None if lift is None else lift.value,
        f"{name}_low": None if lift is None else lift.low,
        f"{name}_high": None if lift is None else lift.high,
        f"{name}_to": None if lift is None else lift.over,
    }
