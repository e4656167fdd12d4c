import numpy as np
import pytest
import torch

from metarec_sdk.adapters.adapter_problem import AdapterProblem
from metarec_sdk.adapters.early_stopping import Schedule
from metarec_sdk.adapters.evidence import SiteEvidence
from metarec_sdk.adapters.hierarchical_map import (
    Learned,
    drop_useless_sites,
    learn_parent,
    learn_tasks,
    prune,
    starting_point,
)

LONG = Schedule(epochs=15, patience=15, rate=0.03)


def quiet(done, total):
    return None


def problem_of(world, backbone, n_tasks=2, n_users=240, **kwargs):
    made = world(n_users, seed=1, **kwargs)
    data = made.episodes, made.memberships
    return AdapterProblem.build(backbone, n_tasks, data, data, torch.Generator().manual_seed(0))


def all_kept(problem, learned, spread, kept=True):
    for site, up in learned.up.items():
        shape = problem.n_tasks, up.shape[2]
        learned.evidence[site] = SiteEvidence(
            torch.full((up.shape[2],), spread),
            torch.full(shape, kept),
            torch.full((len(up) - 1, *up.shape[1:]), 50.0),
        )


def apart(learned, site="final"):
    return (learned.up[site][:-1] - learned.up[site][-1]).norm(dim=(1, 2))


def test_start_is_the_identity_in_orthonormal_directions(world, two_site_backbone):
    problem = problem_of(world, two_site_backbone)
    learned = starting_point(problem, 3)
    assert learned.down.keys() == {"inner", "final"}
    for site, a in learned.down.items():
        torch.testing.assert_close(a @ a.T, torch.eye(3), rtol=0, atol=1e-5)
        assert (learned.up[site] == 0).all()
        assert learned.step[site] > 0
    assert problem.validation_loss(learned.down, learned.up) == pytest.approx(
        problem.validation_loss({}, {}), abs=1e-6
    )


def test_gradient_in_b_is_g_times_z(world, two_site_backbone):
    """The probe's per-episode g and the site's x give the gradient in B that autograd finds directly."""
    problem = problem_of(world, two_site_backbone)
    learned = starting_point(problem, 4)
    rows = torch.arange(len(problem.training))
    for up in learned.up.values():
        up.copy_(0.3 * torch.randn(up.shape, generator=torch.Generator().manual_seed(3)))
    g, x = problem.output_gradients(rows, learned.down, learned.up)
    leaves = {site: up.clone().requires_grad_(True) for site, up in learned.up.items()}
    loss = (problem.losses(rows, learned.down, leaves) / problem.training.share).sum()
    loss.backward()
    task = problem.training.rows[:, 0]
    for site, leaf in leaves.items():
        z = x[site] @ learned.down[site].T
        for c in range(2):
            expected = g[site][task == c].T @ z[task == c]
            torch.testing.assert_close(leaf.grad[c], expected, rtol=1e-3, atol=1e-3)


def test_tiny_spread_keeps_every_task_at_the_parent(world, mean_backbone):
    problem = problem_of(world, mean_backbone)
    learned = starting_point(problem, 4)
    all_kept(problem, learned, 1e-10)
    learn_tasks(problem, learned, LONG, quiet)
    assert learned.up["final"][-1].norm() > 0.1  # the parent learned something
    assert (apart(learned) < 1e-3 * learned.up["final"][-1].norm()).all()


