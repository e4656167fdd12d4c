"""Popularity forms, cold start, users since a generation, vectors of new items."""

import numpy as np
import polars as pl
import pytest

from metarec_sdk.data import Vocabulary
from metarec_sdk.data.table_content import TableContent
from metarec_sdk.errors import UnknownIdError
from metarec_sdk.recommender.cold_start import BY_SEGMENT, SEGMENT, START, ColdStart, segment_bias
from metarec_sdk.recommender.new_items import catalogue, new_item_vectors
from metarec_sdk.recommender.popularity import BANDS, PopularityForms, band_of
from metarec_sdk.recommender.stack import merged
from metarec_sdk.recommender.users import Users
from metarec_sdk.recommender.validation import training_episodes, validation_episodes
from metarec_sdk.types import Histories, Memberships, TrainingLog

DAY = 86_400_000_000


def test_bands_start_where_they_say():
    assert band_of(np.array([0, 1, 2, 3, 4, 39, 40, 1000])).tolist() == [-1, 0, 1, 1, 2, 4, 5, 5]
    assert len(BANDS) == 6


def test_popularity_forms_count_events_of_their_window():
    histories = Histories(
        np.array([0, 0, 0, 1], np.int32),
        np.array([0, 1, 2, 4]),
        np.ones(4, np.float32),
        np.array([0, 0, 0, 100 * DAY]),
    )
    forms = PopularityForms.fit(histories, 3)
    table = dict(zip(forms.names, np.exp(forms.table).T))
    assert table["all-time"] == pytest.approx(np.array([4, 2, 1]) / 7)
    assert table["last 3 days"] == pytest.approx((np.array([0, 1, 0]) + 50 * np.array([4, 2, 1]) / 7) / 51)
    assert table["positions 1-10"] == pytest.approx((np.array([0, 1, 0]) + 50 * np.array([4, 2, 1]) / 7) / 51)
    assert np.exp(forms.table).sum(0) == pytest.approx(1.0)
    assert forms.column_from_end("all-time") == len(forms.names)


def test_segment_bias_moves_popularity_towards_the_segment():
    rows = [[0]] * 300 + [[1]] * 300
    histories = Histories.from_lists(rows)
    forms = PopularityForms.fit(histories, 2)
    bias = segment_bias(histories, np.repeat([0, 1], 300).astype(np.int32), 2, forms)
    within = np.exp(forms.table[:, 0] + bias)
    assert within.sum(1) == pytest.approx(1.0, rel=1e-5)
    assert within[0, 0] == pytest.approx((300 + 200 * 0.5) / 500)
    cold = ColdStart(SEGMENT, 1, bias)
    members = Memberships(np.array([[0, -1], [1, -1]], np.int32), np.array([[1, 0], [1, 0]], np.float32))
    assert cold.bias(np.array([0, 3]), members)["tasks"].tolist() == [0, -1]
    assert cold.bias(np.array([2, 3]), members) == {}


def test_a_start_without_history_asks_the_columns_of_its_source():
    forms = PopularityForms.fit(Histories.from_lists([[0], [1], [1, 0]]), 2)
    h, groups = np.ones((1, 2), np.float32), np.array([[0.25, 0.75]], np.float32)
    n = len(forms.names)
    none = np.zeros((0, 2), np.float32)
    start = ColdStart.of(START, forms, none).query(h, groups, n)
    assert start.tolist() == [[1, 1, 0, 0, *[0] * n]]
    people = ColdStart.of("people", forms, none).query(h, groups, n)
    assert people.tolist() == [[0, 0, 0, 0, *[0] * (n - 1), 1]]
    moved = ColdStart.of("people" + BY_SEGMENT, forms, none).query(h, groups, n)
    assert moved.tolist() == [[0, 0, 0.25, 0.75, -1, *[0] * (n - 2), 1]]
    # The columns of groups hold log p_c = lift + the all-time form, which is what the -1 takes away again.
    lift = np.array([[0.5, -0.5], [-0.25, 0.25]], np.float32)
    matrix = np.concatenate([np.zeros((2, 2)), lift + forms.table[:, :1], forms.table], axis=1)
    expected = forms.table[:, -1] + lift @ groups[0]
    np.testing.assert_allclose(matrix @ moved[0], expected, rtol=1e-5)


