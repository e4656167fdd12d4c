"""The tables of a study in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from metarec_sdk.evaluation.k_shot import VARIANT, Claim, SetResult, Study
from metarec_sdk.evaluation.rows import RANKED_BY, Row
from metarec_sdk.evaluation.scores import NO_SUPPORT, OTHER_SUPPORT, RECOMMENDER, WITHOUT


def markdown(study: Study, curves: Mapping[tuple[str, str], str]) -> str:
    """The page; ``curves`` are the charts' file names by set and order."""
    parts = [
        "# k-shot study: tables",
        "",
        "Written by `metarec bench k-shot`; don't edit it by hand. NDCG@10 in full ranking for people who "
        f"aren't in training, {_seeds(study)} of what is trained by SGD, "
        f"{study.plan.budget} settings tried on validation for each baseline at each k and order, "
        f"{study.plan.n_draws:,} paired resamples of users and seeds, 95 % intervals (BCa). The lift is over "
        "the strictest baseline: the best on the very users judged, chosen anew at each k. p-values are "
        "corrected by Holm's method for all rows of their table.",
        "",
        "## Lift in the mean of k ≥ 1",
        "",
        *_claim_table(study.headlines),
        "",
        *([f"{study.mean_lift} (95 %, over users and seeds of these sets).", ""] if study.mean_lift else []),
        "## Lift at each k",
        "",
        *_lifts_by_k(study),
        "",
        "A star: p < .05 after correction over all cells of this table.",
        "",
        "## Over its own parts, mean of k ≥ 1",
        "",
        *_parts_table(study.results, without=False),
        "",
        "## Over itself without a member, the other gates as they were, mean of k ≥ 1",
        "",
        *_parts_table(study.results, without=True),
    ]
    if study.contrasts:
        parts += ["", "## Variants, mean of k ≥ 1", "", *_contrast_table(study.contrasts)]
    for result in study.results:
        parts += _set_section(result, curves)
    return "\n".join(parts) + "\n"


def _seeds(study: Study) -> str:
    n = len(study.plan.seeds)
    return "one seed" if n == 1 else f"{n} seeds"


def _claim_table(claims: Iterable[Claim]) -> list[str]:
    rows = [
        [each.set_name, each.order, ", ".join(dict.fromkeys(each.over)), _lift(each), _p(each.p_holm)]
        for each in claims
    ]
    return _table(["set", "order", "strictest baselines", "lift (95 %)", "p, Holm"], rows)


def _lifts_by_k(study: Study) -> list[str]:
    claims = study.by_k
    ks = sorted({each.k for each in claims if each.k is not None})
    cells = {(each.set_name, each.order, each.k): each for each in claims}
    rows = []
    for name, order in dict.fromkeys((each.set_name, each.order) for each in claims):
        found = [cells.get((name, order, k)) for k in ks]
        rows.append([name, order, *("–" if each is None else _starred(each) for each in found)])
    return _table(["set", "order", *(f"k = {k}" for k in ks)], rows)


def _contrast_table(claims: Iterable[Claim]) -> list[str]:
    rows = [
        [
            each.set_name,
            each.order,
            each.method.removeprefix(VARIANT),
            each.over[0].removeprefix(VARIANT),
            _lift(each),
            _p(each.p_holm),
        ]
        for each in claims
    ]
    return _table(["set", "order", "variant", "over", "lift (95 %)", "p, Holm"], rows)


def _parts_table(results: Sequence[SetResult], *, without: bool) -> list[str]:
    claims = [
        each
        for result in results
        for each in result.over_parts
        if each.over[0].startswith(WITHOUT) == without
    ]
    parts = list(dict.fromkeys(each.over[0] for each in claims))
    cells = {(each.set_name, each.order, each.over[0]): each for each in claims}
    rows = []
    for name, order in dict.fromkeys((each.set_name, each.order) for each in claims):
        found = [cells.get((name, order, part)) for part in parts]
        rows.append([name, order, *("–" if each is None else _lift(each) for each in found)])
    return _table(["set", "order", *parts], rows)


def _set_section(result: SetResult, curves: Mapping[tuple[str, str], str]) -> list[str]:
    counts, study_set = result.counts, result.study_set
    record = result.report.protocols[0]
    capped = f" (of at most {study_set.max_users:,} users)" if study_set.max_users else ""
    parts = [
        "",
        f"## {study_set.name}",
        "",
        f"{study_set.about[:1].upper()}{study_set.about[1:]}: {counts['events']:,} events of "
        f"{counts['users']:,} users with {counts['items']:,} items{capped}, {record.train_events:,} of them "
        f"trained on, {counts['judged']} new users judged. Protocol `{record.hash[:12]}`; "
        + "; ".join([*record.notes, *(f"{name}: {why}" for name, why in result.report.skipped.items())])
        + ".",
    ]
    if result.missing:
        parts += ["", f"Not run yet: {', '.join(result.missing)}."]
    for order in result.orders:
        rows = [row for row in result.report.rows if row.order == order]
        parts += ["", f"**{order} order**", "", *_methods_table(rows)]
        parts += ["", f"![NDCG@10 by k, {study_set.name}, {order} order]({curves[study_set.name, order]})"]
    parts += ["", *_cost_table(result)]
    return parts


def _methods_table(rows: Sequence[Row]) -> list[str]:
    ks = sorted({row.k or 0 for row in rows})
    strictest = {row.k: row.lift.over for row in rows if row.lift is not None}
    by_case = {(row.method, row.k): row for row in rows}
    lines = []
    for method in dict.fromkeys(row.method for row in rows):
        cells = []
        for k in ks:
            row = by_case.get((method, k))
            cells.append("–" if row is None else _score(row, row.method == strictest[row.k]))
        lines.append([f"**{method}**" if method == RECOMMENDER else method, *cells])
    order = (RECOMMENDER, "member", "baseline", "ablation", NO_SUPPORT, OTHER_SUPPORT)
    kinds = {row.method: row.kind for row in rows}
    place = {name: number for number, name in enumerate(order)}
    lines.sort(key=lambda line: place.get(line[0].strip("*"), place.get(kinds[line[0].strip("*")], 3)))
    return _table(["method", *(f"k = {k}" for k in ks)], lines)


def _cost_table(result: SetResult) -> list[str]:
    rows = []
    for contender in dict.fromkeys(cost.contender for cost in result.costs):
        costs = [cost for cost in result.costs if cost.contender == contender]
        rows.append(
            [
                contender,
                f"{sum(cost.cpu_seconds for cost in costs) / len(costs):.1f}",
                f"{sum(cost.seconds for cost in costs) / len(costs):.1f}",
                f"{max(cost.peak_mib for cost in costs):.0f}",
            ]
        )
    return _table(["fit, tuning and ranking", "processor s", "wall s", "peak MiB"], rows)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def _score(row: Row, strictest: bool) -> str:
    estimate = row.metrics[RANKED_BY]
    text = f"{estimate.value:.3f} ({estimate.low:.3f}–{estimate.high:.3f})"
    return f"<u>{text}</u>" if strictest else text


def _lift(each: Claim) -> str:
    return f"{each.lift:+.1%} ({each.low:+.1%} to {each.high:+.1%})"


def _starred(each: Claim) -> str:
    star = "\\*" if each.p_holm is not None and each.p_holm < 0.05 else ""
    return f"{_lift(each)}{star}"


def _p(value: float | None) -> str:
    return "–" if value is None else "< .001" if value < 0.001 else f"{value:.3f}".lstrip("0")
