"""Linear feedback: known answers against numpy, the implicit protocol, propensities, and state."""

import numpy as np
import polars as pl
import pytest

from metarec_sdk.errors import (
    ArgumentError,
    ArtefactError,
    ColumnError,
    DataError,
    NotFittedError,
    UnknownIdError,
)
from metarec_sdk.feedback import LinearFeedback
from metarec_sdk.types import FeedbackModel

DAY = 86_400_000_000


def labelled_log(n: int = 200, seed: int = 3) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    types = rng.choice(["view", "click", "purchase", "rating", "dwell"], n)
    values = np.where(types == "rating", rng.integers(1, 6, n), rng.uniform(0, 300, n))
    return pl.DataFrame(
        {
            "user_id": rng.integers(0, 20, n),
            "item_id": rng.integers(0, 30, n),
            "event_type": types,
            "value": np.where(types == "view", np.nan, values),
            "timestamp": rng.integers(0, 40, n) * DAY,
            "position": rng.integers(0, 10, n),
            "propensity": rng.uniform(0.05, 1.0, n),
            "label": rng.normal(2.0, 0.5, n) + (types == "purchase") * 3,
        }
    ).with_columns(pl.col("value").fill_nan(None))


def reference_design(log: pl.DataFrame, types: list[str]) -> np.ndarray:
    """X written out column by column, independently of the package."""
    kind, value = log["event_type"].to_numpy(), log["value"].to_numpy()
    ratings = value[kind == "rating"]
    low, high = ratings.min(), ratings.max()
    other = ~np.isin(kind, ["rating", "dwell"]) & ~np.isnan(value)
    day = log["timestamp"].to_numpy() / DAY
    columns = [(kind == name).astype(float) for name in types]
    columns.append(np.where(kind == "rating", 2 * (value - low) / (high - low) - 1, 0))
    columns.append(np.where(kind == "dwell", np.log(1 + value), 0))
    columns.append(np.where(other, np.log(1 + np.nan_to_num(value)), 0))
    columns.append(np.log(1 + log["position"].to_numpy()))
    columns.append(np.log(1 + day.max() - day))
    columns.append(np.log(1 / log["propensity"].to_numpy()))
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("ridge", [0.0, 2.5])
def test_coefficients_equal_weighted_least_squares(ridge):
    log = labelled_log()
    types = sorted(log["event_type"].unique())
    design, target = reference_design(log, types), log["label"].to_numpy()
    inverse = np.minimum(1 / log["propensity"].to_numpy(), 4.0)
    weights = inverse / inverse.mean()
    # Ridge with a free intercept: centre by the weighted means, then append sqrt(ridge) rows.
    centre, middle = np.average(design, axis=0, weights=weights), np.average(target, weights=weights)
    root = np.sqrt(weights)[:, None]
    rows = np.concatenate([(design - centre) * root, np.sqrt(ridge) * np.eye(design.shape[1])])
    wanted = np.concatenate([(target - middle) * root[:, 0], np.zeros(design.shape[1])])
    beta = np.linalg.lstsq(rows, wanted, rcond=None)[0]
    intercept = middle - centre @ beta

    model = LinearFeedback(label="label", ridge=ridge, propensity_clip=4.0)
    model.fit(log)
    found = model.coefficients()
    np.testing.assert_allclose(list(found.values()), [intercept, *beta], rtol=1e-7, atol=1e-9)
    assert list(found)[1 : 1 + len(types)] == [f"type:{name}" for name in types]

    relevance, weight = model.weigh(log)
    reference = intercept + design @ beta
    np.testing.assert_allclose(relevance, reference, rtol=1e-5)
    raw = np.maximum(reference, 0) * inverse
    np.testing.assert_allclose(weight, raw / raw.mean(), rtol=1e-5)
    assert relevance.dtype == weight.dtype == np.float32


def test_a_known_linear_law_is_recovered_exactly():
    log = labelled_log().with_columns(
        label=2.0 + 3.0 * (pl.col("event_type") == "purchase") - 0.5 * (1 + pl.col("position")).log()
    )
    model = LinearFeedback(label="label", ridge=0.0)
    model.fit(log)
    target, _ = model.weigh(log)
    np.testing.assert_allclose(target, log["label"].to_numpy(), rtol=1e-5)
    beta = model.coefficients()
    assert beta["type:purchase"] - beta["type:click"] == pytest.approx(3.0)
    assert beta["position"] == pytest.approx(-0.5)


