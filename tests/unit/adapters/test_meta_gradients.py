"""MAML, its first-order form and ANIL against loops over tasks in plain torch."""

import numpy as np
import pytest
import torch

from metarec_sdk.adapters import Anil, Fomaml, Maml, TaskAdapters
from metarec_sdk.adapters.adapter_problem import AdapterProblem
from metarec_sdk.adapters.anil_loop import AnilLoop
from metarec_sdk.adapters.hierarchical_map import starting_point
from metarec_sdk.adapters.meta_gradient_loop import MetaGradientLoop
from metarec_sdk.adapters.primary_losses import primary_losses
from metarec_sdk.types import Memberships

SETTINGS = {
    "rounds": 2,
    "inner_steps": 2,
    "batch": 3,
    "inner_rate": 0.3,
    "outer_rate": 0.1,
    "final_rounds": 1,
    "shrinkage": 20.0,
}


def problem_of(made, backbone, n_tasks):
    data = made.episodes, made.memberships
    return AdapterProblem.build(
        backbone, n_tasks, data, data, torch.Generator().manual_seed(0), torch.float64
    )


def one_loss(problem, row, adapt):
    """The loss of one episode by hand; ``adapt(site, x)`` is the adapter's part."""
    one = problem.training.take(torch.tensor([row]))
    inputs = {name: value[[row]] for name, value in problem.inputs.items()}
    h = problem.sites.run(inputs, adapt)[0]
    gates = problem.gates[one.bins[0]]
    logits = gates[0] * (problem.sites.items @ h)
    logits = logits + gates[1] * problem.popularity[0] + gates[2] * problem.popularity[1 + int(one.bins)]
    mask = torch.zeros_like(logits, dtype=torch.bool)
    mask[one.support[one.present]] = True
    total = torch.logsumexp(logits.masked_fill(mask, -torch.inf), 0)
    return (one.query_weights[0] * (total - logits[one.query[0]])).sum()


def adapted_loss(problem, learned, b, rows):
    """Mean loss of episodes under one task's B of every site."""
    losses = [
        one_loss(problem, row, lambda site, x: (x @ learned.down[site].T) @ b[site].T)
        for row in rows.tolist()
    ]
    return torch.stack(losses).mean()


def double_loop(problem, loop, learned, parent, draws, query, second_order):
    """(loss, gradient of the parent), one task and one step at a time."""
    n = len(query) // loop.batch
    total = torch.zeros((), dtype=torch.float64)
    gradients = {site: torch.zeros_like(value) for site, value in parent.items()}
    for task in range(n):
        leaves = {site: value[0].clone().requires_grad_() for site, value in parent.items()}
        b = leaves
        for rows in draws:
            mine = rows.reshape(n, -1)[task]
            found = torch.autograd.grad(
                adapted_loss(problem, learned, b, mine), list(b.values()), create_graph=second_order
            )
            b = {
                site: value - loop.inner_rate * learned.step[site] ** 2 * gradient
                for (site, value), gradient in zip(b.items(), found)
            }
            if not second_order:
                b = {site: value.detach().requires_grad_() for site, value in b.items()}
        loss = adapted_loss(problem, learned, b, query.reshape(n, -1)[task]) / n
        towards = leaves if second_order else b
        for site, gradient in zip(parent, torch.autograd.grad(loss, list(towards.values()))):
            gradients[site] += gradient
        total = total + loss.detach()
    return total, gradients


@pytest.mark.parametrize("second_order", [True, False])
@pytest.mark.parametrize("sizes", [(0.5, 0.5), (0.99, 0.01)], ids=["even", "one task 100 times the other"])
def test_the_meta_gradient_is_that_of_a_double_loop(world, two_site_backbone, second_order, sizes):
    """Three tasks, the third without an episode; of the uneven ones the smaller has next to none."""
    problem = problem_of(world(120, seed=1, sizes=sizes), two_site_backbone, 3)
    counts = torch.bincount(problem.training.rows[:, 0], minlength=4)
    assert counts[2:].tolist() == [0, 0]
    assert sizes[0] == 0.5 or counts[0] > 50 * counts[1] > 0
    learned = starting_point(problem, 2)
    loop = MetaGradientLoop(problem, **SETTINGS, second_order=second_order)
    generator = torch.Generator().manual_seed(2)
    parent = {
        site: 0.1 * torch.randn(1, *up.shape[1:], dtype=up.dtype, generator=generator).requires_grad_()
        for site, up in learned.up.items()
    }
    parent = {site: value.detach().requires_grad_() for site, value in parent.items()}
    draws, query = [loop.draw() for _ in range(2)], loop.draw()
    loss = loop.outer_loss(learned, parent, draws, query)
    found = dict(zip(parent, torch.autograd.grad(loss, list(parent.values()))))
    expected = double_loop(problem, loop, learned, parent, draws, query, second_order)
    torch.testing.assert_close(loss.detach(), expected[0], rtol=1e-9, atol=1e-12)
    for site, gradient in found.items():
        torch.testing.assert_close(gradient, expected[1][site], rtol=1e-7, atol=1e-10)
    other = double_loop(problem, loop, learned, parent, draws, query, not second_order)[1]
    assert any((found[site] - other[site]).abs().max() > 1e-4 for site in found)


