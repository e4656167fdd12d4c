"""Gates and guard on small score matrices where the right answer is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metarec_sdk.recommender import corrections, episode_scores
from metarec_sdk.recommender.corrections import corrected
from metarec_sdk.recommender.episode_scores import MEMBERS, EpisodeScores
from metarec_sdk.recommender.gates import Gates, cross_entropy, fit_gates, refine
from metarec_sdk.recommender.guard import band_results, guarded
from metarec_sdk.recommender.popularity import BANDS
from metarec_sdk.types import Histories


def scores_where(
    informative: str, episodes: int = 200, n: int = 40, length: int = 3, seed: int = 0
) -> EpisodeScores:
    """Random scores of all members; those of one member point at the query."""
    rng = np.random.default_rng(seed)
    items = np.array([rng.permutation(n)[: length + 2] for _ in range(episodes)])
    members = [rng.standard_normal((episodes, n)).astype(np.float32) for _ in MEMBERS]
    row = np.arange(episodes)[:, None]
    members[MEMBERS.index(informative)][row, items[:, length:]] += 3.0
    return EpisodeScores(
        members,
        Histories.from_lists(items[:, :length].tolist()),
        Histories.from_lists(items[:, length:].tolist()),
        np.arange(episodes),
    )


@pytest.mark.parametrize("informative", MEMBERS)
def test_the_informative_member_gets_the_largest_gate(informative):
    scores = scores_where(informative)
    gates = refine(fit_gates(scores), scores).at(np.array([3]))[0]
    assert MEMBERS[int(np.argmax(gates))] == informative
    assert gates[MEMBERS.index(informative)] > 4 * np.delete(gates, MEMBERS.index(informative)).max()


def test_cross_entropy_agrees_with_a_float64_softmax():
    scores = scores_where("head", episodes=5, n=12)
    n = len(MEMBERS)
    gates = Gates(
        np.full((len(BANDS), n), 0.3),
        np.full(n, -0.2),
        np.ones((len(BANDS), n)),
        np.full(len(BANDS), -1, np.int32),
    )
    weight = np.logaddexp(0, 0.3 - 0.2 * np.log1p(3))
    for episode, (support, query) in enumerate(zip(scores.support, scores.query)):
        logits = weight * sum(member[episode].astype(np.float64) for member in scores.members)
        rest = np.delete(np.arange(12), support)
        expected = np.log(np.exp(logits[rest]).sum()) - logits[query].mean()
        assert cross_entropy(scores, gates)[episode] == pytest.approx(expected, rel=1e-5)


def test_fitted_gates_are_a_minimum():
    scores = scores_where("backbone")
    fitted = fit_gates(scores)
    (band,) = np.unique(scores.bands)

    def objective(gates: Gates) -> float:
        """A level shared evenly by a and d is the cheapest."""
        level = gates.level[band]
        return float(
            cross_entropy(scores, gates).mean() + 1e-3 * (level @ level / 2 + gates.slope @ gates.slope)
        )

    rng = np.random.default_rng(1)
    for _ in range(10):
        level = fitted.level + 0.3 * rng.standard_normal(len(MEMBERS))
        other = Gates(level, fitted.slope, fitted.scale, fitted.single)
        assert objective(other) > objective(fitted) - 1e-6


def test_bands_have_gates_of_their_own():
    short, long = scores_where("backbone", length=3), scores_where("item-item", length=9, seed=1)
    both = EpisodeScores(
        [np.concatenate(pair) for pair in zip(short.members, long.members)],
        Histories.concatenate([short.support, long.support]),
        Histories.concatenate([short.query, long.query]),
        np.arange(len(short) + len(long)),
    )
    gates = fit_gates(both)
    of_short, of_long = gates.at(np.array([3, 9]))
    assert MEMBERS[int(np.argmax(of_short))] == "backbone"
    assert MEMBERS[int(np.argmax(of_long))] == "item-item"
    # A band without people has what lies between the others, not a gate of 0.
    assert (gates.at(np.array([5]))[0] > 0).all()


def test_ndcg_known_answer():
    scores = scores_where("head", episodes=1, n=12, length=0)
    query = next(iter(scores.query))
    ranked = np.zeros((1, 12), np.float32)
    ranked[0, query[0]] = 2.0
    other = next(i for i in range(12) if i not in query)
    ranked[0, other] = 1.5
    ranked[0, query[1]] = 1.0
    expected = (1 + 1 / np.log2(4)) / (1 + 1 / np.log2(3))
    assert scores.ndcg(ranked)[0] == pytest.approx(expected)


@given(st.integers(0, 2**32 - 1), st.integers(1, 14), st.integers(1, 4))
def test_ties_share_the_discount_of_their_places(seed, n, levels):
    """The mean over many orders of the tied items is what a ranking with ties is worth."""
    rng = np.random.default_rng(seed)
    ranked = rng.integers(0, levels, (1, n)).astype(np.float32)
    query = rng.permutation(n)[: int(rng.integers(1, n + 1))]
    scores = EpisodeScores(
        [], Histories.from_lists([[]]), Histories.from_lists([query.tolist()]), np.zeros(1, np.int64)
    )
    discount = np.concatenate([1 / np.log2(np.arange(2, 12)), np.zeros(n)])
    places = np.empty(n)  # the expected discount of each item, level by level
    for level in np.unique(ranked):
        tied = ranked[0] == level
        first = int((ranked[0] > level).sum())
        places[tied] = discount[first : first + int(tied.sum())].mean()
    expected = places[query].sum() / discount[: min(len(query), n)].sum()
    assert scores.ndcg(ranked)[0] == pytest.approx(expected)


def test_blocks_give_what_the_whole_gives(monkeypatch):
    scores = scores_where("head")
    gates = np.random.default_rng(2).random((len(scores), len(MEMBERS)))
    whole, alone = scores.quality(gates), scores.quality_alone(scores.members[0])
    fitted = fit_gates(scores).level
    monkeypatch.setattr(episode_scores, "_BLOCK_CELLS", 3 * scores.members[0].shape[1])
    assert len(list(scores.blocks())) == -(-len(scores) // 3)
    assert scores.quality(gates).tolist() == whole.tolist()
    assert scores.quality_alone(scores.members[0]).tolist() == alone.tolist()
    assert fit_gates(scores).level == pytest.approx(fitted, rel=1e-4)
    louder = gates.copy()
    louder[:, 1] *= 3.0
    tried = scores.qualities(gates, 1, [1.0, 3.0])
    assert tried[0] == pytest.approx(whole)
    assert tried[1] == pytest.approx(scores.quality(louder), abs=1e-6)


def test_guard_leaves_a_stack_that_is_worse_than_its_best_member():
    scores = scores_where("item-item")
    wrong = Gates(
        np.tile([3.0, 3.0, 3.0, -9.0, 3.0], (len(BANDS), 1)),
        np.zeros(5),
        np.ones((len(BANDS), 5)),
        np.full(len(BANDS), -1, np.int32),
    )
    right = guarded(wrong, scores)
    results = band_results(right, scores)
    assert [result.serves for result in results] == ["item-item"]
    assert right.at(np.array([3]))[0].tolist() == [0, 0, 0, 1, 0]
    assert results[0].members["item-item"] > results[0].stack
    # Bands that weren't judged keep the stack.
    assert (right.at(np.array([50]))[0, :3] > 0).all()


def test_guard_keeps_a_good_stack():
    scores = scores_where("head")
    gates = guarded(fit_gates(scores), scores)
    assert band_results(gates, scores)[0].serves == "stack"
    assert (gates.single == -1).all()


def test_what_knows_nothing_without_a_history_is_silent_there():
    n = len(MEMBERS)
    gates = Gates(
        np.zeros((len(BANDS), n)), np.zeros(n), np.ones((len(BANDS), n)), np.full(len(BANDS), -1, np.int32)
    )
    silent = dict(zip(MEMBERS, gates.at(np.array([0, 2]))[0] == 0))
    assert silent == {
        "backbone": False,
        "head": True,
        "popularity": False,
        "item-item": True,
        "mixture": True,
    }


def test_errors_are_over_people_not_over_their_episodes():
    """The same person judged many times is no more evidence than once."""
    few = scores_where("head", episodes=4)
    copies = np.tile(np.arange(4), 100)
    many = EpisodeScores(
        [member[copies] for member in few.members],
        few.support.take(copies),
        few.query.take(copies),
        copies,
    )
    stacked = fit_gates(few)
    assert guarded(stacked, many).single.tolist() == guarded(stacked, few).single.tolist()
    assert refine(stacked, many).scale.tolist() == stacked.scale.tolist()


def test_a_correction_that_helps_by_chance_is_not_made():
    """Among pure noise some multiplier always leads; on other people it doesn't."""
    for seed in range(3):
        scores = scores_where("head", seed=seed)
        scores.members[MEMBERS.index("head")][:] = np.random.default_rng(100 + seed).standard_normal(
            scores.members[0].shape
        )
        fitted = fit_gates(scores)
        assert refine(fitted, scores).scale.tolist() != fitted.scale.tolist()
        name, gates = corrected(fitted, scores)
        assert (name, gates) == ("as fitted", fitted)


