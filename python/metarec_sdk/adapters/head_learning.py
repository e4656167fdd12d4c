"""Outer loop of a head: learn its tables and prior on episodes, ship what validation confirms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from metarec_sdk.adapters.acceptance import earns_its_place
from metarec_sdk.adapters.batch import EpisodeTensors, all_tensors, episode_tensors
from metarec_sdk.adapters.catalogue_loss import Candidates, candidates, query_losses
from metarec_sdk.adapters.early_stopping import Schedule, train
from metarec_sdk.adapters.evidence import dense_memberships
from metarec_sdk.adapters.gates import (
    MovingGates,
    Scorer,
    calibrated_losses,
    fit_gates,
    gated,
    log_popularity,
    mean_losses,
)
from metarec_sdk.adapters.head_models import HeadModel, Tables, model_of
from metarec_sdk.adapters.task_means import shrunk_means
from metarec_sdk.types import Episodes, Head, Memberships, State

Tick = Callable[[int, int], None]
_BLOCK = 512


def learn_head(
    head: Head,
    n_tasks: int,
    training: tuple[Episodes, Memberships],
    validation: tuple[Episodes, Memberships],
    *,
    tables: Tables,
    schedule: Schedule,
    earlier: Mapping[str, NDArray[Any]],
    generator: torch.Generator,
    tick: Tick,
) -> tuple[State, dict[str, float]]:
    """(arrays for `Head.restore`, losses); both empty for a head that isn't built in.

    earlier: what an earlier fit learned of this head. Its tables and prior are taken over and only the
    prior means, which depend on the tasks, are learned again.
    """
    model = model_of(head, earlier, tables)
    n_items = len(head.item_matrix())
    drawn, _ = episode_tensors(*training, n_tasks)
    judged, _ = episode_tensors(*validation, n_tasks)
    if model is None or not len(drawn) or not len(judged):
        return {}, {}
    popularity = log_popularity(drawn, n_items)

    def losses_of(candidate: HeadModel) -> torch.Tensor:
        candidate.freeze()
        return calibrated_losses(_scorer(candidate), judged, popularity)

    untouched = model_of(head, {}, "fixed")
    assert untouched is not None
    best = losses_of(untouched)
    losses = {"head/before": _mean(best, judged)}
    state: State = {}
    if earlier:
        best, state = losses_of(model), dict(earlier)
    else:
        _train(model, drawn, judged, popularity, schedule, generator, tick)
        after = losses_of(model)
        losses["head/learned"] = _mean(after, judged)
        if earns_its_place(best, after, judged.users):
            best, state = after, model.learned()
        else:
            model = untouched
            model.freeze()

    means = _task_means(model, training, n_tasks)
    candidates_of_mean = {"head/parent mean": means[-1:].expand(n_tasks + 1, -1)}
    if n_tasks > 1:
        candidates_of_mean["head/task means"] = means
    for name, rows in candidates_of_mean.items():
        before, model.prior_mean = model.prior_mean, rows
        after = losses_of(model)
        losses[name] = _mean(after, judged)
        if earns_its_place(best, after, judged.users):
            best = after
            state["prior_mean"] = rows.contiguous().numpy()
        else:
            model.prior_mean = before
    losses["head/after"] = _mean(best, judged)
    return state, losses


def _train(
    model: HeadModel,
    drawn: EpisodeTensors,
    judged: EpisodeTensors,
    popularity: torch.Tensor,
    schedule: Schedule,
    generator: torch.Generator,
    tick: Tick,
) -> None:
    """Train the model in place, gates along with it."""
    n_items = popularity.shape[1]
    scorer = _scorer(model)
    # Gates from people that the tables were not fitted on: on its own people a head looks surer than it is.
    gates = MovingGates.of(fit_gates(scorer, judged, popularity))

    def loss_of(rows: torch.Tensor) -> torch.Tensor:
        batch = drawn.take(rows)
        chosen = candidates(batch, n_items, generator)
        logits = gated(model.scores(batch, chosen), popularity, gates.value(), batch.bins, chosen)
        return (query_losses(logits, batch, chosen) * batch.share).sum() / batch.share.sum()

    def validate() -> float:
        model.freeze()
        losses = mean_losses(scorer, judged, popularity, gates.value())
        model.thaw()
        return float((losses * judged.share).sum() / judged.share.sum())

    train(
        [*model.parameters(), gates.moves],
        loss_of,
        validate,
        n_rows=len(drawn),
        schedule=schedule,
        generator=generator,
        tick=tick,
    )


def _task_means(model: HeadModel, training: tuple[Episodes, Memberships], n_tasks: int) -> torch.Tensor:
    """f[C + 1, m] from every event of the longest episode of each user."""
    episodes, memberships = training
    whole = episodes.support.join(episodes.query)
    order = np.lexsort((-whole.lengths, episodes.users))
    first = order[np.unique(episodes.users[order], return_index=True)[1]]
    chosen = Episodes(whole.take(first), episodes.query.take(first), episodes.users[first])
    batch = all_tensors(chosen, memberships.take(first), n_tasks)
    model.freeze()
    parts = [model.evidence(batch.take(rows)) for rows in torch.split(torch.arange(len(batch)), _BLOCK)]
    estimate, precision = (torch.cat(part) for part in zip(*parts))
    return shrunk_means(estimate, precision, dense_memberships(batch, n_tasks))[0]


def _scorer(model: HeadModel) -> Scorer:
    def score(rows: torch.Tensor, batch: EpisodeTensors, chosen: Candidates) -> torch.Tensor:
        return model.scores(batch, chosen)

    return score


def _mean(losses: torch.Tensor, judged: EpisodeTensors) -> float:
    """Mean over users, each counted once."""
    return float((losses * judged.share).sum() / judged.share.sum())
