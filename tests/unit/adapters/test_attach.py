import copy

import pytest
import torch
from torch import nn

from metarec_sdk.adapters.adapted_linear import TaskAdapter
from metarec_sdk.adapters.attach import attach_adapters
from metarec_sdk.errors import ArgumentError, ArtefactError, UnknownIdError
from metarec_sdk.kernels.plan import plan_tasks


class Block(nn.Module):
    """A small transformer block with projections of its own, as Hugging Face models have them."""

    def __init__(self, d=8):
        super().__init__()
        self.q_proj, self.v_proj, self.out = nn.Linear(d, d), nn.Linear(d, d), nn.Linear(d, 3, bias=False)

    def forward(self, x):
        weights = torch.softmax(self.q_proj(x) @ x.mT, -1)
        return self.out(x + weights @ self.v_proj(x))


def made(*, shared=False, seed=0):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(5, 8), Block())
    adapters = attach_adapters(model, ["q_proj", "1.out"], tasks=4, rank=3, scale=0.5, shared_a=shared)
    with torch.no_grad():
        for parameter in adapters.parameters():
            parameter.normal_()
    return model, adapters


@pytest.mark.parametrize("shared", [False, True])
def test_every_row_is_served_by_its_own_task(shared):
    """Against a copy of the model for each task with the adapter added to its weights."""
    model, adapters = made(shared=shared)
    x, tasks = torch.randn(5, 6, 5), torch.tensor([2, -1, 0, 2, 3])
    with adapters.assign(tasks):
        found = model(x)
    layers = dict(adapters.layers)
    plain = copy.deepcopy(adapters.detach())
    for row, task in zip(range(5), tasks.tolist()):
        merged = copy.deepcopy(plain)
        for name, layer in layers.items():
            if task >= 0:
                a, b = layer.adapter.a[0 if shared else task], layer.adapter.b[task]
                merged.get_submodule(name).weight.data += 0.5 * b @ a
        torch.testing.assert_close(found[row], merged(x[row]), rtol=1e-4, atol=1e-5)


def test_without_tasks_and_at_the_start_nothing_changes():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), Block())
    x = torch.randn(4, 6, 5)
    before, names = model(x), set(model.state_dict())
    adapters = attach_adapters(model, ["*_proj"], tasks=2, rank=2)
    assert set(adapters.layers) == {"1.q_proj", "1.v_proj"}
    assert torch.equal(model(x), before)
    with adapters.assign(torch.tensor([0, 1, -1, 0])):
        torch.testing.assert_close(model(x), before)
    assert names < set(model.state_dict())
    assert not any(p.requires_grad for name, p in model.named_parameters() if "adapter" not in name)
    adapters.detach()
    assert set(model.state_dict()) == names
    assert torch.equal(model(x), before)


def test_only_the_tasks_of_the_batch_learn():
    model, adapters = made()
    with adapters.assign(torch.tensor([1, 1, 3])):
        model(torch.randn(3, 2, 5)).square().sum().backward()
    for layer in adapters.layers.values():
        moved = layer.adapter.b.grad.abs().sum((1, 2)) > 0
        assert moved.tolist() == [False, True, False, True]
        assert layer.weight.grad is None


def test_the_inference_path_of_torchs_own_encoder_layer_does_not_leave_adapters_out():
    torch.manual_seed(0)
    encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    adapters = attach_adapters(encoder, ["linear1", "linear2"], tasks=2, rank=2)
    with torch.no_grad():
        for parameter in adapters.parameters():
            parameter.normal_()
        x = torch.randn(2, 3, 8)
        plain = encoder(x)
        with adapters.assign(torch.tensor([0, 1])):
            assert (encoder(x) - plain).abs().max() > 0.01
    with pytest.raises(ArgumentError, match="MultiheadAttention"):
        attach_adapters(adapters.detach(), ["out_proj"], tasks=2, rank=2)


