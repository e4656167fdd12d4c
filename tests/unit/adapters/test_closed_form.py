import numpy as np
import pytest
import torch

from metarec_sdk.adapters import ClosedForm, TaskAdapters
from metarec_sdk.adapters.batch import episode_tensors
from metarec_sdk.adapters.gates import calibrated, log_popularity, vector_scorer
from metarec_sdk.errors import ArgumentError
from metarec_sdk.types import Episodes, Histories, Memberships, MetaLearner


def fit(made, validation, backbone, head, *, n_tasks=2, seed=0, start=None, **kwargs):
    learner = ClosedForm(rank=6, **kwargs)
    one_task = n_tasks == 0
    return learner.fit(
        made.episodes,
        Memberships.parent(len(made.episodes)) if one_task else made.memberships,
        n_tasks=n_tasks,
        backbone=backbone,
        head=head,
        validation=(
            validation.episodes,
            Memberships.parent(len(validation.episodes)) if one_task else validation.memberships,
        ),
        rng=np.random.default_rng(seed),
        start=start,
    )


def judged(made, query, items):
    """Mean calibrated loss of user vectors f32[b, d] against items, on people nobody learned from."""
    batch, rows = episode_tensors(made.episodes, Memberships.parent(len(made.episodes)), 0)
    vectors, table = torch.from_numpy(query[rows]), torch.from_numpy(items)
    return calibrated(vector_scorer(vectors, table), batch, log_popularity(batch, len(table))).loss


def test_swapped_preferences_are_recovered_and_beat_one_task(world, mean_backbone, other_head):
    made, validation, test = world(400, seed=1), world(200, seed=2), world(200, seed=3)
    assert isinstance(ClosedForm(), MetaLearner)
    found = fit(made, validation, mean_backbone, other_head, epochs=8)
    assert found.head == {}  # a head of an unknown kind is left alone
    losses = found.losses
    assert losses["adapters/after"] == losses["adapters/tasks"] < losses["adapters/parent"] - 0.2
    adapters = TaskAdapters.from_state(found.adapters)
    assert adapters.n_tasks == 2
    earned = {row["task"]: row["rank"] for row in found.structure}
    assert earned[0] > 0
    assert earned[1] > 0
    assert all(row["spread"] > 0 for row in found.structure if row["task"] >= 0)

    support, items = test.episodes.support, mean_backbone.item_matrix()
    zero_shot = judged(test, mean_backbone.encode(support), items)
    parent = judged(test, adapters.apply(mean_backbone, support, Memberships.parent(len(support))), items)
    own = judged(test, adapters.apply(mean_backbone, support, test.memberships), items)
    wrong = world(200, seed=3).memberships
    wrong.tasks[:, 0] = 1 - test.task
    others = judged(test, adapters.apply(mean_backbone, support, wrong), items)
    assert own < parent - 0.2
    assert own < zero_shot - 0.2
    assert others > parent


def test_alike_tasks_earn_nothing(world, mean_backbone, other_head):
    made, validation = world(400, seed=1, differ=False), world(250, seed=2, differ=False)
    found = fit(made, validation, mean_backbone, other_head)
    assert "adapters/tasks" not in found.losses
    assert [row["rank"] for row in found.structure if row["task"] >= 0] == [0, 0]
    up = TaskAdapters.from_state(found.adapters).up.get("final")
    if up is not None:  # the parent may have earned its place; no task departs from it
        np.testing.assert_array_equal(up, np.broadcast_to(up[-1], up.shape))


