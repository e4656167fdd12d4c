import subprocess
import sys

import numpy as np
import pytest
import torch

from metarec_sdk.adapters import NoMetaLearning, TaskAdapters
from metarec_sdk.errors import ArgumentError, ArtefactError
from metarec_sdk.types import Histories, Memberships, MetaLearner

SITES = {"inner": (6, 6), "final": (6, 6)}
HISTORIES = Histories.from_lists([[0, 9], [], [31], [4, 5, 6], [12]])


def random_adapters(n_tasks=3, rank=2, sites=SITES, seed=0):
    rng = np.random.default_rng(seed)
    start = TaskAdapters.identity(sites, n_tasks, rank=rank, rng=rng)
    up = {site: rng.normal(size=b.shape) for site, b in start.up.items()}
    return TaskAdapters(start.down, up)


def memberships(tasks, weights):
    return Memberships(np.array(tasks, np.int32), np.array(weights, np.float32))


MIXED = memberships(
    [[0, 1], [2, -1], [-1, 0], [1, 1], [2, 0]], [[0.7, 0.3], [1, 0], [0.5, 0.5], [0.2, 0.8], [0, 1]]
)


def test_down_projections_are_orthonormal():
    for a in TaskAdapters.identity({"s": (9, 4)}, 2, rank=5, rng=np.random.default_rng(0)).down.values():
        np.testing.assert_allclose(a @ a.T, np.eye(5), atol=1e-6)


def test_zero_adapters_change_nothing_to_the_bit(mean_backbone, two_site_backbone):
    rng = np.random.default_rng(0)
    plain = TaskAdapters.identity({"final": (6, 6)}, 3, rank=2, rng=rng)
    np.testing.assert_array_equal(
        plain.apply(mean_backbone, HISTORIES, MIXED), mean_backbone.encode(HISTORIES)
    )
    inside = TaskAdapters.identity(SITES, 3, rank=2, rng=rng)
    adapted = inside.apply(two_site_backbone, HISTORIES, MIXED)
    np.testing.assert_allclose(adapted, two_site_backbone.encode(HISTORIES), atol=1e-6)
    empty = TaskAdapters.from_state({})
    np.testing.assert_array_equal(
        empty.apply(two_site_backbone, HISTORIES, Memberships.parent(5)), two_site_backbone.encode(HISTORIES)
    )


def test_delta_is_the_formula_in_float64():
    adapters = random_adapters()
    x = np.random.default_rng(1).normal(size=(5, 6)).astype(np.float32)
    a, b = adapters.down["final"].astype(np.float64), adapters.up["final"].astype(np.float64)
    for row in range(5):
        mixed = sum(w * b[3 if t < 0 else t] for t, w in zip(MIXED.tasks[row], MIXED.weights[row]))
        expected = mixed @ (a @ x[row])
        np.testing.assert_allclose(adapters.delta("final", x, MIXED)[row], expected, atol=1e-5)


def test_numpy_and_torch_agree_and_torch_is_differentiable():
    adapters = random_adapters()
    x = np.random.default_rng(1).normal(size=(5, 6)).astype(np.float32)
    there = torch.from_numpy(x).requires_grad_(True)
    found = adapters.delta("inner", there, MIXED)
    np.testing.assert_allclose(found.detach().numpy(), adapters.delta("inner", x, MIXED), atol=1e-5)
    found.sum().backward()
    assert torch.isfinite(there.grad).all()
    double = adapters.delta("inner", torch.from_numpy(x.astype(np.float64)), MIXED)
    assert double.dtype == torch.float64
    assert adapters.delta("elsewhere", x, MIXED) == 0.0


def test_soft_membership_is_linear():
    adapters = random_adapters()
    x = np.random.default_rng(1).normal(size=(5, 6)).astype(np.float32)

    def hard(task):
        return adapters.delta("final", x, memberships([[task, -1]] * 5, [[1, 0]] * 5))

    half = adapters.delta("final", x, memberships([[0, 2]] * 5, [[0.25, 0.75]] * 5))
    np.testing.assert_allclose(half, 0.25 * hard(0) + 0.75 * hard(2), atol=1e-5)
    swapped = adapters.delta("final", x, memberships([[2, 0]] * 5, [[0.75, 0.25]] * 5))
    np.testing.assert_allclose(half, swapped, atol=1e-6)


