import numpy as np
import pytest

from metarec_sdk.errors import ArgumentError, DataError
from metarec_sdk.tasks import choose_n_tasks

EPISODES = 400


def losses(**means):
    """Losses with a large spread between episodes and a small one between candidates."""
    rng = np.random.default_rng(0)
    shared = rng.normal(6, 2, EPISODES)
    return {int(name[1:]): shared + mean + rng.normal(0, 0.1, EPISODES) for name, mean in means.items()}


def test_noise_leaves_one_task():
    rng = np.random.default_rng(3)
    shared = rng.normal(6, 2, EPISODES)
    chosen = []
    for _ in range(400):
        table = {c: shared + rng.normal(0, 0.1, EPISODES) for c in (1, 4)}
        chosen.append(choose_n_tasks(table).n_tasks)
    # A difference of nothing beats one standard error 16 % of the time.
    assert np.mean(np.array(chosen) == 1) == pytest.approx(0.84, abs=0.05)


def test_pairing_sees_a_gain_far_below_the_spread_of_the_losses():
    choice = choose_n_tasks(losses(c1=0.0, c4=-0.05, c8=-0.05))
    assert choice.n_tasks == 4
    assert [row.n_tasks for row in choice.table] == [1, 4, 8]
    assert [row.chosen for row in choice.table] == [False, True, False]
    assert choice.table[1].gain == pytest.approx(0.05, abs=0.02)


def test_a_clearly_better_larger_number_wins():
    assert choose_n_tasks(losses(c1=0.0, c4=-0.05, c16=-0.2)).n_tasks == 16


def test_random_clusters_that_gain_as_much_refute_the_tasks():
    table = losses(c1=0.0, c4=-0.1)
    assert choose_n_tasks(table).n_tasks == 4
    control = {4: table[4] - 0.01}
    refuted = choose_n_tasks(table, control)
    assert refuted.n_tasks == 1
    assert refuted.table[1].gain_over_random == pytest.approx(-0.01)


def test_a_refuted_best_does_not_hide_the_next():
    table = losses(c1=0.0, c4=-0.1, c8=-0.3)
    assert choose_n_tasks(table, {8: table[8]}).n_tasks == 4


def test_one_episode_can_not_choose():
    assert choose_n_tasks({1: np.array([5.0]), 4: np.array([1.0])}).n_tasks == 1


def test_bad_input():
    with pytest.raises(ArgumentError, match="one task"):
        choose_n_tasks({4: np.zeros(3)})
    with pytest.raises(ArgumentError, match="same v"):
        choose_n_tasks({1: np.zeros(3), 4: np.zeros(4)})
    with pytest.raises(DataError, match="finite"):
        choose_n_tasks({1: np.zeros(3), 4: np.array([0, np.nan, 0])})


def test_tasks_that_are_asked_for_need_no_proof():
    table = losses(c1=0.0, c4=0.05, c8=0.2)
    assert choose_n_tasks(table).n_tasks == 1
    choice = choose_n_tasks(table, least=2)
    assert choice.n_tasks == 4
    assert [row.chosen for row in choice.table] == [False, True, False]
    assert choose_n_tasks(table, least=8).n_tasks == 8
    assert choose_n_tasks(table, least=9).n_tasks == 1  # there are no so many
