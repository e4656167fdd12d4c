"""The mixture of multinomials against its own likelihood and planted groups."""

import numpy as np
import pytest

from metarec_sdk.errors import ArgumentError
from metarec_sdk.heads.mixture import PopularityMixture
from metarec_sdk.types import Histories, TrainingLog

SHARES = np.stack([np.roll([8, 4, 2, 1, 1, 1, 1, 1, 1], 3 * group) for group in range(3)]) / 20


@pytest.fixture
def log() -> TrainingLog:
    """300 people of three groups, in turn."""
    rng = np.random.default_rng(0)
    rows = [rng.choice(9, 30, p=SHARES[person % 3]).tolist() for person in range(300)]
    return TrainingLog(Histories.from_lists(rows), 9)


def fitted(log: TrainingLog, groups: int = 3, **settings) -> PopularityMixture:
    return PopularityMixture.fit(log, groups, np.random.default_rng(1), **settings)


def test_planted_groups_are_found(log):
    mixture = fitted(log, prior_events=1.0)
    label = mixture.memberships(log.histories).argmax(1)
    groups = [np.bincount(label[start::3], minlength=3) for start in range(3)]
    assert sorted(int(group.argmax()) for group in groups) == [0, 1, 2]
    assert sum(group.max() for group in groups) >= 297
    overall = np.bincount(log.histories.items, minlength=9) / len(log.histories.items)
    for start, group in enumerate(groups):
        share = np.exp(mixture.lift[:, group.argmax()]) * overall
        np.testing.assert_allclose(share, SHARES[start], atol=0.02)


def test_memberships_are_the_posterior(log):
    mixture = fitted(log, prior_events=1.0, sharpness=0.7)
    histories = Histories.from_lists([[0, 0, 5], [], [8]])
    found = mixture.memberships(histories)
    for row, items in zip(found, histories):
        expected = np.exp(mixture.log_weight + 0.7 * mixture.lift[items].sum(0, dtype=np.float64))
        np.testing.assert_allclose(row, expected / expected.sum(), rtol=1e-5)
    np.testing.assert_allclose(found[1], np.exp(mixture.log_weight), rtol=1e-6)


def test_more_rounds_never_lower_the_likelihood(log):
    def likelihood(rounds: int) -> float:
        mixture = fitted(log, prior_events=1e-9, rounds=rounds)
        logits = mixture.log_weight + np.stack([mixture.lift[row].sum(0) for row in log.histories])
        return float(np.logaddexp.reduce(logits, axis=1).sum())

    values = [likelihood(rounds) for rounds in (0, 1, 2, 5)]
    assert (np.diff(values) > -1e-2).all()


def test_the_same_rng_gives_the_same_bytes(log):
    first, again = fitted(log), fitted(log)
    assert first.lift.tobytes() == again.lift.tobytes()


def test_few_people_get_few_groups():
    few = TrainingLog(Histories.from_lists([[0], [1], [0, 1]]), 2)
    mixture = fitted(few, 32)
    assert mixture.lift.shape == (2, 1)
    np.testing.assert_allclose(mixture.lift, 0.0, atol=1e-6)


def test_a_new_item_is_to_every_group_like_to_everybody(log):
    grown = fitted(log).extended(11)
    assert grown.lift.shape == (11, 3)
    assert not grown.lift[9:].any()


def test_items_outside_the_catalogue_are_refused(log):
    with pytest.raises(ArgumentError, match="9"):
        fitted(log).memberships(Histories.from_lists([[0, 9]]))


def test_a_known_segment_is_the_prior_of_a_history(log):
    """Even segments hold people of the first two groups, segment 2 the third; every tenth is unknown."""
    person = np.arange(300)
    segments = np.where(person % 3 == 2, 2, person % 2).astype(np.int32)
    segments[::10] = -1
    plain, told = fitted(log, prior_events=1.0), fitted(log, prior_events=1.0, segments=segments)
    np.testing.assert_array_equal(told.lift, plain.lift)
    members = plain.memberships(log.histories)
    for segment in range(3):
        inside = members[segments == segment]
        expected = (inside.sum(0) + 20 * np.exp(plain.log_weight)) / (len(inside) + 20)
        np.testing.assert_allclose(np.exp(told.log_segment[segment]), expected, atol=1e-3)
    histories = Histories.from_lists([[], [3, 3], [3, 3], [0, 1], []])
    found = told.memberships(histories, np.array([2, 2, -1, 7, 7], np.int32))
    np.testing.assert_allclose(found[0], np.exp(told.log_segment[2]), rtol=1e-5)
    expected = np.exp(told.log_segment[2] + told.lift[[3, 3]].sum(0))
    np.testing.assert_allclose(found[1], expected / expected.sum(), rtol=1e-5)
    np.testing.assert_allclose(found[2:], plain.memberships(histories)[2:], rtol=1e-6)


def test_a_history_outweighs_the_segment(log):
    segments = (np.arange(300) % 3).astype(np.int32)
    mixture = fitted(log, prior_events=1.0, segments=segments)
    own = mixture.memberships(Histories.from_lists([[]]), np.array([0], np.int32)).argmax()
    other = mixture.memberships(log.histories.take(slice(1, 2)), np.array([0], np.int32))
    assert other[0].argmax() != own
    assert other[0].max() > 0.99
