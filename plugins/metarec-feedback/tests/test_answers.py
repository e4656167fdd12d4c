"""Planted truths come back, and independent libraries agree."""

import numpy as np
import polars as pl
import pytest
from scipy.optimize import check_grad
from scipy.stats import norm
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.tree import DecisionTreeRegressor

from metarec_feedback.delay import DelayedConversion, _loss
from metarec_feedback.dwell import DwellFeedback
from metarec_feedback.position import PositionClicks
from metarec_feedback.trees import BoostedFeedback, TreeFeedback
from metarec_sdk.feedback import EventFeatures

DAY = 86_400_000_000


def test_trees_predict_as_scikit_learn_does(mixed):
    x = EventFeatures.learn(mixed).matrix(mixed)
    sure = 1 / np.maximum(mixed["propensity"].to_numpy(), 0.1)
    for model, peer in (
        (
            TreeFeedback(min_events=10, depth=5),
            DecisionTreeRegressor(max_depth=5, min_samples_leaf=10, random_state=0),
        ),
        (
            BoostedFeedback(min_events=10, trees=30),
            GradientBoostingRegressor(n_estimators=30, max_depth=3, min_samples_leaf=10, random_state=0),
        ),
    ):
        model.fit(mixed)
        peer.fit(x, mixed["label"].to_numpy(), sample_weight=sure)
        np.testing.assert_allclose(model.weigh(mixed)[0], peer.predict(x), rtol=1e-5, atol=1e-6)


def test_boosting_finds_an_interaction_that_a_line_cannot():
    rng = np.random.default_rng(1)
    n = 4000
    high, long = rng.random(n) < 0.5, rng.random(n) < 0.5
    events = pl.DataFrame(
        {
            "event_type": ["dwell"] * n,
            "value": np.where(long, 60.0, 5.0),
            "position": np.where(high, 0, 9),
            "label": (high ^ long) + rng.normal(0, 0.3, n),
        }
    )
    for model in (TreeFeedback(), BoostedFeedback()):
        model.fit(events)
        error = model.weigh(events)[0] - (high ^ long)
        assert np.sqrt(np.mean(np.square(error))) < 0.05


def test_null_labels_are_not_learned_from(mixed):
    some = mixed.with_columns(label=pl.when(pl.int_range(len(mixed)) < 200).then("label"))
    wrong = mixed.with_columns(
        label=pl.when(pl.int_range(len(mixed)) < 200).then("label").otherwise(pl.lit(1e6))
    )
    one, two = TreeFeedback(min_events=10), TreeFeedback(min_events=10)
    one.fit(some)
    two.fit(wrong)
    assert np.abs(one.weigh(mixed)[0]).max() < 10 < np.abs(two.weigh(mixed)[0]).max()


def test_a_usual_dwell_counts_one_on_short_and_long_items():
    rng = np.random.default_rng(2)
    seconds = np.concatenate([rng.lognormal(1, 0.5, 2000), rng.lognormal(5, 0.5, 2000)])
    events = pl.DataFrame(
        {"event_type": ["dwell"] * 4000, "item_id": ["headline"] * 2000 + ["film"] * 2000, "value": seconds}
    )
    model = DwellFeedback(shrinkage=0.0)
    model.fit(events)
    relevance = model.weigh(events)[0]
    assert relevance[:2000].mean() == pytest.approx(1, abs=0.02)
    assert relevance[2000:].mean() == pytest.approx(1, abs=0.02)
    one = pl.DataFrame({"event_type": ["dwell"] * 2, "item_id": ["headline", "film"], "value": [30.0, 30.0]})
    headline, film = model.weigh(one)[0]
    assert headline > 1.9
    assert film < 0.1


def test_dwell_by_hand():
    events = pl.DataFrame(
        {"event_type": ["dwell"] * 3 + ["click"], "item_id": [1, 1, 2, 2], "value": [9.0, 99.0, 999.0, None]}
    )
    model = DwellFeedback(shrinkage=1.0)
    model.fit(events)
    logs = np.log([10.0, 100.0, 1000.0])
    means = np.array([(logs[:2].sum() + logs.mean()) / 3] * 2 + [(logs[2] + logs.mean()) / 2])
    spread = np.sqrt(np.mean(np.square(logs - means)))
    expected = [*2 * norm.cdf((logs - means) / spread), 1.0]
    np.testing.assert_allclose(model.weigh(events)[0], expected, rtol=1e-6)


def test_a_dwell_of_unknown_seconds_counts_one_and_teaches_nothing():
    events = pl.DataFrame(
        {"event_type": ["dwell"] * 4, "item_id": [1, 1, 2, 1], "value": [9.0, 99.0, 999.0, None]}
    )
    model, without = DwellFeedback(), DwellFeedback()
    model.fit(events)
    without.fit(events.head(3))
    assert model.weigh(events)[0][3] == 1
    np.testing.assert_array_equal(model.weigh(events)[0][:3], without.weigh(events)[0][:3])