def test_noise_teaches_nothing(world, mean_backbone, natpar):
    """Queries by chance: a part ships only by luck, and then it must be all but harmless."""
    rng = np.random.default_rng(0)

    def noise(data):
        query = [rng.choice(32, 3, replace=False).tolist() for _ in range(len(data.episodes))]
        episodes = Episodes(data.episodes.support, Histories.from_lists(query), data.episodes.users)
        return type(data)(episodes, data.memberships, data.task)

    made, validation, test = (noise(world(200, seed=seed)) for seed in (1, 2, 3))
    found = fit(made, validation, mean_backbone, natpar)
    for part, shipped in (("head", found.head), ("adapters", found.adapters)):
        before, after = found.losses[f"{part}/before"], found.losses[f"{part}/after"]
        assert after < before if shipped else after == before
        assert after > before - 0.05
    support, items = test.episodes.support, mean_backbone.item_matrix()
    served = TaskAdapters.from_state(found.adapters).apply(mean_backbone, support, test.memberships)
    assert judged(test, served, items) < judged(test, mean_backbone.encode(support), items) + 0.05


def test_the_head_learns_that_everybody_swaps(world, mean_backbone, natpar):
    """A head fitted on stayers meets people who all swap, which empirical Bayes can't see."""
    made, validation, test = (world(400, seed=seed, sizes=(0.0, 1.0)) for seed in (1, 2, 3))
    support = test.episodes.support
    before = judged(test, natpar.query(support), natpar.item_matrix())
    found = fit(made, validation, mean_backbone, natpar, n_tasks=0, learn_adapters=False)
    assert found.adapters == {}
    assert found.losses["head/after"] < found.losses["head/before"] - 0.2
    assert found.head.keys() >= {"psi_in", "psi_out", "prior_variance"}
    natpar.restore(found.head)
    assert judged(test, natpar.query(support), natpar.item_matrix()) < before - 0.2


def test_task_means_are_learned_where_tasks_want_other_items(world, mean_backbone, natpar):
    """Users without history: only μ_c can tell the tasks apart."""
    rng = np.random.default_rng(0)

    def wanting(seed):
        made = world(400, seed=seed)
        liked = [(8 * made.task[u] + rng.choice(8, 3, replace=False)).tolist() for u in range(400)]
        episodes = Episodes(made.episodes.support, Histories.from_lists(liked), made.episodes.users)
        return type(made)(episodes, made.memberships, made.task)

    found = fit(wanting(1), wanting(2), mean_backbone, natpar, learn_adapters=False, tables="fixed")
    assert found.losses["head/task means"] < found.losses["head/parent mean"] - 0.05
    assert found.head["prior_mean"].shape == (3, 8)
    natpar.restore(found.head)
    nobody = Histories.from_lists([[], []])
    queries = natpar.query(
        nobody, Memberships(np.array([[0, -1], [1, -1]], np.int32), np.eye(2, dtype=np.float32)[[0, 0]])
    )
    scores = queries @ natpar.item_matrix().T
    assert scores[0, :8].mean() > scores[0, 8:16].mean()
    assert scores[1, :8].mean() < scores[1, 8:16].mean()


def test_tasks_without_proof_ship_what_was_learned(world, mean_backbone, natpar):
    """Queries by chance teach nothing, so that nothing of the tasks passes; without proof all of it ships."""
    rng = np.random.default_rng(0)

    def noise(data):
        query = [rng.choice(32, 3, replace=False).tolist() for _ in range(len(data.episodes))]
        episodes = Episodes(data.episodes.support, Histories.from_lists(query), data.episodes.users)
        return type(data)(episodes, data.memberships, data.task)

    made, validation = noise(world(200, seed=1)), noise(world(200, seed=2))
    proved, unproved = (
        fit(made, validation, mean_backbone, natpar, epochs=2, learn_adapters=False, prove_tasks=prove)
        for prove in (True, False)
    )
    assert "prior_mean" not in proved.head
    means = unproved.head["prior_mean"]
    assert means.shape[0] == 3
    assert unproved.losses["head/after"] == unproved.losses["head/task means"]


def test_ridge_prior_is_learned(world, mean_backbone, ridge):
    ridge.restore({"precision": np.full(8, 100.0, np.float32)})  # far too stiff
    made, validation = world(300, seed=1, differ=False), world(200, seed=2, differ=False)
    found = fit(made, validation, mean_backbone, ridge, n_tasks=0, learn_adapters=False)
    assert found.losses["head/after"] <= found.losses["head/before"]
    assert found.head.keys() <= {"precision", "unobserved_weight", "prior_mean"}
    ridge.restore(found.head)


