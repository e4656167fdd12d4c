import numpy as np
import pytest
import torch

from metarec_sdk.adapters import catalogue_loss
from metarec_sdk.adapters.acceptance import Verdict
from metarec_sdk.adapters.batch import BIN_EDGES, N_BINS, all_tensors, episode_tensors
from metarec_sdk.adapters.catalogue_loss import candidates, query_losses, query_ndcg
from metarec_sdk.adapters.gates import (
    calibrated,
    fit_gates,
    gated,
    judge,
    log_popularity,
)
from metarec_sdk.types import Episodes, Histories, Memberships

F64 = torch.float64


def few(support, query, users=None):
    users = np.arange(len(support), dtype=np.int32) if users is None else np.array(users, np.int32)
    return Episodes(Histories.from_lists(support), Histories.from_lists(query), users)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_tensors_mask_repeats_and_leave_out_episodes_without_a_query():
    made = few([[1, 2], [], [3]], [[2, 4], [0], [3]], users=[7, 7, 9])
    batch, rows = episode_tensors(made, Memberships.parent(3), 2)
    np.testing.assert_array_equal(rows, [0, 1])
    np.testing.assert_array_equal(batch.query_weights, [[0, 1], [1, 0]])
    np.testing.assert_array_equal(batch.bins, [2, 0])
    np.testing.assert_array_equal(batch.rows, [[2, 2], [2, 2]])
    np.testing.assert_array_equal(batch.share, [0.5, 0.5])
    np.testing.assert_array_equal(batch.support_ages[0], [1, 0])
    assert len(all_tensors(made, Memberships.parent(3), 2)) == 3
    lengths = [0, 1, 2, 3, 4, 5, 9, 10, 19, 20, 99]
    bins = np.searchsorted(BIN_EDGES, lengths, side="right")
    np.testing.assert_array_equal(bins, [0, 1, 2, 3, 3, 4, 5, 6, 6, 7, 7])
    assert bins.max() < N_BINS


def brute_force(logits, support, query):
    seen = set(support)
    total = np.log(sum(np.exp(logits[i]) for i in range(len(logits)) if i not in seen))
    return sum(total - logits[i] for i in query if i not in seen)