def clicks_with_purchases(n, rng, slope):
    """Clicks of 20 days; conversion and delay depend on ``x``; purchases after the end aren't there yet."""
    x = rng.normal(size=n)
    p = 1 / (1 + np.exp(1.0 - slope * x))
    time = rng.uniform(0, 20, n)
    bought = rng.random(n) < p
    delay = rng.exponential(1 / 0.2, n)  # a mean of five days
    seen = bought & (time + delay <= 20)
    clicks = pl.DataFrame(
        {
            "user_id": np.arange(n),
            "item_id": 1,
            "event_type": "click",
            "timestamp": (time * DAY).astype(np.int64),
            "x": x,
        }
    )
    sales = clicks.with_columns(
        event_type=pl.lit("purchase"), timestamp=pl.Series(((time + delay) * DAY).astype(np.int64))
    ).filter(pl.Series(seen))
    end = pl.DataFrame(
        {"user_id": [-1], "item_id": [0], "event_type": ["view"], "timestamp": [20 * DAY], "x": [0.0]}
    )
    return pl.concat([clicks, sales, end.cast(dict(clicks.schema))]), p, bought, seen


def test_the_delay_model_recovers_what_was_planted_where_the_naive_rate_is_too_low():
    rng = np.random.default_rng(3)
    events, p, bought, seen = clicks_with_purchases(20_000, rng, 1.0)
    model = DelayedConversion(columns=["x"])
    model.fit(events)
    found, rate = model.rates(events.head(20_000))
    assert seen.mean() < 0.8 * bought.mean()
    assert found.mean() == pytest.approx(p.mean(), rel=0.04)
    assert np.abs(found - p).max() < 0.05
    assert np.median(rate) == pytest.approx(0.2, rel=0.08)
    target = model.weigh(events)[0][:20_000]
    assert (target[seen] == 1).all()
    # What is still to come is predicted, which a label of 0 would deny.
    waiting = ~seen
    assert target[waiting].mean() == pytest.approx(bought[waiting].mean(), rel=0.1)


def test_the_gradient_of_the_delay_model():
    rng = np.random.default_rng(4)
    x = np.column_stack([np.ones(50), rng.normal(size=(50, 2))])
    done, time = rng.random(50) < 0.4, rng.exponential(3, 50)

    def value(flat):
        return _loss(flat.reshape(2, -1), x, done, time, 0.1)[0]

    def gradient(flat):
        return _loss(flat.reshape(2, -1), x, done, time, 0.1)[1]

    assert check_grad(value, gradient, rng.normal(size=6)) < 1e-5


def test_a_purchase_belongs_to_the_last_click_before_it():
    rows = [
        (1, 7, "click", 0),
        (1, 7, "click", 2),
        (1, 7, "purchase", 3),
        (2, 7, "purchase", 4),
        (1, 8, "click", 1),
    ]
    rows += [(3, 9, "click", 0), (3, 9, "purchase", 40), (4, 9, "view", 41)]
    events = pl.DataFrame(rows, ["user_id", "item_id", "event_type", "timestamp"], orient="row").with_columns(
        pl.col("timestamp") * DAY
    )
    _, converted, days = DelayedConversion(window_days=30)._matched(events)
    assert converted.tolist() == [False, True, False, False, False, False, False, False]
    assert days[:2].tolist() == [41, 1]


def test_a_click_is_as_old_in_a_part_of_the_log_as_in_all_of_it():
    events, *_ = clicks_with_purchases(200, np.random.default_rng(4), 1.0)
    model = DelayedConversion()
    model.fit(events)
    first = events.filter(pl.col("user_id") == 0)
    np.testing.assert_array_equal(
        model.weigh(first)[0], model.weigh(events)[0][(events["user_id"] == 0).to_numpy()]
    )
    later = first.with_columns(pl.col("timestamp") + 40 * DAY)
    model.fit(pl.concat([events, later]))
    model.fit(events)  # the other log's newest event is forgotten
    assert model.state()["newest"].tolist() == [20 * DAY]


def test_examination_is_recovered_and_weighs_clicks():
    rng = np.random.default_rng(5)
    theta = np.array([1.0, 0.6, 0.4, 0.25, 0.15])
    n, n_items = 60_000, 30
    gamma = rng.uniform(0.1, 0.7, n_items)
    item = rng.integers(0, n_items, n)
    # Good items tend to the front, so that the click rate of a position isn't its examination.
    place = np.clip(rng.normal(4 - 5 * gamma[item], 1.2), 0, 4).astype(int)
    clicked = rng.random(n) < theta[place] * gamma[item]
    events = pl.DataFrame(
        {"event_type": np.where(clicked, "click", "view"), "item_id": item, "position": place}
    )
    model = PositionClicks(positions=5, iterations=1000)
    model.fit(events)
    np.testing.assert_allclose(model.examination() / model.examination()[0], theta, atol=0.06)
    rates = np.array([clicked[place == j].mean() for j in range(5)])
    assert np.abs(rates / rates[0] - theta).max() > 0.06  # what counting alone would say
    target, weight = model.weigh(events)
    first, last = clicked & (place == 0), clicked & (place == 4)
    assert weight[last].mean() / weight[first].mean() == pytest.approx(1 / 0.15, rel=0.35)
    assert (weight[~clicked] == 0).all()
    assert (target == clicked).all()


def test_a_view_and_a_click_of_one_request_count_once():
    rows = [
        ("a", 1, "view", 0),
        ("a", 1, "click", 0),
        ("a", 2, "view", 1),
        ("b", 1, "view", 0),
        (None, 2, "view", 1),
    ]
    events = pl.DataFrame(rows, ["request_id", "item_id", "event_type", "position"], orient="row")
    twice = events.filter(pl.Series([False, True, True, True, True]))
    one, two = PositionClicks(positions=2), PositionClicks(positions=2)
    one.fit(events)
    two.fit(twice)
    np.testing.assert_array_equal(one.examination(), two.examination())
