import numpy as np
import pytest
import torch

from metarec_sdk.adapters import Reptile, TaskAdapters
from metarec_sdk.adapters.adapter_problem import AdapterProblem
from metarec_sdk.adapters.batch import episode_tensors
from metarec_sdk.adapters.hierarchical_map import starting_point
from metarec_sdk.adapters.reptile_loop import ReptileLoop
from metarec_sdk.errors import ArgumentError
from metarec_sdk.types import Memberships


def problem_of(world, backbone, n_tasks, dtype=torch.float32, **kwargs):
    made = world(200, seed=1, **kwargs)
    data = made.episodes, made.memberships
    return AdapterProblem.build(backbone, n_tasks, data, data, torch.Generator().manual_seed(0), dtype)


def loop_of(problem, **kwargs):
    defaults = {
        "rounds": 2,
        "inner_steps": 3,
        "batch": 5,
        "inner_rate": 0.3,
        "outer_rate": 0.8,
        "final_rounds": 2,
        "shrinkage": 20.0,
    }
    return ReptileLoop(problem, **{**defaults, **kwargs})


def by_hand(problem, loop, learned):
    """Nichol et al., algorithm 2, one task at a time on the same draws; plain NumPy-like loops over torch."""
    a, step = learned.down["final"], learned.step["final"]
    inhabited = [c for c in range(problem.n_tasks + 1) if (problem.training.rows[:, 0] == c).any()]

    def adapted_step(b, rows):
        leaf = b.clone().requires_grad_(True)
        total = 0.0
        for row in rows.tolist():
            one = problem.training.take(torch.tensor([row]))
            h = problem.inputs["h"][row]
            h = h + leaf @ (a @ h)
            logits = problem.gates[one.bins, :1] * (problem.sites.items @ h)
            gates = problem.gates[one.bins[0]]
            logits = logits[0] if logits.ndim == 2 else logits
            logits = (
                logits + gates[1] * problem.popularity[0] + gates[2] * problem.popularity[1 + int(one.bins)]
            )
            seen = one.support[one.present]
            mask = torch.zeros_like(logits, dtype=torch.bool)
            mask[seen] = True
            partition = torch.logsumexp(logits.masked_fill(mask, -torch.inf), 0)
            for item, weight in zip(one.query[0], one.query_weights[0]):
                total = total + weight * (partition - logits[item])
        (gradient,) = torch.autograd.grad(total / len(rows), [leaf])
        return b - loop.inner_rate * step**2 * gradient

    parent = torch.zeros_like(learned.up["final"][0])
    for round_ in range(loop.rounds):
        fast = {c: parent.clone() for c in inhabited}
        for _ in range(loop.inner_steps):
            rows = loop.draw().reshape(len(inhabited), loop.batch)
            fast = {c: adapted_step(fast[c], rows[i]) for i, c in enumerate(inhabited)}
        rate = loop.outer_rate * (1 - round_ / loop.rounds)
        parent = parent + rate * (torch.stack(list(fast.values())).mean(0) - parent)
    return parent


@pytest.mark.parametrize("sizes", [(0.5, 0.5), (0.99, 0.01)], ids=["even", "one task 100 times the other"])
@pytest.mark.parametrize("n_tasks", [2, 3])
def test_batched_rounds_are_the_loop_over_tasks(world, mean_backbone, n_tasks, sizes):
    """Three tasks, two inhabited: the empty one takes no part."""
    problem = problem_of(world, mean_backbone, n_tasks, torch.float64, sizes=sizes)
    counts = torch.bincount(problem.training.rows[:, 0])
    assert sizes[0] == 0.5 or counts[0] > 50 * counts[1] > 0
    learned = starting_point(problem, 3)
    loop = loop_of(problem)
    problem.generator.manual_seed(7)
    expected = by_hand(problem, loop, learned)
    problem.generator.manual_seed(7)
    found = loop.parent(learned, lambda *a: None)["final"][0]
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    assert found.abs().max() > 0


def test_draws_come_from_their_own_task(world, mean_backbone):
    problem = problem_of(world, mean_backbone, 3, sizes=(0.9, 0.1))
    loop = loop_of(problem, batch=50)
    drawn = loop.draw().reshape(2, 50)
    tasks = problem.training.rows[:, 0][drawn]
    np.testing.assert_array_equal(tasks, np.repeat([[0], [1]], 50, axis=1))
    assert len(torch.unique(drawn[0])) > 20


def test_tasks_move_from_the_parent_as_far_as_their_size_earns(world, mean_backbone):
    problem = problem_of(world, mean_backbone, 3, sizes=(0.95, 0.05))
    learned = starting_point(problem, 3)
    parent = {"final": 0.1 * torch.ones_like(learned.up["final"][-1:])}
    moves = {}
    for shrinkage in (0.0, 20.0, 1e12):
        problem.generator.manual_seed(3)
        up = loop_of(problem, shrinkage=shrinkage).tasks(learned, parent)["final"]
        np.testing.assert_array_equal(up[-1], parent["final"][0])
        np.testing.assert_array_equal(up[2], parent["final"][0])  # nobody there
        moves[shrinkage] = (up[:2] - parent["final"]).norm(dim=(1, 2))
    users = loop_of(problem).users[:2]
    torch.testing.assert_close(moves[20.0], moves[0.0] * users / (users + 20), rtol=1e-4, atol=1e-6)
    assert (moves[1e12] < 1e-6).all()


def test_swapped_preferences_are_found(world, mean_backbone, other_head):
    made, validation = world(400, seed=1), world(250, seed=2)
    found = Reptile(rank=6).fit(
        made.episodes,
        made.memberships,
        n_tasks=2,
        backbone=mean_backbone,
        head=other_head,
        validation=(validation.episodes, validation.memberships),
        rng=np.random.default_rng(0),
    )
    assert found.head == {}
    assert found.losses["adapters/after"] == found.losses["adapters/tasks"]
    assert found.losses["adapters/tasks"] < found.losses["adapters/parent"] - 0.1
    assert TaskAdapters.from_state(found.adapters).n_tasks == 2
    assert all(row["rank"] > 0 for row in found.structure)


def test_same_seed_same_bytes_and_start(world, two_site_backbone, other_head):
    made, validation = world(200, seed=1), world(150, seed=2)

    def fit(seed, start=None):
        return Reptile(rank=3, rounds=10).fit(
            made.episodes,
            made.memberships,
            n_tasks=2,
            backbone=two_site_backbone,
            head=other_head,
            validation=(validation.episodes, validation.memberships),
            rng=np.random.default_rng(seed),
            start=start,
        )

    one, two = fit(4), fit(4)
    assert one.losses == two.losses
    assert all(one.adapters[name].tobytes() == two.adapters[name].tobytes() for name in one.adapters)
    further = fit(4, start=one)
    assert further.losses["adapters/parent"] <= one.losses["adapters/parent"] + 0.02


def test_nobody_to_learn_from_and_bad_arguments(world, mean_backbone, other_head):
    made = world(3, seed=1)
    nobody = made.episodes.take([]), Memberships.parent(0)
    found = Reptile().fit(
        *nobody,
        n_tasks=0,
        backbone=mean_backbone,
        head=other_head,
        validation=nobody,
        rng=np.random.default_rng(0),
    )
    assert (found.adapters, found.structure) == ({}, [])
    with pytest.raises(ArgumentError, match="outer_rate"):
        Reptile(outer_rate=2.0)
    with pytest.raises(ArgumentError, match="rounds"):
        Reptile(rounds=0)
    assert episode_tensors(*nobody, 0)[1].shape == (0,)
