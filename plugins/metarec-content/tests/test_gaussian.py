"""Posteriors against densities written out in float64."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import multivariate_normal

from metarec_content.gaussian import FLOOR
from metarec_sdk.errors import ArgumentError, ColumnError, DataError


@pytest.fixture
def items(rng):
    """60 items of three classes, the last 10 of unknown class."""
    classes = np.arange(60) % 3
    centres = np.array([[0.0, 0.0, 5.0], [3.0, 0.0, 5.0], [0.0, 4.0, 9.0]])
    numbers = centres[classes] + rng.normal(0, [1, 2, 1], (60, 3))
    labels = [None if row >= 50 or row in (3, 6) else "abc"[each] for row, each in enumerate(classes)]
    return pl.DataFrame(
        {"item_id": range(60), "kind": labels, "x": numbers[:, 0], "y": numbers[:, 1], "z": numbers[:, 2]}
    )


def reference(items, covariance, shrinkage):
    """f64[n, c] of log p(c | x), and f64[c] of π_c: Bayes' rule over densities of scipy."""
    x = items.select("x", "y", "z").to_numpy()
    x = (x - x.mean(0)) / x.std(0)
    labels = items["kind"].fill_null("").to_numpy()
    groups = [x[labels == each] for each in "abc"]
    shares = np.array([len(group) for group in groups]) / sum(map(len, groups))

    def shrunk(group):
        own = np.cov(group.T, bias=True)
        return (1 - shrinkage) * own + shrinkage * np.trace(own) / 3 * np.eye(3)

    own = [shrunk(group) for group in groups]
    if covariance == "shared":
        own = [sum(share * each for share, each in zip(shares, own))] * 3
    if covariance == "diagonal":
        known = np.concatenate(groups)
        own = [np.diag(group.var(0) + shrinkage * known.var(0).max()) for group in groups]
    joint = np.stack(
        [
            np.log(share) + multivariate_normal(group.mean(0), each).logpdf(x)
            for share, group, each in zip(shares, groups, own)
        ],
        axis=1,
    )
    return joint - np.logaddexp.reduce(joint, axis=1, keepdims=True), shares


@pytest.mark.parametrize("covariance", ["shared", "own", "diagonal"])
@pytest.mark.parametrize("shrinkage", [0.05, 0.3])
def test_features_are_bayes_rule(encoder, items, covariance, shrinkage):
    chosen = {"label": "kind", "covariance": covariance, "shrinkage": shrinkage}
    expected, shares = reference(items, covariance, shrinkage)
    posterior = encoder("gaussian", **chosen).encode(items)
    np.testing.assert_allclose(posterior, np.exp(expected), rtol=1e-4, atol=1e-6)
    ratio = encoder("gaussian", **chosen, feature="log-ratio").encode(items)
    # scikit-learn's posteriors under 1e-16 are 0 or rounded; the tail is compared down to there
    np.testing.assert_allclose(
        np.maximum(ratio, -15), np.maximum(expected - np.log(shares), -15), rtol=1e-3, atol=1e-3
    )
    assert ratio.min() >= FLOOR


def test_items_of_unknown_class_get_that_of_their_numbers(encoder, items):
    found = encoder("gaussian", label="kind", covariance="own").encode(items)
    assert (found[50:].argmax(axis=1) == np.arange(50, 60) % 3).mean() >= 0.7
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-5)


def test_unknown_numbers_are_the_mean_and_none_at_all_is_0(encoder, items):
    some = items.with_columns(x=pl.when(pl.col("item_id") == 4).then(None).otherwise("x"))
    mean = items.with_columns(x=pl.when(pl.col("item_id") == 4).then(some["x"].mean()).otherwise("x"))
    empty = items.with_columns(
        pl.when(pl.col("item_id") == 4).then(None).otherwise(name).alias(name) for name in "xyz"
    )
    encode = encoder("gaussian", label="kind").encode
    np.testing.assert_allclose(encode(some)[4], encode(mean)[4], atol=0.02)
    found = encode(empty)
    assert not found[4].any()
    assert found[5].any()


@pytest.mark.parametrize("covariance", ["shared", "own", "diagonal"])
def test_a_class_of_few_a_constant_and_an_outlier_stay_finite(encoder, items, covariance):
    odd = items.with_columns(
        kind=pl.when(pl.col("item_id") < 2).then(pl.lit("rare")).otherwise("kind"),
        constant=pl.lit(3.0),
        of_class=pl.when(pl.col("kind") == "a").then(1.0).otherwise(pl.col("x")),
        z=pl.when(pl.col("item_id") == 20).then(1e4).otherwise("z"),
    )
    for feature in ("posterior", "log-ratio"):
        found = encoder("gaussian", label="kind", covariance=covariance, feature=feature).encode(odd)
        assert found.shape == (60, 3)
        assert np.isfinite(found).all()


def test_a_class_without_a_covariance_of_its_own_is_refused(encoder, items):
    flat = items.with_columns(x=pl.when(pl.col("kind") == "a").then(1.0).otherwise("x"))
    with pytest.raises(DataError, match=r"class of 'kind' .*use covariance='shared'"):
        encoder("gaussian", label="kind", covariance="own", shrinkage=0).encode(flat)


def test_one_class_tells_nothing(encoder, items):
    assert not encoder("gaussian", label="kind").encode(items.with_columns(kind=pl.lit("a"))).any()
    assert not encoder("gaussian", label="kind", min_items=40).encode(items).any()


@pytest.mark.parametrize("dtype", [pl.Int64, pl.Boolean])
def test_classes_may_be_numbers_or_booleans(encoder, items, dtype):
    coded = items.with_columns(kind=(pl.col("kind") == "a").cast(dtype))
    assert encoder("gaussian", label="kind").encode(coded).shape == (60, 2)


def test_wrong_arguments_are_named(encoder, items):
    with pytest.raises(ColumnError, match=r"'kid'.*label='kind'"):
        encoder("gaussian", label="kid").encode(items)
    with pytest.raises(ColumnError, match="label 'x' is Float64"):
        encoder("gaussian", label="x").encode(items)
    with pytest.raises(ColumnError, match="'kind' is String, wanted numbers"):
        encoder("gaussian", label="kind", columns=["kind"]).encode(items)
    for wrong in ({"covariance": "full"}, {"shrinkage": 2.0}, {"feature": "both"}, {"min_items": 1}):
        with pytest.raises(ArgumentError, match=next(iter(wrong))):
            encoder("gaussian", **wrong)