@pytest.mark.parametrize(("errors", "made"), [(1.5, "as fitted"), (2.5, "guarded")])
def test_a_correction_needs_a_clear_lead(monkeypatch, errors, made):
    scores = scores_where("head", episodes=40)
    spread = np.resize([1.0, -1.0], 40)
    gain = errors * spread.std(ddof=1) / np.sqrt(40) + spread
    found = {name: np.zeros(40) for name in corrections.CORRECTIONS} | {"guarded": gain}
    monkeypatch.setattr(corrections, "_crossed", lambda scores: found)
    assert corrected(fit_gates(scores), scores)[0] == made


def test_a_correction_that_helps_others_too_is_made():
    """A member that always ranks right, but on a scale that differs a thousandfold between people: likelihood
    trusts it little, and the noise of the others is louder for many."""
    scores = scores_where("head", n=80)
    of_head = scores.members[MEMBERS.index("head")]
    loudness = 10.0 ** np.random.default_rng(3).uniform(-3, 1, len(scores))
    of_head[:] = 0.0
    row = np.repeat(np.arange(len(scores)), scores.query.lengths)
    of_head[row, scores.query.items] = loudness[row]
    fitted = fit_gates(scores)
    name, gates = corrected(fitted, scores)
    assert name != "as fitted"
    lengths = scores.support.lengths
    assert scores.quality(gates.at(lengths)).mean() > scores.quality(fitted.at(lengths)).mean() + 0.01


def test_corrections_are_judged_on_everybody_and_on_nobody_that_they_saw(monkeypatch):
    scores = scores_where("head", episodes=20)
    copies = np.repeat(np.arange(20), 2)
    twice = scores.take(copies)
    seen, judged = [], []
    monkeypatch.setattr(
        corrections, "fit_gates", lambda own: (seen.append(set(own.users)), fit_gates(own))[1]
    )
    quality = EpisodeScores.quality
    monkeypatch.setattr(
        EpisodeScores,
        "quality",
        lambda self, gates: (judged.append(set(self.users)), quality(self, gates))[1],
    )
    monkeypatch.setattr(corrections, "CORRECTIONS", {"as fitted": lambda gates, scores: gates})
    corrected(fit_gates(twice), twice)
    assert len(seen) == len(judged) == 4
    assert sorted(person for part in judged for person in part) == list(range(20))
    assert all(own.isdisjoint(other) and own | other == set(range(20)) for own, other in zip(seen, judged))
