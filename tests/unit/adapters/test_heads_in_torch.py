import numpy as np
import pytest
import torch

from metarec_sdk.adapters.batch import all_tensors
from metarec_sdk.adapters.head_models import NatparModel, RidgeModel
from metarec_sdk.kernels.natpar import natpar
from metarec_sdk.kernels.ridge import ridge_query
from metarec_sdk.types import Memberships


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def randn(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=generator(seed))


SUPPORT = torch.tensor([[0, 3, 1], [2, 0, 0], [0, 0, 0], [4, 4, 2]])
WEIGHTS = torch.tensor([[1.0, 0.5, 2.0], [1.0, 0, 0], [0, 0, 0], [1.0, 1.0, 0.3]], dtype=torch.float64)


def test_natpar_is_the_formula_and_zero_for_an_empty_support():
    psi, variance = randn(5, 3), randn(2, 3, seed=1).exp()
    edges = torch.tensor([1.5], dtype=torch.float64)
    found = natpar(SUPPORT, WEIGHTS, psi, variance, edges)[0]
    for u in range(4):
        r_u = sum(w * psi[i] for i, w in zip(SUPPORT[u], WEIGHTS[u]))
        kappa_u = WEIGHTS[u].sum()
        s = variance[int(kappa_u >= 1.5)]
        torch.testing.assert_close(found[u], r_u / (kappa_u + 1 / s), rtol=1e-12, atol=0)
    assert (found[2] == 0).all()
    mean = randn(4, 3, seed=2)
    with_mean = natpar(SUPPORT, WEIGHTS, psi, variance, edges, mean)[0]
    torch.testing.assert_close(with_mean[2], mean[2])
    nothing = natpar(SUPPORT, WEIGHTS, psi, torch.zeros_like(variance), edges, mean)[0]
    torch.testing.assert_close(nothing, mean)  # no variance: the prior mean and nothing else


def test_natpar_gradients():
    edges = torch.tensor([1.5], dtype=torch.float64)

    def query(psi, log_variance, weights, mean):
        return natpar(SUPPORT, weights, psi, log_variance.exp(), edges, mean)[0]

    inputs = (randn(5, 3), randn(2, 3, seed=1), WEIGHTS.clone(), randn(4, 3, seed=2))
    assert torch.autograd.gradcheck(query, [value.requires_grad_(True) for value in inputs])


def normal_equations(support, weights, factors, gram, alpha, penalty, mean):
    rows = factors[support]
    system = alpha * gram + torch.diag(penalty) + (rows * weights[:, None]).T @ rows
    return torch.linalg.solve(system, rows.T @ weights + penalty * mean)


@pytest.mark.parametrize("m", [2, 8], ids=["primal", "dual"])
def test_ridge_solves_the_normal_equations(m):
    factors, penalty, alpha = randn(5, m), randn(m, seed=1).exp(), torch.tensor(0.3, dtype=torch.float64)
    gram, mean = factors.T @ factors, randn(4, m, seed=2)
    for prior in (None, mean):
        found = ridge_query(SUPPORT, WEIGHTS, factors, gram, alpha, penalty, prior)
        for u in range(4):
            expected = normal_equations(
                SUPPORT[u],
                WEIGHTS[u],
                factors,
                gram,
                alpha,
                penalty,
                torch.zeros(m) if prior is None else mean[u],
            )
            torch.testing.assert_close(found[u], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("m", [2, 8], ids=["primal", "dual"])
def test_ridge_gradients(m):
    weights = WEIGHTS.clone()
    weights[weights == 0] = 0.1  # a finite difference about 0 would take negative weights

    def query(factors, log_penalty, log_alpha, weights, mean):
        gram = factors.T @ factors
        return ridge_query(SUPPORT, weights, factors, gram, log_alpha.exp(), log_penalty.exp(), mean)

    inputs = (randn(5, m), randn(m, seed=1), randn(1, seed=3)[0], weights, randn(4, m, seed=2))
    assert torch.autograd.gradcheck(query, [value.requires_grad_(True) for value in inputs])


def queries(model, batch):
    return model.values().query(batch).numpy()


def test_models_start_at_the_native_heads(world, natpar, ridge):
    made = world(200, seed=4)
    rng = np.random.default_rng(0)
    for head, model_of in ((natpar, NatparModel), (ridge, RidgeModel)):
        head.restore({"prior_mean": rng.normal(size=(3, 8)).astype(np.float32)})
        soft = Memberships(
            np.stack([made.task, np.full(200, -1)], 1).astype(np.int32),
            np.tile(np.array([[0.75, 0.25]], np.float32), (200, 1)),
        )
        batch = all_tensors(made.episodes, soft, 2)
        native = head.query(made.episodes.support, soft)
        model = model_of(head.state())
        np.testing.assert_allclose(queries(model, batch), native, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("tables", ["untied", "tied", "rotation", "fixed"])
def test_a_restored_head_answers_as_the_trained_model(world, natpar, tables):
    made = world(100, seed=4)
    batch = all_tensors(made.episodes, Memberships.parent(100), 0)
    model = NatparModel(natpar.state(), tables)
    for parameter in model.parameters():
        parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator(1)))
    natpar.restore(model.values().state())
    np.testing.assert_allclose(
        queries(model, batch), natpar.query(made.episodes.support), rtol=2e-4, atol=2e-5
    )


def test_items_nobody_met_stay_at_zero(natpar):
    state = natpar.state()
    state["psi_in"] = state["psi_in"].copy()
    state["psi_in"][5] = 0
    model = NatparModel(state)
    for parameter in model.parameters():
        parameter.fill_(0.3)
    assert (model.values().state()["psi_in"][5] == 0).all()
    assert (model.values().state()["psi_out"][5] == 0).all()
