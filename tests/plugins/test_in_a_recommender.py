"""Components of every serving kind inside a real recommender: chosen, failing, saved, side by side."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import metarec_sdk as mr
from metarec_sdk.errors import PluginError
from metarec_sdk.plugins import KINDS

LIGHT = {"backbone": "factors", "meta_learner": "none", "clusterer": "none", "seed": 3}


@pytest.fixture(scope="module")
def log(events):
    return mr.read_interactions(events, time="ts")


@pytest.fixture(scope="module")
def table(events):
    items = [f"i{place}" for place in range(1, 61)]
    return pl.DataFrame({"item_id": items, "kind": [f"k{place // 15}" for place in range(60)]})


@pytest.fixture(scope="module")
def plain(log, table):
    rec = mr.Recommender(**LIGHT)
    rec.fit(log, items=table)
    return rec


def plugin_of(kind: str, target):
    """A plugin with one component ``it``."""

    class Acme:
        pass

    def register_it(register):
        register("it", target)

    register_it.__name__ = KINDS[kind].hook
    acme = Acme()
    setattr(acme, KINDS[kind].hook, mr.hookimpl(register_it))
    return {"acme": acme}


class Backwards:
    def fit(self, items, vectors):
        self.n = len(items)

    def rescore(self, histories, candidates, k):
        return -candidates.scores


class NoOddItems:
    def fit(self, items, vectors):
        self.odd = (items["item_id"].str.slice(1).cast(pl.Int64) % 2 == 1).to_numpy()

    def forbidden(self, histories, candidates):
        return self.odd[candidates.items]


class Broken:
    def fit(self, items, vectors):
        pass

    def rescore(self, histories, candidates, k):
        raise RuntimeError("no scores today")

    def forbidden(self, histories, candidates):
        raise RuntimeError("no rules today")


def test_a_reranker_reorders_candidates_and_a_rule_is_never_broken(log, table, plain, tmp_path):
    plugins = plugin_of("reranker", Backwards) | {"norm": plugin_of("rule", NoOddItems)["acme"]}
    rec = mr.Recommender(**LIGHT, reranker="acme/it", rule="norm/it", plugins=plugins)
    rec.fit(log, items=table)
    assert rec.recommend("u1", k=5)["item_id"].to_list() != plain.recommend("u1", k=5)["item_id"].to_list()
    everything = rec.recommend(["u1", "u2"], k=60)
    assert all(int(item[1:]) % 2 == 0 for item in everything["item_id"])
    seen = set(log.frame.filter(pl.col("user_id") == "u1")["item_id"])
    shown = set(everything.filter(pl.col("user_id") == "u1")["item_id"])
    assert not seen & shown
    even = {f"i{number}" for number in range(2, 61, 2)}
    assert shown == even - seen  # candidates are looked at down to the last
    rec.save(tmp_path / "model")
    again = mr.load(tmp_path / "model", plugins=plugins)
    assert again.recommend(["u1", "u2"], k=60).equals(everything)


def test_a_failing_reranker_leaves_the_exact_order_and_is_counted(log, table, plain):
    rec = mr.Recommender(**LIGHT, reranker="acme/it", plugins=plugin_of("reranker", Broken))
    rec.fit(log, items=table)
    assert rec.recommend("u1", k=5).equals(plain.recommend("u1", k=5))
    (record,) = [record for record in rec.plugins.records if record.name == "acme"]
    assert record.failures == 1
    assert "no scores today" in record.last_failure


def test_a_failing_rule_shows_nothing_unchecked(log, table):
    rec = mr.Recommender(**LIGHT, rule="acme/it", plugins=plugin_of("rule", Broken))
    rec.fit(log, items=table)
    with pytest.raises(RuntimeError, match="no rules today") as caught:
        rec.recommend("u1")
    assert "plugin acme" in caught.value.__notes__[0]


def test_the_built_in_mmr_and_quota_serve(log, table):
    rec = mr.Recommender(**LIGHT, reranker="mmr", rule="quota", params={"rule": {"column": "kind"}})
    rec.fit(log, items=table)
    kinds = rec.recommend("u1", k=10).join(table, on="item_id")["kind"].value_counts()["count"]
    assert kinds.to_list() == [2, 2, 2, 2]


def flaky(home: str, method: str):
    """A built-in whose method works until ``broken`` is set."""
    module, _, name = home.partition(":")
    base = getattr(__import__(module, fromlist=[name]), name)

    class Flaky(base):
        broken = False

    def call(self, *arguments, **named):
        if Flaky.broken:
            raise RuntimeError("out of order")
        return getattr(base, method)(self, *arguments, **named)

    setattr(Flaky, method, call)
    return Flaky


@pytest.mark.parametrize(
    ("kind", "home", "method"),
    [
        ("backbone", "metarec_sdk.backbones.factors:Factors", "encode"),
        ("head", "metarec_sdk.heads.natpar:Natpar", "query"),
        ("item_item", "metarec_sdk.heads.item_knn:ItemKNN", "boosts"),
    ],
)
def test_a_member_that_fails_while_serving_leaves_the_answer_to_the_others(
    log, table, plain, kind, home, method
):
    target = flaky(home, method)
    rec = mr.Recommender(**LIGHT | {kind: "acme/it"}, plugins=plugin_of(kind, target))
    rec.fit(log, items=table)
    assert rec.recommend("u1", k=5).equals(plain.recommend("u1", k=5))
    target.broken = True
    answer = rec.recommend(history=[["i1", "i2"], []], k=5)
    assert answer.height == 10
    assert answer["score"].is_finite().all()
    (record,) = [record for record in rec.plugins.records if record.name == "acme"]
    assert record.failures > 0
    target.broken = False


def test_a_plugin_that_fails_at_fit_leaves_what_was_published(log, plain):
    target = flaky("metarec_sdk.backbones.factors:Factors", "fit")
    rec = mr.Recommender(**LIGHT | {"backbone": "acme/it"}, plugins=plugin_of("backbone", target))
    rec.fit(log)
    before, generation = rec.recommend("u1", k=5), rec.generation
    target.broken = True
    with pytest.raises(RuntimeError, match="out of order") as caught:
        rec.refit()
    assert "backbone 'acme/it', fit()" in caught.value.__notes__[0]
    assert rec.generation == generation
    assert rec.recommend("u1", k=5).equals(before)
    target.broken = False


def test_installing_changes_nothing_and_two_recommenders_keep_their_own(log, table, plain):
    one = mr.Recommender(**LIGHT, plugins=plugin_of("reranker", Backwards))
    two = mr.Recommender(**LIGHT, plugins=plugin_of("rule", NoOddItems), rule="acme/it")
    one.fit(log, items=table)
    two.fit(log)
    assert one.recommend("u1", k=5).equals(plain.recommend("u1", k=5))
    assert {record.kind for record in one.plugins.components() if record.plugin == "acme"} == {"reranker"}
    assert {record.kind for record in two.plugins.components() if record.plugin == "acme"} == {"rule"}


def test_an_item_item_member_that_cannot_be_asked_for_a_direction(log):
    from metarec_sdk.heads.item_knn import ItemKNN

    class Plain(ItemKNN):
        def __init__(self) -> None:
            super().__init__(directed=True)

    rec = mr.Recommender(**LIGHT, item_item="acme/it", plugins=plugin_of("item_item", Plain))
    report = rec.fit(log)
    assert set(report.item_item) == {"whole history", "last 5"}


def test_behaviour_reaches_the_clusterer_and_content_the_new_item_and_the_backbone(log, table):
    from metarec_sdk.backbones.factors import Factors

    seen = {}

    class Behaviour:
        def fit(self, events, rng):
            pass

        def features(self, events):
            users = events["user_id"].n_unique()
            return np.full((users, 3), 0.25, np.float32)

        def log_likelihood(self, events):
            return np.zeros(events["user_id"].n_unique())

        def state(self):
            return {}

        def restore(self, state):
            pass

    class Clusters:
        column = None

        def fit(self, x, rng):
            seen["x"] = x[:, -3:].copy()

        def assign(self, x):
            return (np.arange(len(x)) % 2).astype(np.int32)

        def state(self):
            return {}

        def restore(self, state):
            pass

    class Content:
        def encode(self, items):
            seen["items"] = items.columns
            return np.eye(len(items), 5, dtype=np.float32)

    class Reads(Factors):
        uses_content = True

        def fit(self, log, rng, progress=lambda *_: None):
            seen["content"] = log.item_features
            super().fit(log, rng, progress)

    class Acme:
        @mr.hookimpl
        def metarec_register_behaviour_models(self, register):
            register("it", Behaviour)

        @mr.hookimpl
        def metarec_register_clusterers(self, register):
            register("it", Clusters)

        @mr.hookimpl
        def metarec_register_content_encoders(self, register):
            register("it", Content)

        @mr.hookimpl
        def metarec_register_backbones(self, register):
            register("it", Reads)

    names = dict.fromkeys(("behaviour", "clusterer", "content", "backbone"), "acme/it")
    rec = mr.Recommender(**LIGHT | names, plugins={"acme": Acme()})
    rec.fit(log, items=table)
    assert seen["x"].shape[1] == 3
    assert (seen["x"] == 0.25).all()
    assert seen["content"].shape == (60, 5)
    assert seen["items"] == ["item_id", "kind"]


def test_a_model_names_the_distribution_of_a_missing_plugin(log, tmp_path, install):
    install(
        "acme",
        """
        import metarec_sdk
        from metarec_sdk.ranking.mmr import MMR

        @metarec_sdk.hookimpl
        def metarec_register_rerankers(register):
            register("mmr", MMR)
        """,
        distribution="acme-suite",
    )
    rec = mr.Recommender(**LIGHT, reranker="acme/mmr")
    rec.fit(log)
    rec.save(tmp_path / "model")
    import sys

    sys.path[:] = [entry for entry in sys.path if "acme-suite" not in entry]
    with pytest.raises(PluginError, match=r"pip install acme-suite$"):
        mr.load(tmp_path / "model")
