"""Which events a training epoch predicts, from what, and how much each counts."""

from __future__ import annotations

import numpy as np
import pytest

from metarec_sdk.backbones.windows import SET_HORIZON, SHORT_POSITIONS, WindowSampler
from metarec_sdk.types import Histories


def _histories(lengths: list[int]) -> Histories:
    """Items are the event numbers, so that a window says where it came from."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    e = int(offsets[-1])
    events = np.arange(e)
    return Histories(events.astype(np.int32), offsets, np.ones(e, np.float32), events.astype(np.int64))


def _sampler(
    histories: Histories, *, limit: int = 7, share: float = 0.0, set_target: bool = False, size: int = 4
):
    return WindowSampler(
        histories, history_limit=limit, short_share=share, set_target=set_target, batch_size=size
    )


@pytest.mark.parametrize("seed", range(5))
def test_every_event_is_predicted_once_from_the_events_right_before_it(seed: int) -> None:
    histories = _histories([1, 0, 8, 9, 40, 3, 7, 1])
    predicted = []
    for batch in _sampler(histories).epoch(np.random.default_rng(seed)):
        assert batch.targets.shape == batch.weights.shape == (len(batch.inputs), batch.inputs.shape[1] + 1)
        assert batch.targets.shape[1] <= 8
        for inputs, targets, weights in zip(batch.inputs, batch.targets, batch.weights):
            real = int((weights > 0).sum())
            assert (weights[:real] > 0).all()
            np.testing.assert_array_equal(targets[:real], np.arange(targets[0], targets[0] + real))
            np.testing.assert_array_equal(inputs[: real - 1], targets[: real - 1])
            user = np.searchsorted(histories.offsets, targets[:real], side="right")
            assert (user == user[0]).all()
            predicted.extend(targets[:real])
    assert sorted(predicted) == list(range(len(histories.items)))


def test_windows_start_in_different_places() -> None:
    sampler, rng = _sampler(_histories([100])), np.random.default_rng(0)
    starts = {int(row[0]) for _ in range(30) for batch in sampler.epoch(rng) for row in batch.targets}
    assert len(starts) > 60


def test_short_queries_get_their_share_and_the_total_stays() -> None:
    histories = _histories([400, 300, 500, 200])
    for share in (0.0, 0.5, 0.9):
        short = total = 0.0
        for batch in _sampler(histories, limit=50, share=share).epoch(np.random.default_rng(0)):
            short += float(batch.weights[:, : SHORT_POSITIONS + 1].sum())
            total += float(batch.weights.sum())
        assert total == pytest.approx(1400, rel=1e-5)
        assert short / total == pytest.approx(share, abs=1e-5) if share else short / total < 0.4


def test_more_short_queries_than_asked_for_are_left_alone() -> None:
    batches = list(_sampler(_histories([5] * 10), limit=50, share=0.5).epoch(np.random.default_rng(0)))
    assert {float(w) for batch in batches for w in batch.weights.ravel()} <= {0.0, 1.0}


def test_set_target_stays_within_the_next_ten_of_the_same_user() -> None:
    histories = _histories([60, 5])
    distances = []
    for batch in _sampler(histories, limit=20, set_target=True).epoch(np.random.default_rng(0)):
        for inputs, targets, weights in zip(batch.inputs, batch.targets, batch.weights):
            real = int((weights > 0).sum())
            if real < 2:
                continue
            first = inputs[0]
            due = first + np.arange(real)
            distances.extend(targets[:real] - due)
            end = histories.offsets[np.searchsorted(histories.offsets, first, side="right")]
            assert (targets[:real] < end).all()
    assert min(distances) == 0
    assert max(distances) == SET_HORIZON - 1


def test_target_weight_is_the_event_weight() -> None:
    histories = _histories([6, 6])
    weights = np.arange(12, dtype=np.float32)
    histories = Histories(histories.items, histories.offsets, weights, histories.timestamps)
    for batch in _sampler(histories).epoch(np.random.default_rng(1)):
        for targets, row in zip(batch.targets, batch.weights):
            real = row > 0
            np.testing.assert_array_equal(row[real], targets[real])


def test_a_batch_says_how_long_its_rows_are_and_when_the_inputs_happened() -> None:
    """Items are event numbers, and so are the times."""
    histories = _histories([1, 0, 8, 9, 40, 3])
    for batch in _sampler(histories).epoch(np.random.default_rng(0)):
        np.testing.assert_array_equal(batch.lengths, (batch.weights > 0).sum(1))
        assert batch.timestamps.shape == batch.inputs.shape
        real = np.arange(batch.inputs.shape[1]) < batch.lengths[:, None]
        np.testing.assert_array_equal(batch.timestamps[real], batch.inputs[real])
        assert (batch.timestamps[~real] == 0).all()


def test_shuffled_windows_hold_every_event_of_a_user_once_in_a_new_order_each_epoch() -> None:
    histories = _histories([6, 5])
    sampler = WindowSampler(
        histories, history_limit=20, short_share=0.0, set_target=False, batch_size=4, shuffle=True
    )
    rng, seen = np.random.default_rng(0), set()
    for _ in range(10):
        targets = np.concatenate([row for batch in sampler.epoch(rng) for row in batch.targets])
        events = [event for row in (targets[targets < 6], targets[targets >= 6]) for event in row]
        seen.add(tuple(events))
        real = [
            int(item)
            for batch in sampler.epoch(rng)
            for row, weights in zip(batch.targets, batch.weights)
            for item in row[weights > 0]
        ]
        assert sorted(real) == list(range(11))
    assert len(seen) > 5
    assert histories.items.tolist() == list(range(11))
