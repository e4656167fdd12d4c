"""The item-item member."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from metarec_sdk.errors import ArgumentError, ArtefactError, NotFittedError
from metarec_sdk.heads.item_knn import ItemKNN
from metarec_sdk.types import Histories, TrainingLog

RNG = np.random.default_rng(0)


def fitted(rows: list[list[int]], n_items: int = 5, **arguments: object) -> ItemKNN:
    model = ItemKNN(shrinkage=0.0, **arguments)
    model.fit(TrainingLog(Histories.from_lists(rows), n_items), RNG)
    return model


def test_symmetric_boosts_both_ways_and_directed_one() -> None:
    rows = [[0, 1], [0, 1], [2, 3]]
    offsets, items, values = fitted(rows).boosts(Histories.from_lists([[0], [1], [4], []]), root=False)
    assert (offsets.tolist(), items.tolist(), values.tolist()) == ([0, 1, 2, 2, 2], [1, 0], [1.0, 1.0])
    offsets, items, values = fitted(rows, directed=True).boosts(Histories.from_lists([[0], [1]]), root=False)
    assert (offsets.tolist(), items.tolist(), values.tolist()) == ([0, 1, 1], [1], [1.0])


def test_the_window_bounds_what_follows() -> None:
    model = fitted([[0, 1, 2]], directed=True, window=1)
    assert model.boosts(Histories.from_lists([[0]]))[1].tolist() == [1]


def test_boosts_of_several_events_merge_and_weigh() -> None:
    model = fitted([[0, 2], [1, 2]])
    histories = Histories.from_lists([[0, 1]])
    histories.weights[:] = [2.0, 1.0]
    offsets, items, values = model.boosts(histories, root=False)
    assert items.tolist() == [2]
    np.testing.assert_allclose(values, 3 / np.sqrt(2), rtol=1e-6)
    assert model.boosts(histories)[2].tolist() == [1.0]
    assert offsets.tolist() == [0, 1]


def test_root_puts_histories_on_one_scale() -> None:
    model = fitted([[0, 1, 2, 3], [0, 1], [1, 2]])
    offsets, _, values = model.boosts(Histories.from_lists([[0], [0, 1, 2]]))
    for start, stop in pairwise(offsets):
        np.testing.assert_allclose((values[start:stop] ** 2).sum(), 1.0, rtol=1e-6)


def test_keeps_no_more_than_neighbours() -> None:
    model = fitted([[0, 1, 2, 3, 4]], neighbours=2)
    assert np.diff(model.table()[0]).tolist() == [2] * 5


def test_state_restores_and_bad_states_are_refused() -> None:
    model = fitted([[0, 1, 2]])
    again = ItemKNN()
    again.restore(model.state())
    histories = Histories.from_lists([[0, 2]])
    for one, two in zip(model.boosts(histories), again.boosts(histories)):
        assert (one == two).all()
    for change, message in [
        ({"values": -model.state()["values"]}, "neighbour_values is -"),
        ({"items": model.state()["items"] + 4}, "neighbour_items"),
        ({"items": model.state()["items"].astype(np.int64)}, "items must be a vector of dtype int32"),
        ({"offsets": model.state()["offsets"][1:]}, "offsets from 2"),
    ]:
        with pytest.raises(ArtefactError, match=message):
            ItemKNN().restore({**model.state(), **change})
    with pytest.raises(ArtefactError, match="no array 'values'"):
        ItemKNN().restore({})


def test_bad_arguments_are_named() -> None:
    with pytest.raises(NotFittedError):
        ItemKNN().boosts(Histories.from_lists([[0]]))
    with pytest.raises(ArgumentError, match="item 5"):
        fitted([[0, 1]]).boosts(Histories.from_lists([[5]]))
    for wrong in ({"neighbours": 0}, {"shrinkage": -1.0}, {"window": 0}):
        with pytest.raises(ArgumentError, match=next(iter(wrong))):
            ItemKNN(**wrong)
