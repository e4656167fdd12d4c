"""Each network against a plain loop, and what it must never look at."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional as F  # noqa: E402

from metarec_sdk.types import Histories  # noqa: E402
from metarec_sequence.bert4rec import BERT4RecNetwork  # noqa: E402
from metarec_sequence.caser import CaserNetwork  # noqa: E402
from metarec_sequence.gru4rec import GRU4RecNetwork  # noqa: E402
from metarec_sequence.hstu import HSTULayer, HSTUNetwork, time_buckets  # noqa: E402
from metarec_sequence.masking import PADDING  # noqa: E402
from metarec_sequence.mlp import PooledNetwork  # noqa: E402

N_ITEMS, WIDTH, LIMIT = 11, 8, 6
CAUSAL = {
    "gru4rec": lambda: GRU4RecNetwork(N_ITEMS, WIDTH, hidden=10, layers=2),
    "caser": lambda: CaserNetwork(N_ITEMS, WIDTH, window=3, horizontal=4, vertical=2),
    "mlp": lambda: PooledNetwork(N_ITEMS, WIDTH, hidden=12, layers=2),
    "hstu": lambda: HSTUNetwork(N_ITEMS, WIDTH, 2, 2, LIMIT, time_bias=True, temperature=0.05),
}
SECOND = 1_000_000


def randomised(network, seed: int = 0):
    """In float64, all parameters Normal(0, 0.5): nothing is nearly zero or one by initialisation."""
    network = network.double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0.0, 0.5, generator=generator)
    return network.requires_grad_(False)


def rows() -> tuple[torch.Tensor, torch.Tensor]:
    """Items [2, 6] and times in µs, seconds to days apart."""
    items = torch.tensor([[1, 2, 3, 4, 5, 6], [7, 7, 0, 10, 2, 7]])
    seconds = torch.tensor([[0, 1, 5, 100, 7200, 90000], [0, 0, 0, 3, 4, 1_000_000]])
    return items, seconds * SECOND


@pytest.mark.parametrize("model", CAUSAL)
def test_later_items_and_times_never_change_earlier_queries(model: str) -> None:
    network, (items, times) = randomised(CAUSAL[model]()), rows()
    changed_items, changed_times = items.clone(), times.clone()
    changed_items[:, 3:] = torch.tensor([9, 8, 0])
    changed_times[:, 3:] *= 3
    before, after = network(items, times), network(changed_items, changed_times)
    assert before.shape == (2, 7, WIDTH)
    torch.testing.assert_close(before[:, :4], after[:, :4], rtol=0, atol=1e-12)
    assert (before[:, 4:] - after[:, 4:]).abs().amax(-1).min() > 1e-4


@pytest.mark.parametrize("model", CAUSAL)
def test_training_and_serving_compute_the_same(model: str) -> None:
    network, row = randomised(CAUSAL[model]()), [1, 2, 3, 4, 5, 6]
    states = network(torch.tensor([row]), torch.arange(6)[None])[0]
    served = network.encode(Histories.from_lists([row[:k] for k in range(7)]))
    torch.testing.assert_close(served, states)


def test_mlp_against_a_loop() -> None:
    network, (items, times) = randomised(CAUSAL["mlp"]()), rows()
    found = network(items, times)
    for row in range(2):
        embedded = [network.start, *(network.items[item] for item in items[row])]
        for place in range(7):
            seen = [math.sqrt(WIDTH) * vector for vector in embedded[: place + 1]]
            x = torch.cat([sum(seen) / len(seen), seen[-1]])
            for layer in network.layers:
                x = (layer.weight @ x + layer.bias).clamp(min=0)
            torch.testing.assert_close(found[row, place], network.output.weight @ x + network.output.bias)


def test_gru4rec_against_the_equations() -> None:
    """Cho et al. 2014 with the reset gate behind the product, as in cuDNN."""
    network = randomised(GRU4RecNetwork(N_ITEMS, WIDTH, hidden=5, layers=1))
    items, times = rows()
    found = network(items, times)
    w_in, w_state = network.recurrent.weight_ih_l0, network.recurrent.weight_hh_l0
    b_in, b_state = network.recurrent.bias_ih_l0, network.recurrent.bias_hh_l0
    for row in range(2):
        state = torch.zeros(5, dtype=torch.float64)
        for place, vector in enumerate([network.start, *(network.items[item] for item in items[row])]):
            given = (w_in @ (math.sqrt(WIDTH) * vector) + b_in).chunk(3)
            kept = (w_state @ state + b_state).chunk(3)
            reset, update = torch.sigmoid(given[0] + kept[0]), torch.sigmoid(given[1] + kept[1])
            new = torch.tanh(given[2] + reset * kept[2])
            state = (1 - update) * new + update * state
            torch.testing.assert_close(found[row, place], network.output.weight @ state + network.output.bias)


def test_caser_against_loops_over_filters() -> None:
    """Equations 3 to 8 of the paper: each filter slides over the image of the last L items."""
    window = 3
    network, (items, times) = randomised(CAUSAL["caser"]()), rows()
    found = network(items, times)
    for row in range(2):
        for place in range(7):
            image = torch.zeros(window, WIDTH, dtype=torch.float64)
            for back in range(1, min(place, window) + 1):
                image[window - back] = math.sqrt(WIDTH) * network.items[items[row, place - back]]
            features = []
            for height, filters in enumerate(network.horizontal, start=1):
                for weight, bias in zip(filters.weight, filters.bias):  # [d, height]
                    slides = [
                        float((weight.T * image[top : top + height]).sum() + bias)
                        for top in range(window - height + 1)
                    ]
                    features.append(max(0.0, *slides))
            for column in range(WIDTH):
                features += [float(weights @ image[:, column]) for weights in network.vertical]
            joined = torch.tensor(features, dtype=torch.float64)
            z = (network.joint.weight @ joined + network.joint.bias).clamp(min=0)
            torch.testing.assert_close(found[row, place], network.output.weight @ z + network.output.bias)


def hstu_reference(layer: HSTULayer, x: torch.Tensor, seconds: list[int], dtype: torch.dtype) -> torch.Tensor:
    """One row x [t, d] of one layer, number by number, from the paper's equations 1 to 3."""

    def norm(vector: torch.Tensor) -> torch.Tensor:
        return (vector - vector.mean()) / torch.sqrt(vector.var(unbiased=False) + 1e-5)

    t, d = x.shape
    width = d // layer.heads
    u, v, q, k = [], [], [], []
    for vector in x:
        projected = layer.project.weight @ norm(vector) + layer.project.bias
        for target, part in zip((u, v, q, k), (projected * torch.sigmoid(projected)).split(d)):
            target.append(part)
    out = []
    for i in range(t):
        context = torch.zeros(d, dtype=dtype)
        for head in range(layer.heads):
            part = slice(head * width, (head + 1) * width)
            for j in range(i + 1):
                score = q[i][part] @ k[j][part] + layer.position_bias[i - j]
                if layer.time_bias is not None:
                    score = score + layer.time_bias[int(math.log2(max(1, seconds[i] - seconds[j])))]
                context[part] += score * torch.sigmoid(score) / layer.rows * v[j][part]
        out.append(x[i] + layer.output.weight @ (norm(context) * u[i]) + layer.output.bias)
    return torch.stack(out)


