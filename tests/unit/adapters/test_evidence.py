import numpy as np
import pytest
import torch

from metarec_sdk.adapters.batch import all_tensors
from metarec_sdk.adapters.evidence import find_evidence, scores_and_information
from metarec_sdk.types import Episodes, Histories, Memberships

F64 = torch.float64


def drawn(n_users, n_tasks, seed=0, sizes=None):
    """Users with hard memberships and supports of 0 to 3 events."""
    rng = np.random.default_rng(seed)
    task = rng.choice(n_tasks, n_users, p=sizes)
    memberships = Memberships.parent(n_users)
    memberships.tasks[:, 0] = task
    histories = Histories.from_lists([[0] * (u % 4) for u in range(n_users)])
    query = Histories.from_lists([[1]] * n_users)
    episodes = Episodes(histories, query, np.arange(n_users, dtype=np.int32))
    return all_tensors(episodes, memberships, n_tasks, dtype=F64), torch.from_numpy(task)


def gradients(task, shift, d_out=5, r=3, seed=0):
    """g and z of a world in which direction 0 pulls tasks apart by ``shift`` and the others don't."""
    generator = torch.Generator().manual_seed(seed)
    g = torch.randn(len(task), d_out, dtype=F64, generator=generator)
    z = torch.randn(len(task), r, dtype=F64, generator=generator)
    sign = torch.where(task % 2 == 0, 1.0, -1.0).to(F64)
    return g + shift * (sign * z[:, 0])[:, None], z


def evidence(batch, n_tasks, g, z, seed=0):
    return find_evidence(batch, n_tasks, g, z, generator=torch.Generator().manual_seed(seed))


def test_sums_are_those_of_a_loop_over_users():
    _, task = drawn(50, 3)
    g, z = gradients(task, 1.0)
    weights = torch.rand(50, 3, dtype=F64, generator=torch.Generator().manual_seed(1))
    score, information = scores_and_information(weights, g, z)
    expected = torch.zeros(3, 5, 3, dtype=F64)
    squares = torch.zeros(3, 5, 3, dtype=F64)
    for u in range(50):
        for c in range(3):
            expected[c] += weights[u, c] * torch.outer(g[u], z[u])
            squares[c] += (weights[u, c] * torch.outer(g[u], z[u])).square()
    torch.testing.assert_close(score, expected)
    torch.testing.assert_close(information, squares)


def test_only_the_direction_in_which_tasks_differ_is_kept():
    batch, task = drawn(400, 4)
    found = evidence(batch, 4, *gradients(task, 0.7))
    np.testing.assert_array_equal(found.kept, np.tile([True, False, False], (4, 1)))
    assert found.spread[0] > 0
    assert (found.spread[1:] == 0).all()


def test_spread_is_near_its_true_value():
    """g = ±shift·z + ε puts the two b̂ at ∓E[g z] / E[g² z²], whose unbiased variance is the spread."""
    batch, task = drawn(20_000, 2)
    shift = 0.3
    found = evidence(batch, 2, *gradients(task, shift))
    information = 1 + 3 * shift**2  # E[(ε + shift·z)² z²] for standard normal ε and z
    assert float(found.spread[0]) == pytest.approx(2 * (shift / information) ** 2, rel=0.1)


def test_nothing_is_kept_where_tasks_are_alike():
    kept = 0
    for seed in range(30):
        batch, task = drawn(200, 3, seed=seed)
        kept += bool(evidence(batch, 3, *gradients(task, 0.0, seed=seed), seed=seed).kept.any())
    assert kept <= 5  # the test's level is 1/25


def test_a_task_without_users_has_no_evidence_and_a_lone_user_no_say():
    batch, task = drawn(400, 3, sizes=[0.5, 0.5, 0.0])
    found = evidence(batch, 3, *gradients(task, 0.7))
    np.testing.assert_array_equal(found.kept[:, 0], [True, True, False])
    lonely, task = drawn(400, 2, sizes=[1.0, 0.0])
    assert not evidence(lonely, 2, *gradients(task, 0.7)).kept.any()


def test_renaming_tasks_renames_the_evidence():
    batch, task = drawn(300, 3, sizes=[0.6, 0.3, 0.1])
    g, z = gradients(task, 0.7)
    plain = evidence(batch, 3, g, z)
    order = torch.tensor([2, 0, 1, 3])  # old id -> new id, the parent's row stays
    renamed, _ = drawn(300, 3, sizes=[0.6, 0.3, 0.1])
    renamed = type(batch)(
        **{**{f: getattr(batch, f) for f in batch.__dataclass_fields__}, "rows": order[batch.rows]}
    )
    moved = evidence(renamed, 3, g, z)
    torch.testing.assert_close(moved.spread, plain.spread)
    np.testing.assert_array_equal(moved.kept[order[:3]], plain.kept)