def users() -> Users:
    base = Histories(
        np.array([4, 5], np.int32), np.array([0, 2, 2]), np.ones(2, np.float32), np.array([10, 20])
    )
    return Users(Vocabulary(pl.Series(["a", "b"])), base, np.ones((2, 1), np.float32), None)


def test_observed_events_follow_the_published_history():
    known = users()
    known.add("a", 7, 0.5, 5)
    known.add("new", 8, 2.0, 30)
    rows = known.rows(["new", "a", "b"])
    assert rows.tolist() == [-1, 0, 1]
    histories = known.histories(["new", "a", "b"], rows)
    assert [row.tolist() for row in histories] == [[8], [4, 5, 7], []]
    assert histories.weights.tolist() == [2.0, 1.0, 1.0, 0.5]
    # A late delivery doesn't break the order of time.
    assert histories.timestamps.tolist() == [30, 10, 20, 20]
    assert known.task_inputs(rows)[0].tolist() == [[0], [1], [1]]


def test_an_unknown_user_is_named():
    with pytest.raises(UnknownIdError, match=r"user 'nobody' is not known.*history="):
        users().rows(["a", "nobody"])


def test_new_items_start_from_their_company_or_from_content():
    vectors = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]], np.float32)
    items = Vocabulary(pl.Series(["a", "b", "c", "new"]))
    histories = Histories.from_lists([[0, 3]] * 90 + [[1], [2]])
    by_company = new_item_vectors(vectors, histories, items, None, TableContent())
    assert by_company.shape == (1, 2)
    assert by_company[0] @ vectors[0] > 0.85
    table = pl.DataFrame({"item_id": ["a", "b", "c", "new"], "kind": [["x"], ["y"], ["y"], ["y"]]})
    features = TableContent().encode(catalogue(items, table))
    assert features.tolist() == [[1, 0], [0, 1], [0, 1], [0, 1]]
    by_content = new_item_vectors(vectors, Histories.from_lists([[0, 3]]), items, table, TableContent())
    assert by_content[0] @ vectors[1] > by_content[0] @ vectors[0]


def test_extra_boosts_follow_each_users_own():
    own = np.array([0, 1, 1]), np.array([5], np.int32), np.array([2.0], np.float32)
    extra = np.array([0, 2]), np.array([1, 3], np.int32), np.array([0.5, -1.0], np.float32)
    offsets, items, values = merged(own, extra, 2)
    assert offsets.tolist() == [0, 3, 5]
    assert items.tolist() == [5, 1, 3, 1, 3]
    assert values.tolist() == [2.0, 0.5, -1.0, 0.5, -1.0]


def test_training_episodes_of_sets_come_in_a_new_order_each_time():
    rows = Histories.from_lists([list(range(12))] * 50)
    ordered = training_episodes(TrainingLog(rows, 12), np.random.default_rng(0))
    assert all(np.array_equal(support, np.arange(len(support))) for support in ordered.support)
    mixed = training_episodes(TrainingLog(rows, 12, ordered=False), np.random.default_rng(0))
    assert len({tuple(query) for query in mixed.query}) > len(mixed) // 2
    for support, query in zip(mixed.support, mixed.query):
        assert len(np.union1d(support, query)) == len(support) + len(query)


def test_a_size_that_few_reach_is_judged_on_those_who_reach_it():
    lengths = [4] * 60 + [12] * 25 + [22] * 5
    rng = np.random.default_rng(0)
    histories = Histories.from_lists([rng.permutation(40)[:length].tolist() for length in lengths])
    drawn = validation_episodes(TrainingLog(histories, 40), _nobody(), _nobody(), 40, rng)
    people_at = {
        k: set(drawn.few_shot.users[drawn.few_shot.support.lengths == k].tolist()) for k in (1, 3, 5, 10, 20)
    }
    assert people_at == {
        1: set(range(90)),  # everybody at the sizes that half of them reach
        3: set(range(90)),
        5: set(range(60, 90)),
        10: set(range(60, 90)),
        20: set(),  # five people can't decide
    }


def _nobody() -> Histories:
    return Histories.from_lists([])
