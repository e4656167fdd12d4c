"""What all models promise."""

import numpy as np
import polars as pl
import pytest

from metarec_behaviour.hmm import HiddenMarkov
from metarec_behaviour.multinomial import DirichletMultinomial
from metarec_behaviour.network import BayesianNetwork
from metarec_sdk import Recommender, clean, load, read_interactions
from metarec_sdk.errors import ArgumentError, ArtefactError, ColumnError, DataError, NotFittedError
from metarec_sdk.testing import Level, run_checks

NAMES = ["behaviour/multinomial", "behaviour/hmm", "behaviour/bayesian-network"]


def fitted(model, events, seed=1):
    model.fit(events, np.random.default_rng(seed))
    return model


@pytest.mark.parametrize("name", NAMES)
def test_the_contract(name):
    report = run_checks(name, level=Level.SERVES)
    assert report.level is Level.SERVES, str(report)


def test_features_are_of_one_scale_and_the_input_stays(build, mixed):
    before = mixed.clone()
    model = fitted(build(), mixed)
    x = model.features(mixed)
    assert x.dtype == np.float32
    assert np.abs(x.mean(0)).max() < 0.2  # clipping moves the mean a little
    varies = x.std(0) > 1e-6
    assert varies.sum() >= 3
    np.testing.assert_allclose(x.std(0)[varies], 1, atol=0.25)
    assert mixed.equals(before)


def test_same_seed_same_bytes_and_a_state_gives_the_same_answers(build, mixed):
    model, again, restored = fitted(build(), mixed), fitted(build(), mixed), build()
    for name, array in model.state().items():
        assert array.tobytes() == again.state()[name].tobytes()
    restored.restore(model.state())
    assert restored.features(mixed).tobytes() == model.features(mixed).tobytes()
    assert restored.log_likelihood(mixed).tobytes() == model.log_likelihood(mixed).tobytes()


def test_the_order_of_rows_matters_only_where_times_are_equal(build, mixed):
    model = fitted(build(), mixed)
    shuffled = mixed.sample(fraction=1.0, shuffle=True, seed=3)
    np.testing.assert_array_equal(model.log_likelihood(shuffled), model.log_likelihood(mixed))


def test_a_person_is_described_alike_in_any_company(build, mixed):
    model = fitted(build(), mixed)
    alone = mixed.filter(pl.col("user_id") == 7)
    place = mixed["user_id"].unique().sort().index_of(7)
    np.testing.assert_array_equal(model.features(alone)[0], model.features(mixed)[place])
    np.testing.assert_array_equal(model.log_likelihood(alone)[0], model.log_likelihood(mixed)[place])


def test_a_column_of_the_log_is_an_aspect(build, mixed):
    model = fitted(build(aspects=["market", "event_type"]), mixed)
    elsewhere = mixed.with_columns(market=pl.lit("mars"))
    assert np.isfinite(model.log_likelihood(elsewhere)).all()
    with pytest.raises(ColumnError, match="'market'"):
        model.features(mixed.drop("market"))
    with pytest.raises(ColumnError, match="one value an event"):
        fitted(build(aspects=["market"]), mixed.with_columns(market=pl.concat_list("market")))


def test_values_beyond_the_most_frequent_ones_count_as_one(build, mixed):
    model = fitted(build(aspects=["event_type"], categories=1), mixed)
    other = mixed.with_columns(event_type=pl.col("event_type").replace({"cart": "purchase"}))
    np.testing.assert_array_equal(model.log_likelihood(other), model.log_likelihood(mixed))


def test_before_the_fit_and_with_another_state(build, mixed):
    model = build()
    for ask in (lambda: model.features(mixed), lambda: model.log_likelihood(mixed), model.state):
        with pytest.raises(NotFittedError, match="behaviour/"):
            ask()
    with pytest.raises(ArtefactError, match="missing"):
        model.restore({"other": np.zeros(1)})
    state = fitted(build(), mixed).state()
    with pytest.raises(ArtefactError, match="aspects"):
        build(aspects=["weekday"]).restore(state)
    with pytest.raises(ArtefactError, match="can't be read"):
        build().restore({**state, "aspects": np.zeros(3, np.uint8)})
    broken = next(name for name in ("alpha", "emissions", "log_probabilities") if name in state)
    with pytest.raises(ArtefactError, match=broken):
        build().restore({**state, broken: state[broken][..., :-1]})