def test_anils_meta_gradient_is_that_of_a_double_loop(world, two_site_backbone):
    problem = problem_of(world(60, seed=1), two_site_backbone, 2)
    learned = starting_point(problem, 2)
    loop = AnilLoop(problem, **SETTINGS)
    diagonal = loop.start(learned)
    generator = torch.Generator().manual_seed(2)
    for value in diagonal.tensors():
        value += 0.1 * torch.randn(value.shape, dtype=value.dtype, generator=generator)
        value.requires_grad_(True)
    draws, query = [loop.draw() for _ in range(2)], loop.draw()
    loss = loop.outer_loss(learned, diagonal, draws, query)
    found = torch.autograd.grad(loss, diagonal.tensors())

    def mean(c, rows):
        def adapt(site, x):
            return ((x @ diagonal.v[site].T) * c[site]) @ (learned.step[site] * diagonal.u[site]).T

        return torch.stack([one_loss(problem, row, adapt) for row in rows.tolist()]).mean()

    total = torch.zeros((), dtype=torch.float64)
    for task in range(2):
        c = dict(diagonal.c)
        for rows in draws:
            gradients = torch.autograd.grad(
                mean(c, rows.reshape(2, -1)[task]), list(c.values()), create_graph=True
            )
            c = {
                site: value - diagonal.log_rate[site].exp() * gradient
                for (site, value), gradient in zip(c.items(), gradients)
            }
        total = total + mean(c, query.reshape(2, -1)[task]) / 2
    torch.testing.assert_close(loss, total, rtol=1e-9, atol=1e-12)
    expected = torch.autograd.grad(total, diagonal.tensors())
    for one, other in zip(found, expected):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-10)
    assert all(gradient.abs().max() > 0 for gradient in found)


def test_a_task_without_episodes_stays_at_the_parent_and_one_with_a_single_episode_moves_little(
    world, mean_backbone
):
    made = world(101, seed=1, sizes=(1.0,))
    made.memberships.tasks[0, 0] = 1  # one user of task 1, none of task 2
    problem = problem_of(made, mean_backbone, 3)
    for kind in (MetaGradientLoop, AnilLoop):
        learned = starting_point(problem, 2)
        loop = kind(problem, **SETTINGS)
        parent = loop.parent(learned, lambda *a: None)
        up = loop.tasks(learned, parent)["final"]
        torch.testing.assert_close(up[2], parent["final"][0])
        torch.testing.assert_close(up[3], parent["final"][0])
        kept = loop.kept_share()
        assert kept[1] == pytest.approx(1 / 21)
        assert torch.isfinite(up).all()
        assert (up[0] - parent["final"][0]).abs().max() > 0


@pytest.mark.parametrize("kind", [Maml, Fomaml, Anil])
def test_swapped_preferences_are_found(world, mean_backbone, other_head, kind):
    made, validation = world(400, seed=1), world(250, seed=2)

    def fit(learner, seed=0):
        return learner.fit(
            made.episodes,
            made.memberships,
            n_tasks=2,
            backbone=mean_backbone,
            head=other_head,
            validation=(validation.episodes, validation.memberships),
            rng=np.random.default_rng(seed),
        )

    found = fit(kind(rank=6))
    assert found.losses["adapters/after"] == found.losses["adapters/tasks"]
    assert found.losses["adapters/tasks"] < found.losses["adapters/before"] - 0.1
    assert TaskAdapters.from_state(found.adapters).n_tasks == 2
    one, two = (fit(kind(rank=2, rounds=3)) for _ in range(2))
    assert one.losses == two.losses


@pytest.mark.parametrize("kind", [Maml, Fomaml, Anil])
def test_nobody_to_learn_from(world, mean_backbone, other_head, kind):
    nobody = world(3, seed=1).episodes.take([]), Memberships.parent(0)
    found = kind().fit(
        *nobody,
        n_tasks=0,
        backbone=mean_backbone,
        head=other_head,
        validation=nobody,
        rng=np.random.default_rng(0),
    )
    assert (found.adapters, found.structure) == ({}, [])


def test_a_loss_under_another_task_would_be_noticed(world, mean_backbone):
    problem = problem_of(world(40, seed=1), mean_backbone, 2)
    learned = starting_point(problem, 2)
    up = {"final": torch.randn(3, 6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))}
    rows = torch.arange(10)
    found = primary_losses(problem, rows, learned.down, up)
    swapped = primary_losses(problem, rows, learned.down, {"final": up["final"][[1, 0, 2]]})
    assert ((found - swapped).abs() > 1e-3).sum() >= 8  # an empty support gives 0 to every adapter
