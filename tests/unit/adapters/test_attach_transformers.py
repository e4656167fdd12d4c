"""Adapters inside models of Hugging Face transformers, with small random weights."""

import copy

import pytest
import torch

from metarec_sdk.adapters.attach import attach_adapters
from metarec_sdk.errors import ArgumentError

transformers = pytest.importorskip("transformers")

IDS = torch.randint(0, 20, (5, 6), generator=torch.Generator().manual_seed(1))
TASKS = torch.tensor([2, -1, 0, 2, 3])
TARGETS = {
    "bert": ["query", "encoder.layer.*.output.dense"],
    "gpt2": ["c_attn", "h.*.mlp.c_proj"],
}


def model_of(kind):
    torch.manual_seed(0)
    if kind == "bert":
        config = transformers.BertConfig(
            vocab_size=20, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
            max_position_embeddings=8,
        )  # fmt: skip
        return transformers.BertModel(config).eval()
    config = transformers.GPT2Config(
        vocab_size=20, n_embd=16, n_layer=2, n_head=2, n_positions=8, bos_token_id=0, eos_token_id=0
    )
    return transformers.GPT2Model(config).eval()


def adapted(kind, **options):
    model = model_of(kind)
    adapters = attach_adapters(model, TARGETS[kind], tasks=4, rank=3, scale=0.5, **options)
    with torch.no_grad():
        for parameter in adapters.parameters():
            parameter.normal_(std=0.3)
    return model, adapters


def merged(kind, adapters, task):
    """The model with one task's adapters added to its weights."""
    model = model_of(kind)
    for name, layer in adapters.layers.items():
        delta = 0.5 * layer.adapter.b[task] @ layer.adapter.a[task]
        model.get_submodule(name).weight.data += delta.mT if kind == "gpt2" else delta
    return model


def directed(y):
    """A loss that the last layer norm doesn't make constant."""
    return (y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum()


@pytest.mark.parametrize("kind", TARGETS)
def test_every_row_is_served_by_its_own_task(kind):
    model, adapters = adapted(kind)
    assert len(adapters.layers) == {"bert": 6, "gpt2": 4}[kind]
    with adapters.assign(TASKS), torch.no_grad():
        found = model(IDS).last_hidden_state
    plain = model_of(kind)(IDS).last_hidden_state
    torch.testing.assert_close(found[1], plain[1], rtol=1e-4, atol=1e-5)
    for row, task in enumerate(TASKS.tolist()):
        if task >= 0:
            expected = merged(kind, adapters, task)(IDS[row : row + 1]).last_hidden_state[0]
            torch.testing.assert_close(found[row], expected, rtol=1e-4, atol=1e-4)
            assert (found[row] - plain[row]).abs().max() > 0.01
    torch.testing.assert_close(model(IDS).last_hidden_state, plain)
    assert set(adapters.detach().state_dict()) == set(model_of(kind).state_dict())


@pytest.mark.parametrize("kind", TARGETS)
def test_only_adapters_of_the_batch_learn_and_tasks_are_kept_as_files(kind, tmp_path):
    model, adapters = adapted(kind)
    with adapters.assign(TASKS):
        directed(model(IDS).last_hidden_state).backward()
    for layer in adapters.layers.values():
        for parameter in layer.adapter.parameters():
            moved = parameter.grad.abs().sum((1, 2)) > 0
            assert moved.tolist() == [True, False, True, True]
    adapters.save(tmp_path)
    other_model, other = adapted(kind)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    other.load(tmp_path)
    with adapters.assign(TASKS), other.assign(TASKS):
        assert torch.equal(model(IDS).last_hidden_state, other_model(IDS).last_hidden_state)


@pytest.mark.parametrize("kind", TARGETS)
def test_one_compiled_graph_serves_and_trains_batch_after_batch(kind):
    model, adapters = adapted(kind)
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        from torch._dynamo.backends.debugging import aot_eager

        return aot_eager(graph, inputs)

    compiled = torch.compile(lambda ids: model(ids).last_hidden_state, fullgraph=True, backend=backend)
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        tasks = torch.randint(-1, 4, (5,), generator=generator)
        with adapters.assign(tasks):
            found, expected = compiled(IDS), model(IDS).last_hidden_state
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        one, two = (torch.autograd.grad(directed(y), adapters.parameters()) for y in (found, expected))
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-4)
    assert len(graphs) == 1
    with (
        adapters.assign(torch.tensor([0, 1, 2, 3, 4])),
        pytest.raises(RuntimeError, match="task ids must be"),
    ):
        compiled(IDS)


@pytest.mark.parametrize("kind", TARGETS)
def test_autocast_trains_the_adapters_in_their_own_precision(kind):
    model, adapters = adapted(kind)
    with adapters.assign(TASKS):
        exact = torch.autograd.grad(directed(model(IDS).last_hidden_state), adapters.parameters())
        with torch.autocast("cpu", torch.bfloat16):
            loss = directed(model(IDS).last_hidden_state.float())
        found = torch.autograd.grad(loss, adapters.parameters())
    for one, other in zip(found, exact):
        assert one.dtype == torch.float32
        assert (one - other).norm() < 0.1 * other.norm()


def test_other_layers_are_refused():
    model = model_of("gpt2")
    with pytest.raises(ArgumentError, match=r"'wte', which is a Embedding.*'c_attn'"):
        attach_adapters(model, ["wte"], tasks=2, rank=2)
    with pytest.raises(ArgumentError, match="GPT2Attention"):
        attach_adapters(model, ["attn"], tasks=2, rank=2)
    adapters = attach_adapters(model, ["c_attn"], tasks=2, rank=2)
    with pytest.raises(ArgumentError, match="can't be copied"):
        copy.deepcopy(model)
    assert copy.deepcopy(adapters.detach()) is not model