def test_same_seed_same_bytes_and_another_seed_others(world, two_site_backbone, natpar):
    made, validation = world(100, seed=1), world(60, seed=2)
    one, two, other = (
        fit(made, validation, two_site_backbone, natpar, seed=seed, epochs=2) for seed in (5, 5, 6)
    )
    for first, second in ((one.adapters, two.adapters), (one.head, two.head)):
        assert first.keys() == second.keys()
        assert all(first[name].tobytes() == second[name].tobytes() for name in first)
    assert one.losses == two.losses
    assert one.losses != other.losses


def test_start_keeps_the_head_and_continues_the_adapters(world, mean_backbone, natpar):
    made, validation = world(240, seed=1, sizes=(0.2, 0.8)), world(150, seed=2, sizes=(0.2, 0.8))
    first = fit(made, validation, mean_backbone, natpar, n_tasks=2, epochs=5)
    again = fit(made, validation, mean_backbone, natpar, start=first, epochs=1)
    for name in ("psi_in", "psi_out", "prior_variance"):
        np.testing.assert_array_equal(again.head[name], first.head[name])
    assert "head/learned" not in again.losses
    np.testing.assert_array_equal(again.adapters["down.final"][0], first.adapters["down.final"][0])
    assert again.losses["adapters/after"] < again.losses["adapters/before"] - 0.1


def test_two_sites_are_learned_and_served_alike(world, two_site_backbone, other_head):
    made, validation = world(300, seed=1), world(150, seed=2)
    found = fit(made, validation, two_site_backbone, other_head, epochs=6)
    assert {row["site"] for row in found.structure} == {"inner", "final"}
    adapters = TaskAdapters.from_state(found.adapters)
    served = adapters.apply(two_site_backbone, validation.episodes.support, validation.memberships)
    assert np.isfinite(served).all()
    items = two_site_backbone.item_matrix()
    plain = judged(validation, two_site_backbone.encode(validation.episodes.support), items)
    assert judged(validation, served, items) < plain - 0.1


def test_episodes_without_anything_to_judge(world, mean_backbone, natpar):
    made = world(3, seed=1)
    empty = type(made)(made.episodes.take([]), made.memberships.take([]), made.task[:0])
    found = fit(empty, made, mean_backbone, natpar)
    assert (found.adapters, found.head, found.losses) == ({}, {}, {})
    found = fit(made, empty, mean_backbone, natpar)
    assert (found.adapters, found.head, found.losses) == ({}, {}, {})
    single = type(made)(made.episodes.take([0]), made.memberships.take([0]), made.task[:1])
    found = fit(single, single, mean_backbone, natpar)
    assert (found.adapters, found.head) == ({}, {})  # one user proves nothing


def test_more_episodes_than_the_limit_are_sampled(world, mean_backbone, other_head):
    made = world(120, seed=1)
    found = fit(made, made, mean_backbone, other_head, max_episodes=40, max_validation=30, epochs=1)
    assert np.isfinite(list(found.losses.values())).all()


def test_bad_arguments(world, mean_backbone, natpar):
    made = world(20, seed=1)
    with pytest.raises(ArgumentError, match="n_tasks=1"):
        fit(made, made, mean_backbone, natpar, n_tasks=1)
    with pytest.raises(ArgumentError, match="one row an episode"):
        fit(type(made)(made.episodes, made.memberships.take([0]), made.task), made, mean_backbone, natpar)
    with pytest.raises(ArgumentError, match="rank"):
        ClosedForm(rank=0)
    with pytest.raises(ArgumentError, match="tables"):
        ClosedForm(tables="loose")
    with pytest.raises(ArgumentError, match="adapter_rate"):
        ClosedForm(adapter_rate=0.0)
    assert ClosedForm().state() == {}
