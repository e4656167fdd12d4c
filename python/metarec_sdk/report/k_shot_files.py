"""A study as files: rows as CSV, everything as JSON, tables in Markdown, a k-curve for each set and order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metarec_sdk.evaluation.evaluation_report import plain
from metarec_sdk.evaluation.k_shot import Claim, SetResult, Study
from metarec_sdk.evaluation.rows import RANKED_BY, Row
from metarec_sdk.evaluation.scores import RECOMMENDER
from metarec_sdk.report.charts import Curve, k_curves
from metarec_sdk.report.k_shot_tables import markdown

if TYPE_CHECKING:
    import polars as pl

_SHOWN = ("popularity", "cluster popularity", "item-knn", "ease", "ials", "natpar", "member: backbone")
"""Curves beside the stack and the strictest baseline."""


def write_files(study: Study, folder: Path) -> list[Path]:
    """Write ``k-shot.csv``, ``k-shot.json``, ``claims.csv``, ``tables.md`` and ``<set>-<order>.svg``, and
    ``contrasts.csv`` where variants have run.

    Raises:
        MissingDependencyError: matplotlib (extra ``report``) isn't installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / "k-shot.csv", folder / "claims.csv", folder / "k-shot.json", folder / "tables.md"]
    rows_frame(study).write_csv(written[0], float_precision=6)
    claims_frame(study).write_csv(written[1], float_precision=6)
    written[2].write_text(json.dumps(plain(study.to_dict()), ensure_ascii=False, indent=1), encoding="utf-8")
    if study.contrasts:
        written.append(folder / "contrasts.csv")
        contrasts_frame(study).write_csv(written[-1], float_precision=6)
    curves: dict[tuple[str, str], str] = {}
    for result in study.results:
        for order in result.orders:
            curves[result.study_set.name, order] = f"{result.study_set.name}-{order}.svg"
            written.append(folder / f"{result.study_set.name}-{order}.svg")
            title = f"{result.study_set.name}, {order} order, {result.counts['judged']} new users"
            written[-1].write_text(k_curves(_curves(result, order), title), encoding="utf-8")
    written[3].write_text(markdown(study, curves), encoding="utf-8")
    return written


def rows_frame(study: Study) -> pl.DataFrame:
    """Every method in every case of every set."""
    import polars as pl

    frames = [
        result.report.to_frame().select(pl.lit(result.study_set.name).alias("set"), pl.all())
        for result in study.results
    ]
    return pl.concat(frames, how="diagonal_relaxed")


def claims_frame(study: Study) -> pl.DataFrame:
    """The lifts of the stack, those of the means first."""
    return _claims([*study.headlines, *study.by_k]).drop("method")


def contrasts_frame(study: Study) -> pl.DataFrame:
    """The lifts of variants over the stack and each other."""
    return _claims(study.contrasts)


def _claims(claims: list[Claim]) -> pl.DataFrame:
    import polars as pl

    lines: list[dict[str, Any]] = [
        each.to_dict() | {"over": ", ".join(each.over if len(set(each.over)) > 1 else each.over[:1])}
        for each in claims
    ]
    return pl.DataFrame(lines, infer_schema_length=None)


def _curves(result: SetResult, order: str) -> list[Curve]:
    rows = [row for row in result.report.rows if row.order == order]
    strictest: dict[int | None, str] = {row.k: row.lift.over for row in rows if row.lift is not None}
    best = [row for row in rows if row.method == strictest[row.k]]
    curves = [
        _curve("metarec_sdk", [row for row in rows if row.method == RECOMMENDER], strong=True),
        _curve("strictest baseline at each k", best, strong=True),
    ]
    for name in _SHOWN:
        found = [row for row in rows if row.method == name and not (row.kind == "member" and row.k == 0)]
        curves += [_curve(name.removeprefix("member: "), found)] if found else []
    return curves


def _curve(name: str, rows: list[Row], strong: bool = False) -> Curve:
    points = sorted(rows, key=lambda row: row.k or 0)
    estimates = [row.metrics[RANKED_BY] for row in points]
    return Curve(
        name,
        [float(row.k or 0) for row in points],
        [estimate.value for estimate in estimates],
        [estimate.low for estimate in estimates],
        [estimate.high for estimate in estimates],
        strong,
    )
