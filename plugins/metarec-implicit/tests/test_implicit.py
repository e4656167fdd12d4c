"""The wrapped models against the library itself."""

import re
from dataclasses import replace
from pathlib import Path

import implicit
import numpy as np
import pytest
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from metarec_implicit import models
from metarec_implicit.models import Als, Bpr, Lmf
from metarec_sdk import PluginManager
from metarec_sdk.errors import ArgumentError, ArtefactError, NotFittedError
from metarec_sdk.types import Histories, TrainingLog

N_ITEMS = 60
FEW = {"factors": 8, "iterations": 40}
LONGER = {"factors": 8, "iterations": 200, "learning_rate": 0.05}  # BPR's default is for logs of millions


@pytest.fixture(scope="module")
def log():
    """200 users of two tastes: mostly items of the lower or of the upper half, no item twice."""
    rng = np.random.default_rng(0)
    rows: list[list[int]] = []
    for user in range(200):
        share = np.where((np.arange(N_ITEMS) < N_ITEMS // 2) == (user % 2 == 0), 9.0, 1.0)
        drawn = rng.choice(N_ITEMS, int(rng.integers(5, 15)), replace=False, p=share / share.sum())
        rows.append(drawn.tolist())
    histories = Histories.from_lists(rows)
    weights = rng.uniform(0.5, 2.0, len(histories.items)).astype(np.float32)
    return TrainingLog(replace(histories, weights=weights), N_ITEMS)


def matrix(histories):
    return csr_matrix((histories.weights, histories.items, histories.offsets), (len(histories), N_ITEMS))


def fitted(kind, log, seed=3):
    backbone = kind(**(LONGER if kind is Bpr else FEW))
    backbone.fit(log, np.random.default_rng(seed))
    return backbone


def test_als_ranks_as_the_library_does(log):
    backbone = fitted(Als, log)
    seed = int(np.random.default_rng(3).integers(2**31 - 1))
    with threadpool_limits(limits=1):
        model = implicit.als.AlternatingLeastSquares(**FEW, num_threads=1, random_state=seed)
        model.fit(matrix(log.histories), show_progress=False)
    expected, scores = model.recommend(
        np.arange(len(log)),
        matrix(log.histories),
        N=10,
        recalculate_user=True,
        filter_already_liked_items=False,
    )
    found = backbone.encode(log.histories) @ backbone.item_matrix().T
    np.testing.assert_array_equal(np.argsort(-found, axis=1, kind="stable")[:, :10], expected)
    np.testing.assert_allclose(-np.sort(-found, axis=1)[:, :10], scores, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", [Bpr, Lmf])
def test_the_linear_map_comes_near_the_users_of_the_library(kind, log):
    backbone = fitted(kind, log)
    seed = int(np.random.default_rng(3).integers(2**31 - 1))
    model = kind.model(**backbone.params, random_state=seed)
    model.fit(matrix(log.histories), show_progress=False)
    np.testing.assert_array_equal(backbone.item_matrix(), model.item_factors)
    expected = model.user_factors @ model.item_factors.T
    found = backbone.encode(log.histories) @ backbone.item_matrix().T
    alike = [np.corrcoef(one, other)[0, 1] for one, other in zip(found, expected)]
    others = [np.corrcoef(one, other)[0, 1] for one, other in zip(found, np.roll(expected, 1, axis=0))]
    assert np.mean(alike) > 0.6 > np.mean(others)


@pytest.mark.parametrize("kind", [Als, Bpr, Lmf])
def test_another_user_gets_items_of_the_own_taste(kind, log):
    backbone = fitted(kind, log)
    histories = Histories.from_lists([[1, 4, 9], [40, 45, 58]])
    scores = backbone.encode(histories) @ backbone.item_matrix().T
    low, high = scores[:, : N_ITEMS // 2].mean(1), scores[:, N_ITEMS // 2 :].mean(1)
    assert low[0] > high[0]
    assert high[1] > low[1]


@pytest.mark.parametrize("kind", [Als, Bpr, Lmf])
def test_same_seed_same_bytes_also_after_saving(kind, log):
    one, two, other = fitted(kind, log), fitted(kind, log), fitted(kind, log, seed=4)
    restored = kind(**FEW)
    restored.restore(one.state())
    for again in (two, restored):
        np.testing.assert_array_equal(again.encode(log.histories), one.encode(log.histories))
    assert not np.array_equal(other.item_matrix(), one.item_matrix())


@pytest.mark.parametrize("kind", [Als, Bpr, Lmf])
def test_no_history_and_no_user(kind, log):
    backbone = fitted(kind, log)
    empty = backbone.encode(Histories.from_lists([[]]))
    assert empty.shape == (1, backbone.item_matrix().shape[1])
    assert np.isfinite(empty).all()
    assert len(backbone.encode(Histories.from_lists([]))) == 0


def test_before_the_fit_and_with_another_state():
    with pytest.raises(NotFittedError):
        Als().item_matrix()
    with pytest.raises(ArtefactError, match="items"):
        Bpr().restore({"factors": np.zeros(3)})


@pytest.mark.parametrize("kind", [Als, Bpr, Lmf])
def test_a_parameter_that_the_library_does_not_have(kind):
    with pytest.raises(ArgumentError, match="factor_count"):
        kind(factor_count=8)


def test_it_is_offered_as_a_plugin():
    plugins = PluginManager(enabled=["implicit"], strict=True)
    assert plugins.create("backbone", "implicit/als", {"factors": 4}).params["factors"] == 4
    names = {record.name for record in plugins.components() if not record.builtin}
    assert {"implicit/als", "implicit/bpr", "implicit/lmf"} <= names


def test_the_readme_tells_the_number_of_lines():
    source = Path(models.__file__).read_text(encoding="utf-8")
    lines = [line for line in re.sub(r'""".*?"""', "", source, flags=re.DOTALL).splitlines() if line.strip()]
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    assert f"of {len(lines)} lines without docstrings and blank lines" in readme
    assert len(lines) < 60
