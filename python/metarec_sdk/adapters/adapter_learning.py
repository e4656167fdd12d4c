"""Learning task adapters step by step: the parent, the evidence for tasks, the tasks, the pruning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from metarec_sdk.adapters.adapter_problem import AdapterProblem
from metarec_sdk.adapters.early_stopping import Schedule
from metarec_sdk.adapters.hierarchical_map import (
    Learned,
    drop_useless_sites,
    learn_parent,
    learn_tasks,
    prune,
    starting_point,
    weigh_evidence,
)
from metarec_sdk.adapters.task_adapter import TaskAdapters
from metarec_sdk.types import State

Tick = Callable[[int, int, str], None]


def learn_adapters(
    problem: AdapterProblem,
    *,
    rank: int,
    prove_tasks: bool = True,
    schedule: Schedule,
    start: State,
    tick: Tick,
) -> tuple[State, list[dict[str, Any]], dict[str, float]]:
    """(adapter arrays or {}, structure rows, losses): what beats the step before it by more than a standard
    error stays, and without prove_tasks the tasks' adapters wherever there is evidence of any. start: arrays
    of an earlier fit, whose A and B_0 are taken over."""
    best = problem.judged({}, {})
    losses = {"adapters/before": best.loss}
    learned = continued(problem, rank, start) if start else starting_point(problem, rank)
    empty = replace(learned, up={site: torch.zeros_like(up) for site, up in learned.up.items()})
    gates = problem.gates

    learn_parent(problem, learned, schedule, lambda done, of: tick(done, of, "parent adapter"))
    after = problem.judged(learned.down, learned.up)
    losses["adapters/parent"] = after.loss
    accepted = after.earns_its_place(best)
    if accepted:
        drop_useless_sites(problem, learned)
        best = problem.judged(learned.down, learned.up)
    else:
        learned, problem.gates = empty, gates

    if problem.n_tasks > 1:
        weigh_evidence(problem, learned)
        if any(found.kept.any() for found in learned.evidence.values()):
            parent, gates = replace(learned), problem.gates
            learn_tasks(problem, learned, schedule, lambda done, of: tick(done, of, "task adapters"))
            after = problem.judged(learned.down, learned.up)
            losses["adapters/tasks"] = after.loss
            if not prove_tasks or after.earns_its_place(best):
                best, accepted = after, True
            else:
                learned, problem.gates = replace(parent, evidence={}), gates
    losses["adapters/after"] = best.loss
    if not accepted:
        return {}, structure(problem, replace(learned, down={}, up={}, evidence={})), losses
    prune(learned)
    down = {site: value.numpy() for site, value in learned.down.items()}
    up = {site: value.numpy() for site, value in learned.up.items()}
    return TaskAdapters(down, up).state(), structure(problem, learned), losses


def structure(problem: AdapterProblem, learned: Learned) -> list[dict[str, Any]]:
    """One row a task and site of the backbone, the parent as task -1: rank in use (0 = dropped) and τ²."""
    rows: list[dict[str, Any]] = []
    for site in problem.sites.sizes:
        parent_rank = len(learned.down[site]) if site in learned.down else 0
        rows.append({"task": -1, "site": site, "rank": parent_rank, "spread": 0.0})
        found = learned.evidence.get(site)
        ranks = [0] * problem.n_tasks if found is None else found.kept.sum(1).tolist()
        total = (
            0.0 if found is None or not found.kept.any() else float(found.spread[found.kept.any(0)].mean())
        )
        rows += [
            {"task": task, "site": site, "rank": int(rank), "spread": total if rank else 0.0}
            for task, rank in enumerate(ranks)
        ]
    return rows


def continued(problem: AdapterProblem, rank: int, start: State) -> Learned:
    """A and B_0 of an earlier fit at the sites that this backbone has; the others start afresh."""
    fresh = starting_point(problem, rank)
    earlier = TaskAdapters.from_state(start)
    for site, sizes in earlier.sites.items():
        if fresh.down.keys() & {site} and problem.sites.sizes[site] == sizes:
            parent = torch.from_numpy(earlier.up[site][-1:])
            fresh.down[site] = torch.from_numpy(earlier.down[site])
            fresh.up[site] = parent.expand(problem.n_tasks + 1, -1, -1).contiguous()
    return fresh
