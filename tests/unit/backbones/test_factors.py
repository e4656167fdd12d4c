"""The factors backbone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from metarec_sdk.backbones.factors import Factors
from metarec_sdk.errors import ArgumentError, ArtefactError, NotFittedError, StorageError
from metarec_sdk.types import Backbone, Histories, TrainingLog


@pytest.fixture(scope="module")
def log() -> TrainingLog:
    rng = np.random.default_rng(0)
    rows = [list(rng.permutation(np.arange(user % 2, 20, 2))[:7]) for user in range(40)]
    return TrainingLog(Histories.from_lists(rows), 20)


@pytest.fixture(scope="module")
def backbone(log: TrainingLog) -> Factors:
    made = Factors(factors=2, iterations=10)
    made.fit(log, np.random.default_rng(0))
    return made


def test_follows_the_protocol(backbone: Factors) -> None:
    assert isinstance(backbone, Backbone)
    matrix = backbone.item_matrix()
    assert (matrix.shape, matrix.dtype, matrix.flags.c_contiguous) == ((20, 2), np.float32, True)


def test_encodes_the_colour_of_a_checkerboard(backbone: Factors) -> None:
    scores = backbone.encode(Histories.from_lists([[0], [1], [2, 4], [3, 5]])) @ backbone.item_matrix().T
    for row, parity in enumerate([0, 1, 0, 1]):
        assert scores[row, parity::2].min() > scores[row, 1 - parity :: 2].max()


def test_an_empty_history_starts_at_zero(backbone: Factors) -> None:
    assert (backbone.encode(Histories.from_lists([[]])) == 0).all()


def test_weights_are_confidences(backbone: Factors) -> None:
    histories = Histories.from_lists([[0, 1], [0, 1], [1]])
    histories.weights[:] = [1.0, 1.0, 0.0, 1.0, 1.0]
    encoded = backbone.encode(histories)
    np.testing.assert_allclose(encoded[1], encoded[2], atol=1e-6)
    assert np.abs(encoded[0] - encoded[2]).max() > 0.01


def test_reports_its_progress(log: TrainingLog) -> None:
    calls: list[tuple[int, int]] = []
    Factors(factors=2, iterations=3).fit(
        log, np.random.default_rng(0), lambda done, total, message: calls.append((done, total))
    )
    assert calls == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_state_restores_to_the_byte(backbone: Factors, log: TrainingLog) -> None:
    again = Factors(factors=2)
    again.restore(backbone.state())
    assert (again.encode(log.histories) == backbone.encode(log.histories)).all()
    with pytest.raises(ArtefactError, match=r"item_factors has shape \(20, 2\), expected \(any, 8\)"):
        Factors(factors=8).restore(backbone.state())


def test_trains_on_from_a_file(backbone: Factors, log: TrainingLog, tmp_path: Path) -> None:
    path = tmp_path / "items.safetensors"
    save_file({"item_factors": backbone.item_matrix()}, path)
    further = Factors(factors=2, iterations=1, init=str(path))
    further.fit(log, np.random.default_rng(99))
    long = Factors(factors=2, iterations=11)
    long.fit(log, np.random.default_rng(0))
    assert (further.item_matrix() == long.item_matrix()).all()


def test_refuses_a_file_that_does_not_fit(log: TrainingLog, tmp_path: Path) -> None:
    def fit(path: Path) -> None:
        Factors(factors=4, init=str(path)).fit(log, np.random.default_rng(0))

    path = tmp_path / "items.safetensors"
    with pytest.raises(StorageError, match="can't be read"):
        fit(path)
    path.write_bytes(b"not safetensors")
    with pytest.raises(ArtefactError, match="isn't a usable safetensors file"):
        fit(path)
    save_file({"other": np.zeros((20, 4), np.float32)}, path)
    with pytest.raises(ArtefactError, match=r"no array 'item_factors'; it has \['other'\]"):
        fit(path)
    save_file({"item_factors": np.full((20, 4), np.nan, np.float32)}, path)
    with pytest.raises(ArtefactError, match="NaN"):
        fit(path)
    save_file({"item_factors": np.zeros((19, 4), np.float32)}, path)
    with pytest.raises(ArgumentError, match=r"shape \(19, 4\), expected \(20, 4\)"):
        fit(path)


def test_refuses_to_work_before_it_is_fitted() -> None:
    with pytest.raises(NotFittedError):
        Factors().encode(Histories.from_lists([[0]]))