def test_infinite_spread_makes_tasks_independent(world, mean_backbone):
    problem = problem_of(world, mean_backbone)
    learned = starting_point(problem, 4)
    all_kept(problem, learned, 1e8)
    learn_tasks(problem, learned, LONG, quiet)
    task = problem.training.rows[:, 0]
    losses = problem.losses(torch.arange(len(task)), learned.down, learned.up)
    for c in (0, 1):
        made = world(240, seed=1)
        rows = np.flatnonzero(made.task == c)
        alone_data = made.episodes.take(rows), type(made.memberships).parent(len(rows))
        alone = AdapterProblem.build(
            mean_backbone, 0, alone_data, alone_data, torch.Generator().manual_seed(0)
        )
        alone.popularity, alone.gates = problem.popularity, problem.gates
        single = Learned(learned.down, {"final": torch.zeros(1, 6, 4)}, learned.step, {})
        learn_parent(alone, single, LONG, quiet)
        expected = alone.losses(torch.arange(len(rows)), single.down, single.up).mean()
        assert float(losses[task == c].mean()) == pytest.approx(float(expected), rel=0.03)


def test_parent_is_the_mean_of_the_tasks(world, mean_backbone):
    problem = problem_of(world, mean_backbone)
    learned = starting_point(problem, 4)
    all_kept(problem, learned, 0.05)
    learn_tasks(problem, learned, LONG, quiet)
    up = learned.up["final"]
    torch.testing.assert_close(up[-1], up[:-1].mean(0), rtol=1e-3, atol=1e-4)


def test_tasks_without_data_or_evidence_stay_at_the_parent_to_the_bit(world, mean_backbone):
    problem = problem_of(world, mean_backbone, n_tasks=4)
    learned = starting_point(problem, 4)
    all_kept(problem, learned, 0.05)
    learned.evidence["final"].kept[2:] = False  # tasks 2 and 3 have no users
    learned.evidence["final"].kept[:2, 3] = False
    learn_tasks(problem, learned, Schedule(epochs=3), quiet)
    up = learned.up["final"]
    np.testing.assert_array_equal(up[2], up[-1])
    np.testing.assert_array_equal(up[3], up[-1])
    np.testing.assert_array_equal(up[0, :, 3], up[-1, :, 3])
    assert not torch.equal(up[0], up[-1])


@pytest.mark.parametrize("sizes", [(0.99, 0.01), (0.01, 0.99), (1.0, 0.0)])
def test_lopsided_tasks(world, mean_backbone, sizes):
    problem = problem_of(world, mean_backbone, sizes=sizes)
    before = problem.validation_loss({}, {})
    learned = starting_point(problem, 4)
    all_kept(problem, learned, 0.05)
    learn_tasks(problem, learned, Schedule(epochs=5), quiet)
    assert all(torch.isfinite(up).all() for up in learned.up.values())
    assert problem.validation_loss(learned.down, learned.up) < before


def test_renaming_tasks_renames_the_adapters(world, mean_backbone):
    made = world(240, seed=1, sizes=(0.7, 0.3))
    swapped = world(240, seed=1, sizes=(0.7, 0.3)).memberships
    swapped.tasks[:, 0] = 1 - made.task
    found = []
    for memberships in (made.memberships, swapped):
        data = made.episodes, memberships
        problem = AdapterProblem.build(mean_backbone, 2, data, data, torch.Generator().manual_seed(0))
        learned = starting_point(problem, 4)
        all_kept(problem, learned, 0.05)
        learn_tasks(problem, learned, Schedule(epochs=4), quiet)
        found.append(learned.up["final"])
    torch.testing.assert_close(found[0], found[1][[1, 0, 2]], rtol=1e-3, atol=1e-4)


def test_useless_sites_and_directions_are_left_out(world, two_site_backbone):
    problem = problem_of(world, two_site_backbone)
    learned = starting_point(problem, 4)
    learn_parent(problem, learned, LONG, quiet)
    learned.up["inner"] = torch.zeros_like(learned.up["inner"])
    drop_useless_sites(problem, learned)
    assert learned.down.keys() == {"final"}
    learned.up["final"][:, :, 1] = 0.0
    prune(learned)
    assert learned.down["final"].shape == (3, 6)
    assert learned.up["final"].shape == (3, 6, 3)
    learned.up["final"].zero_()
    prune(learned)
    assert learned.down == {}
