"""TF-IDF reduced by SVD, against scikit-learn's own steps."""

import numpy as np
import polars as pl
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from metarec_sdk.errors import ArgumentError, ColumnError


@pytest.fixture
def items():
    return pl.DataFrame(
        {
            "item_id": [1, 2, 3, 4, 5, 6],
            "title": ["Red shoe", "blue shoe", "warm hat", "a warm hät", None, "!"],
            "tags": [["leather"], ["leather", "sport"], ["wool"], ["wool", None], [], None],
            "price": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        }
    )


def test_at_full_rank_cosines_are_those_of_tf_idf(encoder, items):
    found = encoder("text", width=32).encode(items)
    assert found.shape == (6, 32)
    texts = ["Red shoe. leather", "blue shoe. leather sport", "warm hat. wool", "a warm hat. wool"]
    weighted = TfidfVectorizer(sublinear_tf=True).fit_transform(texts).toarray()
    np.testing.assert_allclose(found[:4] @ found[:4].T / 32, weighted @ weighted.T, atol=1e-5)
    assert not found[4:].any()


def test_a_smaller_width_keeps_the_groups_apart(encoder, items):
    found = encoder("text", width=2).encode(items)
    alike = found @ found.T / 2
    assert alike[0, 1] > 0.9
    assert alike[2, 3] > 0.9
    assert abs(alike[0, 2]) < 0.1
    np.testing.assert_allclose(np.linalg.norm(found[:4], axis=1), np.sqrt(2), rtol=1e-5)


def test_columns_are_chosen(encoder, items):
    title = encoder("text", columns=["title"], width=8).encode(items)
    tags = encoder("text", columns=["tags"], width=8).encode(items)
    assert title[0] @ title[1] / 8 < 0.9
    np.testing.assert_allclose(tags[2], tags[3], atol=1e-5)


@pytest.mark.parametrize("name", ["text", "sentences"])
def test_wrong_columns_are_named(encoder, items, name):
    with pytest.raises(ColumnError, match=r"'titel'.*title"):
        encoder(name, columns=["titel"]).encode(items)
    with pytest.raises(ColumnError, match="'price' is Float64, wanted texts"):
        encoder(name, columns=["price"]).encode(items)


def test_width_is_checked(encoder):
    with pytest.raises(ArgumentError, match="width must be ≥ 1, got 0"):
        encoder("text", width=0)


def test_the_order_of_the_items_changes_no_similarity(encoder, items):
    found = encoder("text", width=4).encode(items)
    again = encoder("text", width=4).encode(items.reverse())[::-1]
    np.testing.assert_allclose(found @ found.T, again @ again.T, atol=1e-4)
