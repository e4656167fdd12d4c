"""What all models promise."""

import numpy as np
import polars as pl
import pytest

from metarec_feedback.delay import DelayedConversion
from metarec_feedback.dwell import DwellFeedback
from metarec_feedback.position import PositionClicks
from metarec_feedback.trees import BoostedFeedback, TreeFeedback
from metarec_sdk import PluginManager
from metarec_sdk.errors import ArgumentError, ArtefactError, ColumnError, DataError, NotFittedError


def test_weights_have_mean_one_and_the_input_stays(build, mixed):
    model, before = build(), mixed.clone()
    model.fit(mixed)
    target, weight = model.weigh(mixed)
    assert target.dtype == weight.dtype == np.float32
    assert target.shape == weight.shape == (len(mixed),)
    assert np.isfinite(target).all()
    assert (weight >= 0).all()
    assert weight.mean() == pytest.approx(1, abs=1e-5)
    assert mixed.equals(before)


def test_a_state_gives_the_same_answers(build, mixed):
    model, again, restored = build(), build(), build()
    model.fit(mixed)
    again.fit(mixed)
    restored.restore(model.state())
    for other in (again, restored):
        for one, two in zip(model.weigh(mixed), other.weigh(mixed)):
            np.testing.assert_array_equal(one, two)
    assert all(isinstance(value, np.ndarray) for value in model.state().values())


def test_no_events_and_events_of_new_types(build, mixed):
    model = build()
    model.fit(mixed)
    target, weight = model.weigh(mixed.head(0))
    assert target.shape == weight.shape == (0,)
    unknown = mixed.with_columns(event_type=pl.lit("wave"), value=pl.lit(None, pl.Float64))
    assert np.isfinite(model.weigh(unknown)[1]).all()


def test_before_the_fit_and_with_another_state(build, mixed):
    model = build()
    for ask in (lambda: model.weigh(mixed), model.state):
        with pytest.raises(NotFittedError, match="feedback/"):
            ask()
    with pytest.raises(ArtefactError, match="missing"):
        model.restore({"other": np.zeros(1)})


def test_a_missing_event_type(build, mixed):
    with pytest.raises(ColumnError, match="event_type"):
        build().fit(mixed.drop("event_type"))


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        (TreeFeedback, {"depth": 0}),
        (TreeFeedback, {"propensity_clip": 0.5}),
        (BoostedFeedback, {"rate": 0.0}),
        (BoostedFeedback, {"trees": 0}),
        (DwellFeedback, {"shrinkage": -1.0}),
        (DelayedConversion, {"window_days": 0.0}),
        (DelayedConversion, {"penalty": float("nan")}),
        (PositionClicks, {"clip": 0.9}),
        (PositionClicks, {"positions": 0}),
    ],
)
def test_numbers_out_of_range(kind, params):
    with pytest.raises(ArgumentError, match=next(iter(params))):
        kind(**params)


def test_impossible_values_name_the_row(mixed):
    row = pl.int_range(len(mixed)) == 7
    with pytest.raises(DataError, match="row 7"):
        TreeFeedback().fit(mixed.with_columns(propensity=pl.when(row).then(2.0).otherwise("propensity")))
    with pytest.raises(DataError, match="row 7"):
        PositionClicks().fit(mixed.with_columns(position=pl.when(row).then(1.5).otherwise("position")))
    with pytest.raises(DataError, match="row 7"):
        DelayedConversion().fit(mixed.with_columns(timestamp=pl.when(~row).then("timestamp")))
    with pytest.raises(DataError, match="row 7"):
        DwellFeedback().fit(
            mixed.with_columns(
                event_type=pl.when(row).then(pl.lit("dwell")).otherwise("event_type"),
                value=pl.when(row).then(-3.0).otherwise("value"),
            )
        )


def test_all_are_offered():
    plugins = PluginManager(enabled=["feedback"], strict=True)
    for name in ("tree", "boosting", "dwell", "delayed-conversion", "position-clicks"):
        assert plugins.create("feedback", f"feedback/{name}", {}) is not None
