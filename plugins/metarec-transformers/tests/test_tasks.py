"""Adapters of tasks inside the model."""

import numpy as np
import pytest
import torch

from metarec_sdk.errors import ArgumentError, ArtefactError
from metarec_sdk.types import Histories, TrainingLog
from metarec_transformers.tasks import attach, tagged

MODELS = ("gpt2", "bert")
N_ITEMS = 20


def two_ways(users: int, seed: int) -> tuple[TrainingLog, np.ndarray]:
    """Walks of 7 events up the catalogue in task 0 and down in task 1, from anywhere."""
    rng = np.random.default_rng(seed)
    tasks = np.arange(users, dtype=np.int32) % 2
    starts = rng.integers(N_ITEMS, size=users)
    steps = np.where(tasks == 0, 1, -1)[:, None] * np.arange(7)
    return TrainingLog(Histories.from_lists(((starts[:, None] + steps) % N_ITEMS).tolist()), N_ITEMS), tasks


def next_after_one(backbone, tasks):
    """What is ranked first after a single item, which doesn't tell the way: f64[2], share right by task."""
    singles = Histories.from_lists([[item] for item in range(N_ITEMS)] * 2)
    both = np.repeat(np.array([0, 1], np.int32), N_ITEMS)
    queries = backbone.encode(singles, both if tasks else None)
    found = (queries @ backbone.item_matrix().T).argmax(1)
    wanted = (singles.items + np.where(both == 0, 1, -1)) % N_ITEMS
    return (found == wanted).reshape(2, N_ITEMS).mean(1)


@pytest.fixture(scope="module")
def adapted(create, one_thread):
    """Both models, trained on everybody, then adapted to the two ways."""
    log, tasks = two_ways(160, seed=1)
    backbones = {}
    for model in MODELS:
        backbones[model] = create(model=model, epochs=15, learning_rate=0.02, dropout=0.0, patience=15)
        backbones[model].fit(log, np.random.default_rng(0))
        backbones[model].adapt(log, tasks, np.random.default_rng(0), rank=4)
    return backbones


@pytest.mark.parametrize("model", MODELS)
def test_each_task_learns_its_own_way(adapted, model):
    # a single item leaves both ways open: without a task at most one of them can be ranked first
    assert next_after_one(adapted[model], tasks=False).sum() <= 1.0
    assert (next_after_one(adapted[model], tasks=True) > 0.8).all()


@pytest.mark.parametrize("model", MODELS)
def test_new_adapters_change_nothing(create, planted, ragged, model):
    backbone = create(model=model)
    backbone.fit(planted(), np.random.default_rng(0))
    before = backbone.encode(ragged)
    attach(backbone._network, n_tasks=3, rank=2, seed=0)
    tasks = np.array([0, 1, 2, 0, -1, 1], np.int32)
    np.testing.assert_allclose(backbone.encode(ragged, tasks), before, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("model", MODELS)
def test_only_adapters_are_trained(create, planted, ragged, model):
    backbone = create(model=model)
    backbone.fit(planted(), np.random.default_rng(0))
    before, state = backbone.encode(ragged), backbone.state()
    seeds = torch.get_rng_state()
    record = backbone.adapt(planted(), np.arange(60, dtype=np.int32) % 3, np.random.default_rng(0), rank=2)
    assert torch.equal(torch.get_rng_state(), seeds)
    assert len(record.losses) == 2
    after = backbone.state()
    assert all(after[name].tobytes() == value.tobytes() for name, value in state.items())
    new = {name: value for name, value in after.items() if name not in state}
    assert all(name.endswith((".adapter.a", ".adapter.b")) for name in new)
    assert all(np.abs(value).max() > 0 for value in new.values())
    np.testing.assert_array_equal(backbone.encode(ragged), before)  # nobody has to have a task
    none = np.full(len(ragged), -1, np.int32)
    np.testing.assert_allclose(backbone.encode(ragged, none), before, rtol=1e-4, atol=1e-5)


def test_tasks_without_a_person_keep_an_adapter_that_changes_nothing(create, planted, ragged):
    backbone = create()
    backbone.fit(planted(), np.random.default_rng(0))
    before = backbone.encode(ragged)
    backbone.adapt(planted(), np.full(60, 2, np.int32), np.random.default_rng(0), rank=2)
    for task, changed in ((0, False), (1, False), (2, True)):
        now = backbone.encode(ragged, np.full(len(ragged), task, np.int32))
        assert (np.abs(now - before).max() > 1e-4) == changed
        np.testing.assert_allclose(now[1], before[1], rtol=1e-5, atol=1e-6)  # an empty history has no task


@pytest.mark.parametrize("model", MODELS)
def test_adapters_come_back_with_the_state(create, adapted, ragged, model):
    fresh = create()
    state = adapted[model].state()
    fresh.restore(state)
    tasks = np.array([0, 1, 1, 0, -1, 1], np.int32)
    assert fresh.encode(ragged, tasks).tobytes() == adapted[model].encode(ragged, tasks).tobytes()
    name = next(name for name in state if name.endswith(".adapter.a"))
    del state[name]
    with pytest.raises(ArtefactError, match="lacks"):
        fresh.restore(state)


def test_adapting_again_starts_anew_and_the_seed_decides(create, planted):
    states = []
    for again in (False, True):
        backbone = create(epochs=1)
        backbone.fit(planted(), np.random.default_rng(0))
        if again:
            backbone.adapt(planted(), np.zeros(60, np.int32), np.random.default_rng(9), rank=3)
        backbone.adapt(planted(), np.arange(60, dtype=np.int32) % 2, np.random.default_rng(1), rank=2)
        states.append({name: value.tobytes() for name, value in backbone.state().items()})
    assert states[0] == states[1]


def test_a_model_that_cannot_carry_adapters_is_left_without(create, planted, ragged):
    backbone = create(model="opt", epochs=1)
    backbone.fit(planted(), np.random.default_rng(0))
    before, state = backbone.encode(ragged), backbone.state()
    with pytest.raises(ArgumentError, match="task ids"):
        backbone.adapt(planted(), np.zeros(60, np.int32), np.random.default_rng(0))
    assert set(backbone.state()) == set(state)
    np.testing.assert_array_equal(backbone.encode(ragged), before)


def test_tasks_are_checked(create, planted, fitted, ragged):
    backbone = create()
    backbone.restore(fitted["gpt2"].state())
    rng = np.random.default_rng(0)
    with pytest.raises(ArgumentError, match=r"i32\[60\]"):
        backbone.adapt(planted(), np.zeros(3, np.int32), rng)
    with pytest.raises(ArgumentError, match="at least one row"):
        backbone.adapt(planted(), np.full(60, -1, np.int32), rng)
    with pytest.raises(ArgumentError, match="rank"):
        backbone.adapt(planted(), np.zeros(60, np.int32), rng, rank=0)
    with pytest.raises(ArgumentError, match=r"-1 … -1.*adapt"):
        backbone.encode(ragged, np.zeros(6, np.int32))
    with pytest.raises(ArgumentError, match="-1 … 1"):
        tagged(ragged, np.full(6, -2, np.int32), 2)
