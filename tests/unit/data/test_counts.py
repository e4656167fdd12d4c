"""The built-in behaviour model and content encoder, by hand-made tables."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from metarec_sdk import ArgumentError, ArtefactError, DataError, NotFittedError, clean, read_interactions
from metarec_sdk.data.counts import Counts
from metarec_sdk.data.table_content import TableContent

START = 1_700_000_000
RNG = np.random.default_rng(0)


@pytest.fixture
def log():
    """``a`` views nine times and ``b`` buys once and does something odd twice."""
    rows = [("a", f"i{place}", START + place, "view") for place in range(9)]
    rows += [("b", f"i{place}", START + place, kind) for place, kind in enumerate(("purchase", "odd", "odd"))]
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "ts", "type"], orient="row")
    return read_interactions(frame, time="ts", event="type")


def test_the_likelihood_is_multinomial_with_smoothing(log):
    model = Counts(smoothing=1.0)
    model.fit(log.frame, RNG)
    expected = [9 * np.log(10 / 16), np.log(2 / 16) + 2 * np.log(3 / 16)]
    np.testing.assert_allclose(model.log_likelihood(log.frame), expected)


def test_a_type_that_was_never_seen_has_the_share_of_the_smoothing(log):
    model = Counts()
    model.fit(log.frame.filter(pl.col("event_type") == "view"), RNG)
    assert model.log_likelihood(log.frame)[1] == pytest.approx(3 * np.log(1 / 11))


def test_features_are_standardised_with_and_without_times(log):
    model = Counts()
    model.fit(log.frame, RNG)
    timed, untimed = model.features(log.frame), model.features(log.frame.drop("timestamp"))
    assert timed.shape[1] == untimed.shape[1] + 2
    np.testing.assert_allclose(timed[:, 0], [1.0, -1.0], atol=1e-5)


def test_the_state_comes_back_and_a_damaged_one_is_refused(log):
    model, again = Counts(), Counts()
    with pytest.raises(NotFittedError):
        model.state()
    model.fit(log.frame, RNG)
    again.restore(model.state())
    np.testing.assert_array_equal(again.log_likelihood(log.frame), model.log_likelihood(log.frame))
    with pytest.raises(ArtefactError):
        again.restore({**model.state(), "counts": np.zeros(1)})


def test_unlikely_people_are_cleaned_out(log):
    model = Counts()
    model.fit(log.frame, RNG)
    cleaned, report = clean(log, behaviour=model, min_log_likelihood=-1.5)
    assert cleaned.frame["user_id"].unique().to_list() == ["a"]
    assert "min_log_likelihood" in str(report)
    with pytest.raises(ArgumentError, match="needs behaviour= and a bound"):
        clean(log, behaviour=model)
    with pytest.raises(ArgumentError, match="needs behaviour= and a bound"):
        clean(log, max_log_likelihood=-1.0)


def test_people_who_are_too_likely_are_cleaned_out(log):
    model = Counts()
    model.fit(log.frame, RNG)
    cleaned, report = clean(log, behaviour=model, max_log_likelihood=-1.5)
    assert cleaned.frame["user_id"].unique().to_list() == ["b"]
    assert [(rule.rule, rule.rows) for rule in report.rules] == [
        ("max_log_likelihood", len(log) - len(cleaned))
    ]
    assert "1 user(s) with more than -1.5 nats an event" in str(report)
    with pytest.raises(DataError, match="0 left"):
        clean(log, behaviour=model, min_log_likelihood=-1.5, max_log_likelihood=-1.5)
    with pytest.raises(ArgumentError, match="above max_log_likelihood"):
        clean(log, behaviour=model, min_log_likelihood=-1.0, max_log_likelihood=-1.5)


def test_content_takes_categories_lists_and_numbers():
    table = pl.DataFrame(
        {
            "item_id": ["a", "b", "c", "d"],
            "kind": ["x", "y", "x", None],
            "tags": [["p", "q"], ["q"], None, []],
            "year": [1990.0, 2010.0, None, float("nan")],
            "title": ["A", "B", "C", "D"],
        }
    )
    encoded = TableContent().encode(table)
    assert encoded[:, :4].tolist() == [[1, 0, 1, 1], [0, 1, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(encoded[:, 4], [-1, 1, 0, 0])
    assert encoded.shape == (4, 5)
    assert TableContent().encode(table.select("item_id", "title")).shape[0] == 4