def test_loss_against_a_float64_loop():
    support, query = [[1, 2], [], [3]], [[2, 4, 0], [0], [5, 1]]
    made = few(support, query)
    batch, _ = episode_tensors(made, Memberships.parent(3), 0, dtype=F64)
    logits = torch.randn(3, 6, dtype=F64, generator=generator())
    found = query_losses(logits.clone(), batch, candidates(batch, 6, generator()))
    expected = [brute_force(logits[u].numpy(), support[u], query[u]) for u in range(3)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    leaf = logits.clone().requires_grad_(True)
    assert torch.autograd.gradcheck(
        lambda x: query_losses(x.clone(), batch, candidates(batch, 6, generator())), [leaf]
    )


def test_sampled_partition_function_is_unbiased_and_masks_the_support(monkeypatch):
    n = 400
    monkeypatch.setattr(catalogue_loss, "FULL_CATALOGUE", 100)
    monkeypatch.setattr(catalogue_loss, "NEGATIVES", 60)
    made = few([[1, 2], [7]], [[4, 399], [0]])
    batch, _ = episode_tensors(made, Memberships.parent(2), 0, dtype=F64)
    logits = torch.randn(2, n, dtype=F64, generator=generator(1))
    logits[0, 1] = 50.0  # a support item that would swamp the sum
    exact = torch.stack(
        [
            torch.logsumexp(logits[u][[i for i in range(n) if i not in made.support.take([u]).items]], 0)
            for u in (0, 1)
        ]
    )
    sums = torch.zeros(2, dtype=F64)
    draws = generator(2)
    for _ in range(300):
        chosen = candidates(batch, n, draws)
        sampled = chosen.columns(logits)
        assert (chosen.items[chosen.query[0]] == batch.query[0]).all()
        loss = query_losses(sampled.clone(), batch, chosen)
        targets = (batch.query_weights * logits.gather(1, batch.query)).sum(1)
        sums += ((loss + targets) / batch.query_weights.sum(1)).exp()
    np.testing.assert_allclose((sums / 300).log(), exact, atol=0.03)


def random_problem(b=400, n=30, seed=0, gate=1.7):
    """Episodes drawn from a softmax whose gates are known."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(b, n))
    popularity = np.log(rng.dirichlet(np.ones(n)))
    lengths = rng.integers(0, 3, b)
    support = [rng.choice(n, k, replace=False).tolist() for k in lengths]
    query = []
    for u in range(b):
        logits = gate * scores[u] + popularity
        logits[support[u]] = -np.inf
        p = np.exp(logits - logits.max())
        query.append(rng.choice(n, 4, replace=True, p=p / p.sum()).tolist())
    batch, rows = episode_tensors(few(support, query), Memberships.parent(b), 0, dtype=F64)
    table = torch.from_numpy(scores[rows])
    tables = torch.from_numpy(np.tile(popularity, (1 + N_BINS, 1)))
    tables[1:] = torch.randn(N_BINS, n, dtype=F64, generator=generator(seed))
    return batch, tables, lambda rows, batch, chosen: chosen.columns(table[rows])


def test_gates_recover_the_truth_and_are_a_minimum():
    batch, popularity, scorer = random_problem()
    gates = fit_gates(scorer, batch, popularity)
    np.testing.assert_allclose(gates[:3], np.tile([1.7, 1.0, 0.0], (3, 1)), atol=0.25)
    np.testing.assert_allclose(gates[3:], np.tile([0.5, 0.5, 0.5], (5, 1)), atol=0.05)  # no data there
    everything = torch.arange(len(batch))

    def objective(value):
        chosen = candidates(batch, 30, generator())
        logits = gated(scorer(everything, batch, chosen), popularity, value, batch.bins, chosen)
        return query_losses(logits, batch, chosen).sum()

    leaf = gates.clone().requires_grad_(True)
    objective(leaf).backward()
    assert leaf.grad.abs().max() < 2.0  # the ridge of one nat pulls; the sum of 1,600 terms doesn't


def test_gates_survive_scores_of_a_wild_scale():
    batch, popularity, scorer = random_problem()
    wild = fit_gates(lambda *a: 1e3 * scorer(*a), batch, popularity)
    tame = fit_gates(scorer, batch, popularity)
    np.testing.assert_allclose(wild[:, 0] * 1e3, tame[:, 0], rtol=1e-6)
    np.testing.assert_allclose(wild[:, 1:], tame[:, 1:], rtol=1e-6)
    heavy = torch.where(torch.arange(30) == 3, 1e3, 1.0).to(F64)  # one item far off the others
    off = fit_gates(lambda *a: heavy * scorer(*a), batch, popularity)
    nothing = fit_gates(lambda *a: 0 * scorer(*a), batch, popularity)
    loss = judge(lambda *a: heavy * scorer(*a), batch, popularity, off).loss
    assert loss < judge(lambda *a: 0 * scorer(*a), batch, popularity, nothing).loss + 0.02


def test_calibrated_do_not_depend_on_the_scale_of_scores():
    batch, popularity, scorer = random_problem()
    one = calibrated(scorer, batch, popularity)
    ten = calibrated(lambda *a: 10 * scorer(*a), batch, popularity)
    np.testing.assert_allclose(one.loss, ten.loss, atol=5e-3)
    nothing = calibrated(lambda *a: 0 * scorer(*a), batch, popularity)
    assert one.loss < nothing.loss - 0.3


def test_popularity_counts_every_user_once_and_is_a_distribution():
    made = few([[], [], []], [[0], [0], [1]], users=[5, 5, 6])
    batch, _ = episode_tensors(made, Memberships.parent(3), 0, dtype=F64)
    table = log_popularity(batch, 4)
    np.testing.assert_allclose(table.exp().sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(table[0, 0], table[0, 1])  # one user each
    assert table[0, 0] > table[0, 2]
    assert torch.isfinite(table).all()


def test_ndcg_has_to_rise_by_more_than_its_error_over_users_and_the_loss_to_fall():
    users = torch.arange(100).repeat_interleave(2)
    noise = torch.randn(100, dtype=F64, generator=generator()).repeat_interleave(2)
    losses, ndcg = torch.full((200,), 3.0, dtype=F64), torch.full((200,), 0.1, dtype=F64)
    before = Verdict(losses, ndcg, users)
    _, error = Verdict(losses - 0.2 + noise, ndcg, users).gain_over(before)
    assert error == pytest.approx(0.1, rel=0.2)  # over 100 users, not over 200 episodes
    better = Verdict(losses - 0.5, ndcg + 0.02 + 0.1 * noise, users)  # the mean of 100 has an error of 0.01
    assert better.earns_its_place(before)
    assert not before.earns_its_place(before)
    assert not Verdict(better.losses, ndcg + 0.002 + 0.1 * noise, users).earns_its_place(before)
    assert not Verdict(better.losses, ndcg, users).earns_its_place(before)  # better calibrated, ranked alike
    assert not Verdict(losses + 0.1, better.ndcg, users).earns_its_place(before)
    lone = Verdict(losses[:1], ndcg[:1], users[:1])
    assert not Verdict(losses[:1] - 9, ndcg[:1] + 0.5, users[:1]).earns_its_place(lone)
    assert Verdict(torch.tensor([1.0, 3.0, 8.0]), ndcg[:3], torch.tensor([5, 5, 9])).loss == 5.0


def test_ndcg_against_a_loop():
    made = few([[1], [], [0, 2]], [[2, 4, 3], [0], [5, 2]])
    batch, _ = episode_tensors(made, Memberships.parent(3), 0, dtype=F64)
    logits = torch.randn(3, 15, dtype=F64, generator=generator(4))
    found = query_ndcg(logits, batch, candidates(batch, 15, generator()))
    for u, (support, query) in enumerate([([1], [2, 4, 3]), ([], [0]), ([0, 2], [5])]):
        order = [i for i in np.argsort(-logits[u].numpy()) if i not in support][:10]
        gain = sum(1 / np.log2(rank + 2) for rank, item in enumerate(order) if item in query)
        assert float(found[u]) == pytest.approx(gain / sum(1 / np.log2(r + 2) for r in range(len(query))))