@pytest.mark.parametrize("time_bias", [True, False])
def test_an_hstu_layer_against_a_loop_over_rows(time_bias: bool) -> None:
    layer = randomised(HSTULayer(WIDTH, heads=2, rows=LIMIT + 1, time_bias=time_bias))
    _, times = rows()
    x = torch.randn(2, 7, WIDTH, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = layer(x, time_buckets(times) if time_bias else None, lambda y: y)
    for row in range(2):
        seconds = [0, *(times[row] // SECOND).tolist()]  # the start token has the first event's time
        torch.testing.assert_close(found[row], hstu_reference(layer, x[row], seconds, torch.float64))


def test_hstu_buckets_are_powers_of_two_in_seconds() -> None:
    times = torch.tensor([[0, 1, 3, 4, 1024]]) * SECOND
    assert time_buckets(times)[0, -1].tolist() == [10, 10, 9, 9, 9, 0]
    assert time_buckets(times)[0, 0].tolist() == [0] * 6  # nothing is earlier than the start
    longest = torch.tensor([[-(2**62), 2**62]])
    assert int(time_buckets(longest).max()) < 64
    assert time_buckets(torch.zeros(3, 0, dtype=torch.int64)).shape == (3, 1, 1)


def test_hstu_reads_times_only_where_it_is_told_to() -> None:
    items, times = rows()
    for time_bias in (True, False):
        network = randomised(HSTUNetwork(N_ITEMS, WIDTH, 1, 2, LIMIT, time_bias, 0.05))
        changed = network(items, times * 50) - network(items, times)
        assert bool(changed.abs().max() > 1e-3) is time_bias


def test_hstu_scores_are_cosines_over_the_temperature() -> None:
    network, (items, times) = randomised(CAUSAL["hstu"]()), rows()
    scores = network(items, times) @ network.table().T
    assert scores.abs().max() <= 1 / 0.05 + 1e-9
    torch.testing.assert_close(network.table().norm(dim=-1), torch.full((N_ITEMS,), 20.0).double())


def bert4rec() -> BERT4RecNetwork:
    return randomised(BERT4RecNetwork(N_ITEMS, WIDTH, blocks=2, heads=2, history_limit=LIMIT))


def test_bert4rec_sees_both_sides_but_no_padding() -> None:
    network = bert4rec()
    tokens = torch.tensor([[1, N_ITEMS, 3, 4]])
    before = network(tokens)
    for place in (0, 2, 3):
        changed = tokens.clone()
        changed[0, place] = 9
        assert (network(changed)[0, 1] - before[0, 1]).abs().max() > 1e-4
    longer = torch.cat([tokens, torch.full((1, 2), PADDING)], dim=1)
    torch.testing.assert_close(network(longer)[:, :4], before)


def test_bert4rec_serves_from_a_mask_behind_the_history() -> None:
    network = bert4rec()
    served = network.encode(Histories.from_lists([[4, 5], [], [1, 2, 3, 4, 5, 6]]))
    for row, tokens in enumerate([[4, 5, N_ITEMS], [N_ITEMS], [1, 2, 3, 4, 5, 6, N_ITEMS]]):
        torch.testing.assert_close(served[row], network(torch.tensor([tokens]))[0, -1])


def test_a_bert4rec_block_against_a_loop() -> None:
    block = bert4rec().blocks[0]
    x = torch.randn(1, 3, WIDTH, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    visible = torch.tensor([True, True, False])
    found = block(x, visible[None, None, None], lambda y: y)[0]
    projected = [
        (block.query_key_value.weight @ vector + block.query_key_value.bias).chunk(3) for vector in x[0]
    ]
    for place in range(3):
        context = torch.zeros(WIDTH, dtype=torch.float64)
        for head in range(2):
            part = slice(4 * head, 4 * head + 4)
            scores = torch.stack([projected[place][0][part] @ projected[j][1][part] / 2 for j in range(2)])
            for share, j in zip(scores.softmax(0), range(2)):
                context[part] += share * projected[j][2][part]
        y = x[0, place] + block.attention.weight @ context + block.attention.bias
        y = F.layer_norm(y, (WIDTH,), block.attention_norm.weight, block.attention_norm.bias)
        inner = block.expand.weight @ y + block.expand.bias
        inner = inner * 0.5 * (1 + torch.erf(inner / math.sqrt(2)))
        y = y + block.feedforward.weight @ inner + block.feedforward.bias
        y = F.layer_norm(y, (WIDTH,), block.feedforward_norm.weight, block.feedforward_norm.bias)
        torch.testing.assert_close(found[place], y)


def test_initialisation_is_by_seed_and_sets_everything() -> None:
    for build in (*CAUSAL.values(), lambda: BERT4RecNetwork(N_ITEMS, WIDTH, 1, 2, LIMIT)):
        one, two = build(), build()
        for network in (one, two):
            with torch.no_grad():
                for parameter in network.parameters():
                    parameter.fill_(math.nan)
            network.initialise(torch.Generator().manual_seed(3))
        for (name, first), second in zip(one.named_parameters(), two.parameters()):
            assert torch.isfinite(first).all(), name
            assert torch.equal(first, second), name
            assert (first == 1).all() or "norm.weight" not in name
            assert first.abs().max() > 0 or name.endswith("bias")


def test_every_parameter_gets_a_gradient() -> None:
    items, times = rows()
    for build in CAUSAL.values():
        network = build().double()
        network.initialise(torch.Generator().manual_seed(0))
        (network(items, times) @ network.table().T).log_softmax(-1)[..., 4].sum().backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert np.isfinite(parameter.grad.numpy()).all(), name
            assert parameter.grad.abs().max() > 0, name