def test_renaming_tasks_changes_nothing(two_site_backbone):
    adapters = random_adapters()
    order = np.array([2, 0, 1], np.int32)  # new task c is old task order[c]
    new_id = np.append(np.argsort(order), -1)
    renamed = memberships(new_id[MIXED.tasks], MIXED.weights)
    np.testing.assert_array_equal(
        adapters.renumbered(order).apply(two_site_backbone, HISTORIES, renamed),
        adapters.apply(two_site_backbone, HISTORIES, MIXED),
    )


def test_a_new_task_starts_at_the_parent(mean_backbone):
    adapters = random_adapters(sites={"final": (6, 6)})
    grown = adapters.renumbered(np.array([0, 1, 2, -1], np.int32))
    assert grown.n_tasks == 4
    newcomer = memberships([[3, -1]] * 5, [[1, 0]] * 5)
    np.testing.assert_array_equal(
        grown.apply(mean_backbone, HISTORIES, newcomer),
        adapters.apply(mean_backbone, HISTORIES, Memberships.parent(5)),
    )


def test_rows_of_a_large_batch_are_those_of_a_small_one(mean_backbone):
    adapters = random_adapters(sites={"final": (6, 6)})
    many = HISTORIES.take(np.tile(np.arange(5), 900))
    found = adapters.apply(mean_backbone, many, MIXED.take(np.tile(np.arange(5), 900)))
    expected = adapters.apply(mean_backbone, HISTORIES, MIXED)
    np.testing.assert_allclose(found, np.tile(expected, (900, 1)), atol=1e-6)
    assert found.dtype == np.float32
    assert adapters.apply(mean_backbone, HISTORIES.take([]), MIXED.take([])).shape == (0, 6)


def test_state_round_trip_and_bad_states(two_site_backbone):
    adapters = random_adapters()
    other = TaskAdapters.from_state(adapters.state())
    np.testing.assert_array_equal(
        other.apply(two_site_backbone, HISTORIES, MIXED),
        adapters.apply(two_site_backbone, HISTORIES, MIXED),
    )
    assert other.sites == SITES
    with pytest.raises(ArtefactError, match=r"down\.<site>"):
        TaskAdapters.from_state({"strange": np.zeros((1, 1))})
    broken = adapters.state()
    broken["up.final"] = np.full_like(broken["up.final"], np.nan)
    with pytest.raises(ArtefactError, match="finite"):
        TaskAdapters.from_state(broken)
    del broken["up.final"]
    with pytest.raises(ArtefactError, match="same sites"):
        TaskAdapters.from_state(broken)


def test_bad_arguments(mean_backbone):
    adapters = random_adapters()
    x = np.zeros((5, 6), np.float32)
    with pytest.raises(ArgumentError, match="-1 … 2"):
        adapters.delta("final", x, memberships([[3, -1]] * 5, [[1, 0]] * 5))
    with pytest.raises(ArgumentError, match="agree"):
        adapters.delta("final", x[:2], MIXED)
    with pytest.raises(ArgumentError, match="isn't the one"):
        adapters.apply(mean_backbone, HISTORIES, MIXED)
    with pytest.raises(ArgumentError, match="A must be"):
        TaskAdapters({"s": np.zeros((2, 3))}, {"s": np.zeros((1, 3, 3))})
    with pytest.raises(ArgumentError, match="same number of tasks"):
        TaskAdapters(
            {"s": np.zeros((1, 3)), "t": np.zeros((1, 3))},
            {"s": np.zeros((1, 3, 1)), "t": np.zeros((2, 3, 1))},
        )


def test_no_meta_learning_is_empty(world, mean_backbone, other_head):
    made = world(10)
    learner = NoMetaLearning()
    assert isinstance(learner, MetaLearner)
    found = learner.fit(
        made.episodes,
        made.memberships,
        n_tasks=2,
        backbone=mean_backbone,
        head=other_head,
        validation=(made.episodes, made.memberships),
        rng=np.random.default_rng(0),
    )
    assert (found.adapters, found.head, found.structure, found.losses) == ({}, {}, [], {})


def test_serving_without_torch():
    code = (
        "import sys, numpy as np\n"
        "from metarec_sdk.adapters import ClosedForm, NoMetaLearning, Reptile, TaskAdapters\n"
        "from metarec_sdk.types import Memberships\n"
        "ClosedForm(), Reptile(), NoMetaLearning()\n"
        "a = TaskAdapters.identity({'final': (4, 4)}, 2, rank=2, rng=np.random.default_rng(0))\n"
        "a.delta('final', np.ones((3, 4), np.float32), Memberships.parent(3))\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
