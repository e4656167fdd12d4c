import numpy as np
import torch

from metarec_sdk.adapters.task_means import shrunk_means

F64 = torch.float64


def users(sizes, centres, noise=1.0, seed=0):
    rng = np.random.default_rng(seed)
    task = np.repeat(np.arange(len(sizes)), sizes)
    estimate = np.asarray(centres)[task] + noise * rng.normal(size=(len(task), len(centres[0])))
    weights = np.eye(len(sizes))[task]
    return (
        torch.from_numpy(estimate),
        torch.ones(len(task), len(centres[0]), dtype=F64),
        torch.from_numpy(weights),
    )


def test_known_answer():
    estimate = torch.tensor([[1.0], [3.0], [8.0]], dtype=F64)
    weights = torch.tensor([[1.0, 0, 0], [1.0, 0, 0], [0, 1.0, 0]], dtype=F64)
    means, kappa = shrunk_means(estimate, torch.ones(3, 1, dtype=F64), weights, kappa=2.0)
    np.testing.assert_allclose(means[:, 0], [(2 * 2 + 2 * 4) / 4, (8 + 2 * 4) / 3, 4, 4])
    assert kappa == 2.0


def test_limits_of_the_shrinkage():
    data = users([50, 50], [[0.0, 0.0], [5.0, -5.0]])
    own, _ = shrunk_means(*data, kappa=0.0)
    np.testing.assert_allclose(own[0], data[0][:50].mean(0))
    np.testing.assert_allclose(own[1], data[0][50:].mean(0))
    pooled, _ = shrunk_means(*data, kappa=1e12)
    np.testing.assert_allclose(pooled, pooled[-1].expand(3, 2), atol=1e-6)


def test_empirical_bayes_shrinks_noise_and_keeps_differences():
    apart = users([50, 50, 50], [[0.0] * 8, [4.0] * 8, [-4.0] * 8])
    assert shrunk_means(*apart)[1] < 1.0
    alike = users([50, 50, 50], [[0.0] * 8] * 3)
    assert shrunk_means(*alike)[1] > 50.0


def test_a_task_without_users_is_at_the_parent_and_a_small_one_near_it():
    estimate, precision, weights = users([400, 4, 0], [[0.0], [3.0], [0.0]])
    means, _ = shrunk_means(estimate, precision, weights, kappa=20.0)
    assert means[2] == means[3]
    assert abs(means[1] - means[3]) < 0.25 * abs(estimate[400:].mean() - means[3])


def test_uncertain_users_count_less_and_one_task_uses_the_default():
    estimate = torch.tensor([[0.0], [10.0]], dtype=F64)
    precision = torch.tensor([[9.0], [1.0]], dtype=F64)
    means, kappa = shrunk_means(estimate, precision, torch.ones(2, 1, dtype=F64))
    np.testing.assert_allclose(means[:, 0], [1.0, 1.0])
    assert kappa == 20.0


def test_order_of_tasks_does_not_matter():
    estimate, precision, weights = users([30, 60, 10], [[0.0], [3.0], [1.0]])
    order = [2, 0, 1]
    plain, _ = shrunk_means(estimate, precision, weights)
    moved, _ = shrunk_means(estimate, precision, weights[:, order])
    np.testing.assert_allclose(moved[:3], plain[order])