def test_rows_without_a_label_are_weighed_but_not_fitted():
    log = labelled_log()
    half = log.with_columns(label=pl.when(pl.int_range(pl.len()) < 100).then("label"))
    model = LinearFeedback(label="label", ridge=0.0)
    model.fit(half)
    assert len(model.weigh(half)[0]) == 200
    # Had the other half counted as zeros, the fit would leave residuals of about 1 rather than the noise's.
    residual = half["label"].to_numpy()[:100] - model.weigh(half)[0][:100]
    assert np.square(residual).mean() < 0.3


@pytest.mark.parametrize("event_type", ["view", "click", "purchase", "rating", "dwell", "interaction"])
def test_one_event_type_is_the_implicit_protocol(event_type):
    log = pl.DataFrame({"event_type": [event_type] * 3, "value": [1.0, None, 5.0], "timestamp": [1, 2, 3]})
    model = LinearFeedback()
    model.fit(log)
    target, weight = model.weigh(log)
    assert target.tolist() == [model.weigh(log.head(1))[0][0]] * 3
    assert weight.tolist() == [1.0, 1.0, 1.0]
    assert target.tolist() == [1.0] * 3


def test_priors_order_the_event_types():
    log = pl.DataFrame({"event_type": ["view", "click", "cart", "purchase", "share"]})
    model = LinearFeedback()
    model.fit(log)
    target, weight = model.weigh(log)
    assert target.tolist() == [0.5, 1.0, 2.0, 4.0, 1.0]
    assert weight.mean() == pytest.approx(1.0)
    np.testing.assert_allclose(weight, target / target.mean(), rtol=1e-6)


def test_ratings_and_dwell_count_by_their_value():
    log = pl.DataFrame(
        {
            "event_type": ["rating", "rating", "rating", "dwell", "dwell", "click"],
            "value": [1.0, 3.0, 5.0, 0.0, 30.0, None],
        }
    )
    model = LinearFeedback()
    model.fit(log)
    np.testing.assert_allclose(model.weigh(log)[0], [0, 1, 2, 0, 1, 1], atol=1e-6)
    later = pl.DataFrame({"event_type": ["rating", "rating", "dwell"], "value": [9.0, None, None]})
    # Beyond the log's range is clipped; a missing value is the mean of its kind.
    seconds = np.log1p(30) / 2 / np.log1p(30)
    np.testing.assert_allclose(model.weigh(later)[0], [2, 1, seconds], atol=1e-6)


def test_a_type_that_comes_later_keeps_its_prior():
    model = LinearFeedback()
    model.fit(pl.DataFrame({"event_type": ["click", "click"]}))
    target, weight = model.weigh(pl.DataFrame({"event_type": ["purchase", "never seen"]}))
    assert target.tolist() == weight.tolist() == [4.0, 1.0]


def test_an_unseen_type_under_a_label_is_weighed_by_the_intercept():
    model = LinearFeedback(label="label")
    model.fit(labelled_log())
    new = pl.DataFrame({"event_type": ["never seen"]})
    beta, means = model.coefficients(), model.state()["means"]
    neutral = beta["intercept"] + sum(
        beta[name] * means[place] for place, name in [(3, "position"), (4, "recency"), (5, "propensity")]
    )
    assert model.weigh(new)[0][0] == pytest.approx(neutral, rel=1e-5)
    assert model.weigh(new)[1][0] > 0


def test_strict_names_the_unknown_type():
    model = LinearFeedback(strict=True)
    model.fit(pl.DataFrame({"event_type": ["click", "view"]}))
    with pytest.raises(UnknownIdError, match=r"\['purchase'\].*\['click', 'view'\]"):
        model.weigh(pl.DataFrame({"event_type": ["purchase"]}))


