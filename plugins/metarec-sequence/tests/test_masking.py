"""What BERT4Rec is asked for in training."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from metarec_sdk.backbones.windows import Batch, WindowSampler
from metarec_sdk.types import Histories
from metarec_sequence.masking import PADDING, MaskSampler

N_ITEMS = 50


def sampler(mask_share: float, last_share: float, users: int = 400) -> MaskSampler:
    rng = np.random.default_rng(0)
    rows = [rng.integers(N_ITEMS, size=length).tolist() for length in rng.integers(1, 25, users)]
    windows = WindowSampler(
        Histories.from_lists(rows), history_limit=9, short_share=0.0, set_target=False, batch_size=32
    )
    return MaskSampler(windows, N_ITEMS, mask_share=mask_share, last_share=last_share)


def batches(mask_share: float, last_share: float) -> list[Batch]:
    return list(sampler(mask_share, last_share).epoch(np.random.default_rng(1)))


def test_what_is_hidden_is_asked_for_and_nothing_else() -> None:
    for batch in batches(0.3, 0.2):
        real = np.arange(batch.targets.shape[1]) < batch.lengths[:, None]
        hidden = batch.inputs == N_ITEMS
        assert (batch.inputs[~real] == PADDING).all()
        np.testing.assert_array_equal(batch.weights > 0, hidden)
        np.testing.assert_array_equal(batch.inputs[real & ~hidden], batch.targets[real & ~hidden])
        assert not (hidden & ~real).any()
        assert hidden.any(1).all()  # every window teaches something


def test_the_shares_are_as_asked() -> None:
    hidden = total = 0
    for batch in batches(0.3, 0.0):
        long = batch.lengths >= 8
        hidden += int((batch.inputs[long] == N_ITEMS).sum())
        total += int(batch.lengths[long].sum())
    assert 0.27 < hidden / total < 0.34


def test_last_share_one_hides_the_last_item_alone() -> None:
    for batch in batches(0.9, 1.0):
        hidden = batch.inputs == N_ITEMS
        assert (hidden.sum(1) == 1).all()
        assert hidden[np.arange(len(hidden)), batch.lengths - 1].all()


def test_every_event_is_in_one_window_an_epoch_and_other_items_are_hidden_in_the_next() -> None:
    masks = sampler(0.3, 0.0)
    rng = np.random.default_rng(2)
    first, second = list(masks.epoch(rng)), list(masks.epoch(rng))
    events = [sum(int(batch.lengths.sum()) for batch in epoch) for epoch in (first, second)]
    assert events[0] == events[1]
    assert abs(masks.n_batches() - len(first)) <= 0.2 * len(first) + 1
    patterns = [sorted((batch.inputs == N_ITEMS).tobytes() for batch in epoch) for epoch in (first, second)]
    assert patterns[0] != patterns[1]
