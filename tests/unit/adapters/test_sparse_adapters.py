"""Training that touches the tasks of the batch only, as with sparse embeddings."""

import pytest
import torch
from torch import nn

from metarec_sdk.adapters.adapted_linear import TaskAdapter
from metarec_sdk.adapters.attach import attach_adapters
from metarec_sdk.kernels.plan import plan_tasks

N_TASKS = 7
BATCHES = {
    "unsorted": [4, 0, -1, 4, 1, 0],
    "one task": [3, 3, 3],
    "one row": [5],
    "no task": [-1, -1],
    "nobody": [],
    "a giant task": [2] * 60 + [1, 6],
}


def adapter(*, sparse, shared=False, seed=0):
    torch.manual_seed(seed)
    made = TaskAdapter(4, 3, tasks=N_TASKS, rank=2, scale=1.5, shared_a=shared, sparse=sparse)
    with torch.no_grad():
        made.b.normal_()
    return made


def gradients(module, tasks, x, weight):
    """Of the input, the base and both parameters, the last two dense."""
    module.zero_grad()
    y = module(x, plan_tasks(tasks, N_TASKS), weight)
    directed = (y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum()
    directed.backward()
    return y, [value.grad.to_dense() for value in (x, weight, module.a, module.b)]


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("mix", BATCHES)
def test_sparse_gradients_are_the_dense_ones(mix, shared):
    tasks = torch.tensor(BATCHES[mix], dtype=torch.int64)
    made = []
    for sparse in (True, False):
        torch.manual_seed(1)
        x, weight = torch.randn(len(tasks), 4, requires_grad=True), torch.randn(3, 4, requires_grad=True)
        module = adapter(sparse=sparse, shared=shared)
        made.append(gradients(module, tasks, x, weight))
        if sparse:
            present = sorted({task for task in BATCHES[mix] if task >= 0})
            assert module.b.grad._indices()[0].tolist() == present
            assert module.b.grad._values().shape == (len(present), 3, 2)
            assert module.a.grad.is_sparse is not shared
    torch.testing.assert_close(*made)


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")  # of torch's own optimisers
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adagrad, torch.optim.SparseAdam])
def test_optimisers_step_the_tasks_of_the_batch_in_place(kind):
    """As dense training would move them, and bit for bit nothing else."""
    modules = {sparse: adapter(sparse=sparse) for sparse in (True, False)}
    before = [value.detach().clone() for value in modules[True].parameters()]
    dense = torch.optim.Adam if kind is torch.optim.SparseAdam else kind
    steps = {
        True: kind(modules[True].parameters(), lr=0.1),
        False: dense(modules[False].parameters(), lr=0.1),
    }
    tasks, weight = torch.tensor([4, 0, -1, 4, 1]), torch.randn(3, 4, requires_grad=True)
    x = torch.randn(5, 4, requires_grad=True)
    for _ in range(3):  # the same tasks each time, or Adam's moments would differ by design
        for sparse, module in modules.items():
            gradients(module, tasks, x, weight)
            steps[sparse].step()
    present = torch.tensor([0, 1, 4])
    absent = torch.tensor([2, 3, 5, 6])
    for one, other, old in zip(modules[True].parameters(), modules[False].parameters(), before):
        torch.testing.assert_close(one[present], other[present])
        assert (one[present] - old[present]).abs().max() > 0.01
        assert torch.equal(one[absent], old[absent])


def test_a_layer_used_twice_in_a_step_adds_up():
    modules = [adapter(sparse=sparse) for sparse in (True, False)]
    x = torch.randn(3, 4)
    for module in modules:
        for ids in ([1, 1, 4], [4, 0, -1]):
            module(x, plan_tasks(torch.tensor(ids), N_TASKS)).square().sum().backward()
    torch.testing.assert_close(modules[0].b.grad.to_dense(), modules[1].b.grad)


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")  # of torch's own optimisers
def test_a_model_with_attached_adapters_trains_sparsely():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    adapters = attach_adapters(model, ["0", "2"], tasks=N_TASKS, rank=2, sparse=True)
    with torch.no_grad():
        for parameter in adapters.parameters():
            parameter.normal_()
    optimiser = torch.optim.SparseAdam(adapters.parameters(), lr=0.05)
    x, y = torch.randn(8, 3, 4), torch.randn(8, 3, 2)
    losses = []
    with adapters.assign(torch.tensor([6, 1, 1, 6, 2, 2, 6, 1])):
        for _ in range(30):
            optimiser.zero_grad()
            loss = (model(x) - y).square().mean()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
    assert all(parameter.grad._nnz() == 3 for parameter in adapters.parameters())


def test_second_derivatives_are_refused_not_wrong():
    module = adapter(sparse=True)
    y = module(torch.randn(2, 4), plan_tasks(torch.tensor([0, 1]), N_TASKS))
    found = torch.autograd.grad(y.square().sum(), [module.b], create_graph=True)[0]
    with pytest.raises(RuntimeError, match="once_differentiable"):
        found.to_dense().square().sum().backward()