def test_inverse_propensity_is_clipped_and_normalised():
    log = pl.DataFrame({"event_type": ["click"] * 4, "propensity": [0.5, 0.01, 1.0, None]})
    model = LinearFeedback(propensity_clip=10)
    model.fit(log)
    np.testing.assert_allclose(model.weigh(log)[1], np.array([2, 10, 1, 1]) / 3.5, rtol=1e-6)
    off = LinearFeedback(propensity_clip=1)
    off.fit(log)
    assert off.weigh(log)[1].tolist() == [1.0] * 4


def test_propensity_weighting_corrects_a_biased_average():
    # Item B (worth 10) is shown a tenth as often as A (worth 1): with weights, the estimate is fair again.
    log = pl.DataFrame(
        {
            "event_type": ["click"] * 110,
            "propensity": [1.0] * 100 + [0.1] * 10,
            "label": [1.0] * 100 + [10.0] * 10,
        }
    )
    model = LinearFeedback(label="label", ridge=1e9)
    model.fit(log)
    assert model.coefficients()["intercept"] == pytest.approx(5.5, rel=1e-3)


def test_state_restores_the_same_bytes():
    log = labelled_log()
    model, copy = LinearFeedback(label="label"), LinearFeedback(label="label")
    model.fit(log)
    copy.restore(model.state())
    for left, right in zip(model.weigh(log), copy.weigh(log)):
        assert left.tobytes() == right.tobytes()
    assert isinstance(model, FeedbackModel)
    assert {array.dtype.kind for array in model.state().values()} <= set("uif")


@pytest.mark.parametrize("missing", ["types", "coefficients", "means", "scales", "newest"])
def test_a_broken_state_is_refused(missing):
    model = LinearFeedback(label="label")
    model.fit(labelled_log())
    state = model.state()
    with pytest.raises(ArtefactError):
        model.restore({name: array for name, array in state.items() if name != missing})
    with pytest.raises(ArtefactError):
        model.restore({**state, missing: state[missing][:-1]})
    model.weigh(labelled_log())  # still fitted


def test_an_empty_log_is_allowed():
    model = LinearFeedback()
    model.fit(pl.DataFrame(schema={"event_type": pl.String, "value": pl.Float64, "timestamp": pl.Int64}))
    target, weight = model.weigh(pl.DataFrame({"event_type": ["click"]}))
    assert (target.tolist(), weight.tolist()) == ([1.0], [1.0])
    empty = model.weigh(pl.DataFrame(schema={"event_type": pl.String}))
    assert empty[0].shape == empty[1].shape == (0,)


@pytest.mark.parametrize(
    ("column", "values", "error", "words"),
    [
        ("value", [1.0, float("nan")], DataError, "row 1: value is nan"),
        ("value", [1.0, float("inf")], DataError, "row 1: value is inf"),
        ("value", ["a", "b"], ColumnError, "column 'value' is String"),
        ("value", [1.0, -2.0], DataError, "row 1: value of a dwell event is -2.0"),
        ("position", [0, -1], DataError, "row 1: position is -1"),
        ("propensity", [0.0, 0.5], DataError, "row 0: propensity is 0.0"),
        ("propensity", [0.5, 1.5], DataError, "row 1: propensity is 1.5"),
        ("event_type", ["a", None], DataError, "row 1: event_type is null"),
        ("label", [None, None], ColumnError, "label column 'label' is Null"),
        ("label", [None, float("nan")], DataError, "row 1: label 'label' isn't finite"),
        ("label", [0.0, 0.0], DataError, "no event has a positive relevance"),
        ("labels", [0.0, 0.0], ColumnError, "Did you mean label='labels'"),
    ],
)
def test_bad_columns_are_named(column, values, error, words):
    log = pl.DataFrame({"event_type": ["dwell", "dwell"], column: pl.Series(values)})
    model = LinearFeedback(label="label" if "label" in column else None)
    with pytest.raises(error, match=words):
        model.fit(log)
    with pytest.raises(NotFittedError):
        model.weigh(log)


@pytest.mark.parametrize(
    "arguments", [{"ridge": -1}, {"ridge": float("nan")}, {"propensity_clip": 0.5}, {"priors": {"view": -1}}]
)
def test_bad_arguments_are_refused(arguments):
    with pytest.raises(ArgumentError, match=next(iter(arguments))):
        LinearFeedback(**arguments)
