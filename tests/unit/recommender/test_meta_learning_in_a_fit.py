"""What a fit learns from episodes: on whom, and when it ships."""

import numpy as np
import pytest

import metarec_sdk as mr
from metarec_sdk.adapters import ClosedForm
from metarec_sdk.heads.natpar import Natpar
from metarec_sdk.recommender.episode_scores import MEMBERS
from metarec_sdk.types import MetaFit


@pytest.fixture(scope="module")
def log(events):
    return mr.read_interactions(events, time="ts")


def test_the_head_is_fitted_without_the_people_who_stop_its_meta_learner(log, monkeypatch, tmp_path):
    fitted_users, stopped_by, learned_from = [], [], []
    fit = Natpar.fit

    def counted(self, training, rng, *rest):
        fitted_users.append(len(training))
        return fit(self, training, rng, *rest)

    def learned(self, episodes, memberships, *, head, validation, **rest):
        stopped_by.append(set(validation[0].users.tolist()))
        learned_from.append(set(episodes.users.tolist()))
        return MetaFit({}, {"prior_variance": head.state()["prior_variance"] * 2}, [], {})

    monkeypatch.setattr(Natpar, "fit", counted)
    monkeypatch.setattr(ClosedForm, "fit", learned)
    monkeypatch.setattr("metarec_sdk.recommender.worth.LearnedWorth.kept", True)
    mr.Recommender(backbone="factors", clusterer="none", home=tmp_path).fit(log)
    n_users = log.n_users
    assert fitted_users[1] == n_users - n_users // 10
    assert 0 < len(stopped_by[1]) <= n_users // 10
    assert not stopped_by[1] & learned_from[1]


def test_what_does_not_make_the_stack_better_is_not_learned_again(log, monkeypatch, tmp_path):
    calls = []

    def useless(self, episodes, memberships, *, head, **rest):
        calls.append(len(episodes))
        table = np.random.default_rng(0).standard_normal(head.item_matrix().shape).astype(np.float32)
        return MetaFit({}, {"psi_out": table}, [], {"head/after": 1.0})

    monkeypatch.setattr(ClosedForm, "fit", useless)
    report = mr.Recommender(backbone="factors", clusterer="none", home=tmp_path).fit(log)
    assert len(calls) == 1
    assert not report.learned.kept
    assert report.learned.gain < 0
    assert report.meta_losses == {"head/after": 1.0}
    assert [row.name for row in report.members] == list(MEMBERS)
    assert "meta-learning: dropped" in str(report)
