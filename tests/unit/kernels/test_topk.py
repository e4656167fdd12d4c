"""The torch path of top-k: the lists of the Rust core, and what callers may get wrong."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metarec_sdk.errors import ArgumentError
from metarec_sdk.kernels import topk as module
from metarec_sdk.kernels.topk import topk, topk_operator
from metarec_sdk.ranking import ItemIndex


def case(b, n, m, seed):
    """Queries, items, bias and an exclusion; scores are multiples of 1/2, so sums are exact and ties many."""
    rng = np.random.default_rng(seed)
    queries, items = (rng.integers(-2, 3, (rows, m)).astype(np.float32) for rows in (b, n))
    bias = rng.integers(-2, 3, n).astype(np.float32) / 2
    offsets = np.concatenate([[0], np.cumsum(rng.integers(0, 6, b))])
    return queries, items, bias, (offsets, rng.integers(0, n, offsets[-1]))


def tensors(queries, items, bias, exclude):
    made = [torch.from_numpy(value) for value in (queries, items, bias, *exclude)]
    return *made[:3], tuple(made[3:])


@given(
    st.integers(0, 7),
    st.integers(1, 90),
    st.integers(1, 9),
    st.integers(0, 100),
    st.integers(),
    st.booleans(),
)
@settings(deadline=None, max_examples=80)
def test_lists_are_those_of_the_index(b, n, m, k, seed, split):
    queries, items, bias, exclude = case(b, n, m, seed % 2**32)
    expected = ItemIndex(items, bias).topk(queries, k, exclude=exclude).padded(k)
    q, x, added, csr = tensors(queries, items, bias, exclude)
    at_once = module._SCORES_AT_ONCE
    module._SCORES_AT_ONCE = 40 if split else at_once
    try:
        ids, scores = topk(q, x, k, bias=added, exclude=csr)
    finally:
        module._SCORES_AT_ONCE = at_once
    np.testing.assert_array_equal(ids, expected[0])
    np.testing.assert_array_equal(scores, expected[1])


def test_real_embeddings_give_the_ids_of_the_index_and_its_scores_but_for_rounding():
    generator = torch.Generator().manual_seed(0)
    queries, items = (torch.randn(rows, 64, generator=generator) for rows in (50, 3000))
    ids, scores = topk(queries, items, 20)
    expected = ItemIndex(items.numpy()).topk(queries.numpy(), 20).padded(20)
    np.testing.assert_array_equal(ids, expected[0])
    np.testing.assert_allclose(scores, expected[1], rtol=1e-5)


def test_values_without_an_order():
    items = torch.tensor([[float("nan")], [-0.0], [1.0], [0.0], [float("-inf")], [1.0]])
    ids, scores = topk(torch.ones(1, 1), items, 6)
    assert ids.tolist() == [[2, 5, 1, 3, -1, -1]]
    assert scores[0, :4].tolist() == [1, 1, 0, 0]
    assert not torch.signbit(scores[0, :4]).any()
    assert (scores[0, 4:] == -torch.inf).all()


def test_half_precision_sums_in_fp32():
    queries, items, bias, _ = tensors(*case(4, 30, 5, 1))
    for dtype in (torch.float16, torch.bfloat16):
        found = topk(queries.to(dtype), items.to(dtype), 7, bias=bias)
        assert found[1].dtype == torch.float32
        torch.testing.assert_close(found, topk(queries, items, 7, bias=bias))


def test_nothing_to_rank_and_ids_outside_of_the_catalogue():
    ids, scores = topk(torch.ones(2, 3), torch.ones(0, 3), 2)
    assert (ids == -1).all()
    assert (scores == -torch.inf).all()
    assert topk(torch.ones(2, 3), torch.ones(4, 3), 0)[0].shape == (2, 0)
    outside = torch.tensor([0, 3, 3]), torch.tensor([-1, 4, 0])
    assert topk(torch.ones(2, 3), torch.ones(4, 3), 4, exclude=outside)[0].tolist() == [
        [1, 2, 3, -1],
        [0, 1, 2, 3],
    ]


def test_operator_and_compiled_graph():
    queries, items, bias, exclude = tensors(*case(3, 20, 4, 2))
    torch.library.opcheck(topk_operator, (queries, items, 5, bias, *exclude))
    torch.library.opcheck(topk_operator, (queries, items, 5, None, None, None))

    def whole(queries, items):
        return topk(queries * 2, items, 5, exclude=exclude)

    compiled = torch.compile(whole, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(queries, items), whole(queries, items))
    found = topk(queries.requires_grad_(), items, 5)
    assert not found[1].requires_grad


def test_keys_order_as_scores_and_ids_do():
    scores = torch.tensor([[3.5, -1e-40, 0.0, 2.0, -3.4e38, 2.0, 1e-40]])
    keys = module._pack(scores, torch.arange(7))
    ids, back = module._unpack(keys.sort(descending=True).values)
    assert ids.tolist() == [[0, 3, 5, 6, 2, 1, 4]]
    torch.testing.assert_close(back, scores[:, ids[0]], rtol=0, atol=0)


def test_every_item_lies_in_one_chunk_that_a_program_takes():
    for n in (0, 1, 127, 128, 5000, 1_000_001):
        for row_blocks in (1, 7, 5000):
            parts, chunk = module._parts(n, row_blocks, 128, 132)
            assert chunk % 128 == 0
            assert (parts - 1) * chunk < max(n, 1) <= parts * chunk


def test_bad_arguments():
    queries, items, bias, (offsets, excluded) = tensors(*case(3, 20, 4, 2))
    for changed, message in (
        ({"queries": queries[0]}, r"queries must be \[b, m\]"),
        ({"items": items[:, :2]}, r"queries must be \[b, m\]"),
        ({"items": items.double()}, "must both be float32"),
        ({"k": -1}, "at least 0"),
        ({"bias": bias[:4]}, r"bias must be float32 \[20\]"),
        ({"bias": bias.double()}, "bias must be float32"),
        ({"exclude": (offsets[:2], excluded)}, "must have 4 entries"),
        ({"exclude": (offsets, excluded.int())}, "items must be int64"),
        ({"exclude": (offsets[None], excluded)}, "offsets must be int64"),
        ({"bias": bias.to("meta")}, "one device"),
        ({"exclude": (offsets + 1, excluded)}, "must ascend from 0"),
        ({"exclude": (offsets, excluded[1:])}, "must ascend from 0"),
    ):
        given = {"queries": queries, "items": items, "k": 3, "bias": bias} | changed
        with pytest.raises(ArgumentError, match=message):
            topk(**given)


@given(st.integers(1, 5), st.integers(16, 400), st.integers(1, 9), st.integers(), st.booleans())
@settings(deadline=None, max_examples=60)
def test_the_floor_of_a_sample_is_below_every_kth_score(b, n, m, seed, whole):
    """Against float64, where all scores are real, and where many are equal."""
    k = max(n // 16, 1)
    queries, items, bias, exclude = tensors(*case(b, n, m, seed % 2**32))
    if not whole:
        generator = torch.Generator().manual_seed(seed % 2**32)
        queries, items, bias = (
            torch.randn(value.shape, generator=generator) for value in (queries, items, bias)
        )
    scores = queries.double() @ items.double().T + bias.double()
    for row in range(b):
        scores[row, exclude[1][exclude[0][row] : exclude[0][row + 1]]] = -torch.inf
    exact = scores.topk(k).values[:, -1]
    floor = module.sampled_floor(queries, items, k, bias, *exclude)
    assert ((floor < exact) | (exact == -torch.inf)).all()
    enough = n // 8 > 2 * k and not whole
    assert not enough or (floor > -torch.inf).any() or (exact == -torch.inf).all()