@pytest.mark.parametrize("shared", [False, True])
def test_tasks_are_saved_and_loaded_one_by_one(tmp_path, shared):
    _, adapters = made(shared=shared)
    adapters.save(tmp_path)
    assert sum(path.name.startswith("task-") for path in tmp_path.iterdir()) == 4
    _, other = made(shared=shared, seed=1)
    before = [parameter.clone() for parameter in other.parameters()]
    other.load(tmp_path, [2])
    for one, two, old in zip(other.parameters(), adapters.parameters(), before):
        common = len(one) == 1
        assert torch.equal(one[0 if common else 2], two[0 if common else 2])
        assert common or torch.equal(one[[0, 1, 3]], old[[0, 1, 3]])
    other.load(tmp_path)
    assert all(torch.equal(one, two) for one, two in zip(other.parameters(), adapters.parameters()))


def test_damaged_files_change_nothing(tmp_path):
    _, adapters = made()
    adapters.save(tmp_path)
    path = tmp_path / "task-3.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    _, other = made(seed=1)
    before = [parameter.clone() for parameter in other.parameters()]
    with pytest.raises(ArtefactError, match=r"task-3.*can't be read"):
        other.load(tmp_path)
    assert all(torch.equal(one, two) for one, two in zip(other.parameters(), before))
    with pytest.raises(ArtefactError, match="holds no file"):
        other.load(tmp_path / "nowhere")
    small = attach_adapters(nn.Sequential(nn.Linear(5, 8), Block()), ["q_proj", "out"], tasks=4, rank=2)
    with pytest.raises(ArtefactError, match="doesn't fit this model"):
        small.load(tmp_path, [0])


def test_the_module_alone_and_bad_arguments():
    adapter = TaskAdapter(4, 3, tasks=2, rank=2)
    plan = plan_tasks(torch.tensor([0, 1, -1]), 2)
    assert torch.equal(adapter(torch.randn(3, 4), plan), torch.zeros(3, 3))
    assert "tasks=2, rank=2" in repr(adapter)
    model, adapters = made()
    with pytest.raises(UnknownIdError, match="did you mean 'q_proj'"):
        attach_adapters(adapters.detach(), ["q_prj"], tasks=2, rank=2)
    with pytest.raises(ArgumentError, match="itself the linear layer"):
        attach_adapters(nn.Linear(3, 3), ["*"], tasks=2, rank=2)
    with pytest.raises(ArgumentError, match="rank must be"):
        attach_adapters(model, ["q_proj"], tasks=2, rank=0)
    again = attach_adapters(model, ["q_proj"], tasks=2, rank=1)
    with pytest.raises(ArgumentError, match="adapters already"):
        attach_adapters(model, ["q_proj"], tasks=2, rank=1)
    with again.assign(torch.tensor([0, 1])), pytest.raises(ArgumentError, match="must lead"):
        model(torch.randn(3, 2, 5))
    with again.assign(torch.tensor([0, 2])), pytest.raises(ArgumentError, match=r"got 0 … 2"):
        model(torch.randn(2, 2, 5))
    with pytest.raises(ArgumentError, match=r"tasks must be 0 … 1"):
        again.save("unused", [2])


def test_layers_that_do_more_than_multiply_are_refused():
    """In their place an adapted layer would silently leave that out."""

    class Doubled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    hooked, patched, half = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3)
    hooked.register_forward_hook(lambda module, inputs, y: 2 * y)
    patched.forward = lambda x: x
    half.weight = nn.Parameter(half.weight.detach().to(torch.int8), requires_grad=False)
    normed = nn.utils.parametrizations.weight_norm(nn.Linear(3, 3))
    for layer in (Doubled(3, 3), hooked, patched, normed, half):
        model = nn.Sequential(nn.Linear(3, 3), layer)
        with pytest.raises(ArgumentError, match=r"1 is a .* with a forward of its own, hooks"):
            attach_adapters(model, ["0", "1"], tasks=2, rank=2)
        assert model[0].weight.requires_grad
        assert type(model[0]) is nn.Linear
    with pytest.raises(ArgumentError, match=r"'1.0', which is a ReLU; only linear layers.*\['0'\]"):
        attach_adapters(nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.ReLU())), ["1.0"], tasks=2, rank=2)


def test_an_empty_batch():
    model, adapters = made()
    with adapters.assign(torch.empty(0, dtype=torch.int64)):
        y = model(torch.randn(0, 6, 5))
    assert y.shape == (0, 6, 3)
    y.sum().backward()
    assert all(not parameter.grad.any() for parameter in adapters.parameters())
