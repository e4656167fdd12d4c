"""Outer loop of a head: learn its tables and prior on episodes, ship what validation confirms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from metarec_sdk.adapters.acceptance import Verdict
from metarec_sdk.adapters.batch import EpisodeTensors, all_tensors, episode_tensors
from metarec_sdk.adapters.catalogue_loss import candidates, query_losses
from metarec_sdk.adapters.early_stopping import Schedule, train
from metarec_sdk.adapters.evidence import dense_memberships
from metarec_sdk.adapters.gates import (
    Scorer,
    calibrated,
    fit_gates,
    gated,
    judge,
    log_popularity,
    vector_scorer,
)
from metarec_sdk.adapters.head_models import HeadModel, HeadValues, Tables, model_of
from metarec_sdk.adapters.task_means import shrunk_means
from metarec_sdk.types import Episodes, Head, Memberships, State

Tick = Callable[[int, int], None]
_BLOCK = 512
_SCALES = (1.0, 0.5, 0.25, 0.125)
_SCALING = 768  # episodes that a scale is chosen on


def learn_head(
    head: Head,
    n_tasks: int,
    training: tuple[Episodes, Memberships],
    validation: tuple[Episodes, Memberships],
    *,
    tables: Tables,
    prove_tasks: bool = True,
    schedule: Schedule,
    earlier: Mapping[str, NDArray[Any]],
    generator: torch.Generator,
    tick: Tick,
) -> tuple[State, dict[str, float]]:
    """(arrays for `Head.restore`, losses); both empty for a head that isn't built in.

    earlier: what an earlier fit learned of this head. Its tables and prior are taken over and only the
    prior means, which depend on the tasks, are learned again. prove_tasks: whether task means have to.
    """
    model = model_of(head, earlier, tables)
    n_items = len(head.item_matrix())
    drawn, _ = episode_tensors(*training, n_tasks)
    judged, _ = episode_tensors(*validation, n_tasks)
    if model is None or not len(drawn) or not len(judged):
        return {}, {}
    popularity = log_popularity(drawn, n_items)

    def verdict_on(candidate: HeadValues) -> Verdict:
        return calibrated(_scorer(candidate, judged), judged, popularity)

    untouched = model_of(head, {}, "fixed")
    assert untouched is not None
    values = untouched.values()
    best = verdict_on(values)
    losses = {"head/before": best.loss}
    state: State = {}
    if earlier:
        values, state = model.values(), dict(earlier)
        best = verdict_on(values)
    else:
        _train(model, drawn, judged, popularity, schedule, generator, tick)
        after = verdict_on(model.values())
        losses["head/learned"] = after.loss
        if after.earns_its_place(best):
            best, values, state = after, model.values(), _changed(head, model.values())

    means = _task_means(values, training, n_tasks)
    candidates_of_mean = {"head/parent mean": means[-1:].expand(n_tasks + 1, -1)}
    if n_tasks > 1:
        candidates_of_mean["head/task means"] = means
    sample = drawn.take(torch.randperm(len(drawn), generator=generator)[:_SCALING])
    for name, rows in candidates_of_mean.items():
        scaled = _best_scale(values, rows, sample, popularity) * rows
        candidate = replace(values, prior_mean=scaled)
        after = verdict_on(candidate)
        losses[name] = after.loss
        unproved = name == "head/task means" and not prove_tasks
        if unproved or after.earns_its_place(best):
            best, values = after, candidate
            state["prior_mean"] = scaled.numpy()
    losses["head/after"] = best.loss
    return state, losses


def _changed(head: Head, values: HeadValues) -> State:
    """The learned arrays that differ from the head's own."""
    own = head.state()
    if "psi_in" in own:
        own.setdefault("psi_out", own["psi_in"])  # tied tables
    return {name: array for name, array in values.state().items() if not np.array_equal(array, own[name])}


def _train(
    model: HeadModel,
    drawn: EpisodeTensors,
    judged: EpisodeTensors,
    popularity: torch.Tensor,
    schedule: Schedule,
    generator: torch.Generator,
    tick: Tick,
) -> None:
    """Train the model in place."""
    n_items = popularity.shape[1]
    gates: torch.Tensor | None = None

    def validate() -> float:
        # Gates from people that the tables were not fitted on: on its own people a head looks surer than it
        # is, and gates trained there would grow beyond measure.
        nonlocal gates
        scorer = _scorer(model.values(), judged)
        gates = fit_gates(scorer, judged, popularity, guess=gates)
        return judge(scorer, judged, popularity, gates).loss

    def loss_of(rows: torch.Tensor) -> torch.Tensor:
        batch = drawn.take(rows)
        chosen = candidates(batch, n_items, generator)
        values = model.values()
        scores = values.query(batch) @ chosen.of(values.items).T
        assert gates is not None
        logits = gated(scores, popularity, gates, batch.bins, chosen)
        return (query_losses(logits, batch, chosen) * batch.share).sum() / batch.share.sum()

    train(
        model.parameters(),
        loss_of,
        validate,
        n_rows=len(drawn),
        schedule=schedule,
        generator=generator,
        tick=tick,
    )


def _task_means(values: HeadValues, training: tuple[Episodes, Memberships], n_tasks: int) -> torch.Tensor:
    """f[C + 1, m] from every event of the longest episode of each user."""
    episodes, memberships = training
    whole = episodes.support.join(episodes.query)
    order = np.lexsort((-whole.lengths, episodes.users))
    first = order[np.unique(episodes.users[order], return_index=True)[1]]
    chosen = Episodes(whole.take(first), episodes.query.take(first), episodes.users[first])
    batch = all_tensors(chosen, memberships.take(first), n_tasks)
    parts = [values.evidence(batch.take(rows)) for rows in torch.split(torch.arange(len(batch)), _BLOCK)]
    estimate, precision = (torch.cat(part) for part in zip(*parts))
    return shrunk_means(estimate, precision, dense_memberships(batch, n_tasks))[0]


def _best_scale(
    values: HeadValues, means: torch.Tensor, sample: EpisodeTensors, popularity: torch.Tensor
) -> float:
    """The scale of the means with the least loss on a sample of the training episodes.

    The closed form linearises the softmax at w = 0 and overstates means that lie far from it.
    """

    def loss(scale: float) -> float:
        candidate = replace(values, prior_mean=scale * means)
        return calibrated(_scorer(candidate, sample), sample, popularity).loss

    return min(_SCALES, key=loss)


def _scorer(values: HeadValues, episodes: EpisodeTensors) -> Scorer:
    """Scores of an episode set, its vectors computed once."""
    with torch.no_grad():
        rows = torch.split(torch.arange(len(episodes)), _BLOCK)
        vectors = [values.query(episodes.take(block)) for block in rows]
        return vector_scorer(torch.cat(vectors), values.items)