def test_logs_that_cannot_be_used(build, mixed):
    with pytest.raises(DataError, match="no events"):
        fitted(build(), mixed.head(0))
    with pytest.raises(ColumnError, match="user_id"):
        fitted(build(), mixed.drop("user_id"))
    with pytest.raises(ColumnError, match="event_type"):
        fitted(build(), mixed.drop("event_type"))
    holey = mixed.with_columns(timestamp=pl.when(pl.int_range(pl.len()) != 7).then("timestamp"))
    with pytest.raises(DataError, match="row 7"):
        fitted(build(), holey)


def test_nobody_is_asked_about(build, mixed):
    model = fitted(build(), mixed)
    assert model.log_likelihood(mixed.head(0)).shape == (0,)
    assert model.features(mixed.head(0)).shape == (0, model.features(mixed).shape[1])


@pytest.mark.parametrize(
    ("kind", "params", "named"),
    [
        (DirichletMultinomial, {"smoothing": 0.0}, "smoothing"),
        (DirichletMultinomial, {"aspects": "event_type"}, "aspects"),
        (DirichletMultinomial, {"aspects": []}, "aspects"),
        (DirichletMultinomial, {"aspects": ["hour", "hour"]}, "aspects"),
        (DirichletMultinomial, {"categories": 0}, "categories"),
        (HiddenMarkov, {"n_states": 0}, "n_states"),
        (HiddenMarkov, {"restarts": 1.5}, "restarts"),
        (HiddenMarkov, {"smoothing": 1.0}, "smoothing"),
        (HiddenMarkov, {"max_events": 0}, "max_events"),
        (BayesianNetwork, {"smoothing": float("nan")}, "smoothing"),
    ],
)
def test_arguments_out_of_range(kind, params, named):
    with pytest.raises(ArgumentError, match=named):
        kind(**params)


def test_cleaning_takes_out_whoever_the_model_finds_unlikely(build, mixed):
    """A bot alternates purchase and cart at the one hour of the day at which nobody else is there."""
    people = mixed.filter(pl.from_epoch("timestamp", "us").dt.hour() != 3)
    night = (people["timestamp"].min() // 86_400_000_000 + 1) * 86_400_000_000 + 3 * 3_600_000_000
    bot = people.head(40).with_columns(
        user_id=pl.lit(999, pl.Int64),
        event_type=pl.Series(["purchase", "cart"] * 20),
        value=pl.lit(None, pl.Float64),
        timestamp=night + pl.int_range(40) * 1_000_000,
    )
    frame = pl.concat([people, bot]).drop("row")
    log = read_interactions(frame, time="timestamp", event="event_type", value="value", time_unit="us")
    model = fitted(build(aspects=["event_type", "hour"]), people)
    per_event = model.log_likelihood(people) / people.group_by("user_id").len().sort("user_id")["len"]
    cleaned, report = clean(log, behaviour=model, min_log_likelihood=float(per_event.min()) - 1e-9)
    assert set(log.frame["user_id"]) - set(cleaned.frame["user_id"]) == {999}
    assert report.rules[-1].rows == 40


def test_tasks_by_behaviour_survive_saving(build, tmp_path):
    rng = np.random.default_rng(0)
    n = 1500
    log = read_interactions(
        pl.DataFrame(
            {
                "user_id": rng.integers(0, 120, n),
                "item_id": rng.integers(0, 30, n),
                "ts": 1_700_000_000 + np.sort(rng.integers(0, 10**6, n)),
                "type": rng.choice(["view", "cart"], n),
            }
        ),
        time="ts",
        event="type",
    )
    name = {DirichletMultinomial: "multinomial", HiddenMarkov: "hmm"}.get(type(build()), "bayesian-network")
    rec = Recommender(
        backbone="factors",
        clusterer="kmeans",
        meta_learner="none",
        behaviour=f"behaviour/{name}",
        params={"behaviour": {"aspects": ["event_type", "hour"]}},
        seed=1,
    )
    rec.fit(log)
    rec.save(tmp_path / "model")
    assert load(tmp_path / "model").recommend([0, 1], k=5).equals(rec.recommend([0, 1], k=5))
