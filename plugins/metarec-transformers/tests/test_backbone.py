"""The backbone alone: what it learns, reads, keeps and refuses."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from metarec_sdk.errors import ArgumentError, ArtefactError, NotFittedError
from metarec_sdk.types import Histories, TrainingLog

MODELS = ("gpt2", "bert")
N_ITEMS = 20


def accuracy(backbone, log):
    """Share of last items that are ranked first, and of the most frequent item among them."""
    histories = log.histories
    targets = histories.items[histories.offsets[1:] - 1]
    scores = backbone.encode(histories.first(histories.lengths - 1)) @ backbone.item_matrix().T  # [b, n]
    return (scores.argmax(1) == targets).mean(), np.bincount(targets).max() / len(targets)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("ids", [True, False])
def test_a_planted_rule_is_learned_far_beyond_popularity(create, planted, model, ids):
    backbone = create(
        model=model, ids=ids, epochs=15, learning_rate=0.02, dropout=0.1, patience=15, batch_size=16
    )
    backbone.fit(planted(120, seed=2), np.random.default_rng(0))
    found, popular = accuracy(backbone, planted(200, seed=3))
    assert popular < 0.15
    assert found > 0.65  # 0.8 of the steps are planted


def test_a_log_without_content_is_learned_from_ids(create, planted):
    log = replace(planted(120, seed=2), item_features=None)
    backbone = create(epochs=15, learning_rate=0.02, dropout=0.1, patience=15, batch_size=16)
    backbone.fit(log, np.random.default_rng(0))
    assert accuracy(backbone, planted(200, seed=3))[0] > 0.65
    with pytest.raises(ArgumentError, match=r"f32\[j, 0\]"):
        backbone.place(np.ones((1, 0), np.float32))


@pytest.mark.parametrize("model", MODELS)
def test_arrays_are_float32_finite_and_of_the_width(fitted, ragged, model):
    queries, table = fitted[model].encode(ragged), fitted[model].item_matrix()
    assert (queries.shape, queries.dtype) == ((len(ragged), 16), np.float32)
    assert (table.shape, table.dtype, table.flags.c_contiguous) == ((N_ITEMS, 16), np.float32, True)
    assert np.isfinite(queries).all()
    assert np.isfinite(table).all()
    assert fitted[model].encode(Histories.from_lists([])).shape == (0, 16)


@pytest.mark.parametrize("model", MODELS)
def test_what_comes_later_changes_nothing_before(fitted, model):
    network = fitted[model]._network
    assert network.masked is (model == "bert")
    items = torch.arange(12).view(2, 6)
    changed = items.clone()
    changed[:, 4:] += 3
    with torch.no_grad():
        one, other = network(items), network(changed)
    torch.testing.assert_close(one[:, :5], other[:, :5])  # column j has seen j items
    assert (one[:, 5:] - other[:, 5:]).abs().amin() > 0


@pytest.mark.parametrize("model", MODELS)
def test_rows_are_encoded_as_if_alone(fitted, ragged, model):
    together = fitted[model].encode(ragged)
    alone = np.concatenate([fitted[model].encode(ragged.take([row])) for row in range(len(ragged))])
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", MODELS)
def test_order_and_the_last_events_count(fitted, ragged, model):
    backbone = fitted[model]
    np.testing.assert_array_equal(backbone.encode(ragged), backbone.encode(ragged.last(8)))
    assert np.abs(backbone.encode(ragged) - backbone.encode(ragged.last(7)))[3].max() > 1e-5
    turned = backbone.encode(Histories.from_lists([[1, 2, 3], [2, 1, 3]]))
    assert np.abs(turned[0] - turned[1]).max() > 1e-6


@pytest.mark.parametrize("model", MODELS)
def test_the_same_seed_gives_the_same_bytes_and_another_one_differs(create, planted, model):
    before = torch.get_rng_state()
    backbones = [create(model=model, epochs=1) for _ in range(3)]
    for backbone, seed in zip(backbones, (3, 3, 4)):
        backbone.fit(planted(), np.random.default_rng(seed))
    assert torch.equal(torch.get_rng_state(), before)  # the global seed is left alone
    one, two, other = ({k: v.tobytes() for k, v in each.state().items()} for each in backbones)
    assert one == two
    assert one["items"] != other["items"]


@pytest.mark.parametrize("model", MODELS)
def test_the_state_comes_back_before_any_fit(create, fitted, ragged, model):
    fresh = create()  # not even the model's family has to be known
    fresh.restore(fitted[model].state())
    assert fresh.encode(ragged).tobytes() == fitted[model].encode(ragged).tobytes()
    assert fresh.item_matrix().tobytes() == fitted[model].item_matrix().tobytes()
    again = fresh.state()
    assert {k: v.tobytes() for k, v in again.items()} == {
        k: v.tobytes() for k, v in fitted[model].state().items()
    }


@pytest.mark.parametrize(
    ("damage", "message"),
    [("items", "items"), ("config", "config"), ("missing", "start"), ("shape", "start"), ("nan", "start")],
)
def test_a_damaged_state_is_refused_and_the_old_one_stays(create, fitted, damage, message):
    backbone = create()
    backbone.restore(fitted["gpt2"].state())
    state = fitted["gpt2"].state()
    if damage == "items":
        del state["items"]
    elif damage == "config":
        state["config"] = np.frombuffer(b'{"model_type": "none"}', np.uint8)
    elif damage == "missing":
        del state["start"]
    elif damage == "shape":
        state["start"] = state["start"][:-1]
    else:
        state["start"][0] = np.nan
    with pytest.raises(ArtefactError, match=message):
        backbone.restore(state)
    assert backbone.item_matrix().tobytes() == fitted["gpt2"].item_matrix().tobytes()


def test_content_alone_places_trained_and_new_items_alike(create, planted):
    log = planted()
    backbone = create(ids=False)
    backbone.fit(log, np.random.default_rng(0))
    np.testing.assert_allclose(backbone.place(log.item_features), backbone.item_matrix(), atol=1e-6)
    np.testing.assert_array_equal(backbone.place(np.zeros((2, 6), np.float32)), 0.0)
    with pytest.raises(ArgumentError, match=r"f32\[j, 6\]"):
        backbone.place(np.ones((2, 5), np.float32))


def test_ids_tell_items_of_equal_content_apart(create, planted):
    log = replace(planted(), item_features=np.ones((N_ITEMS, 3), np.float32))
    rows = {}
    for ids in (True, False):
        backbone = create(ids=ids)
        backbone.fit(log, np.random.default_rng(0))
        rows[ids] = len(np.unique(backbone.item_matrix(), axis=0))
    assert rows == {True: N_ITEMS, False: 1}


def test_read_only_input_is_enough_and_stays_as_it_was(create, planted):
    log = planted()
    parts = [log.histories.items, log.histories.offsets, log.histories.weights, log.histories.timestamps]
    copies = [part.copy() for part in (*parts, log.item_features)]
    for copy in copies:
        copy.flags.writeable = False
    given = TrainingLog(Histories(*copies[:4]), N_ITEMS, item_features=copies[4])
    backbone = create(epochs=1)
    backbone.fit(given, np.random.default_rng(0))
    backbone.encode(given.histories)
    for copy, part in zip(copies, (*parts, log.item_features)):
        np.testing.assert_array_equal(copy, part)


def test_unusable_logs_and_unfitted_backbones_are_typed_errors(create, planted, fitted):
    rng = np.random.default_rng(0)
    with pytest.raises(NotFittedError, match="transformers/history"):
        create().item_matrix()
    with pytest.raises(ArgumentError, match="no events"):
        create().fit(TrainingLog(Histories.from_lists([[], []]), 3), rng)
    with pytest.raises(ArgumentError, match="0 … 2"):
        create().fit(TrainingLog(Histories.from_lists([[1, 3]]), 3), rng)
    with pytest.raises(ArgumentError, match="0 … 19"):
        fitted["bert"].encode(Histories.from_lists([[20]]))
    with pytest.raises(ArgumentError, match="ids=False"):
        create(ids=False).fit(replace(planted(), item_features=None), rng)
    with pytest.raises(ArgumentError, match=r"item_features must be f32\[20, c\]"):
        create().fit(replace(planted(), item_features=np.ones((3, 2), np.float32)), rng)


@pytest.mark.parametrize(
    "params",
    [
        {"width": 0},
        {"layers": 0},
        {"heads": True},
        {"history_limit": -1},
        {"epochs": 1.5},
        {"batch_size": 0},
        {"patience": 0},
        {"dropout": 0.95},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"frozen": 1},
        {"ids": "no"},
        {"holdout": "all"},
        {"device": "tpu"},
    ],
)
def test_arguments_are_checked(create, params):
    with pytest.raises(ArgumentError, match=next(iter(params))):
        create(**params)


def test_without_a_cuda_device_asking_for_one_says_so(create, planted, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ArgumentError, match="device='cuda'"):
        create(device="cuda").fit(planted(), np.random.default_rng(0))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("model", MODELS)
def test_cuda_trains_and_encodes_what_the_cpu_encodes(create, planted, ragged, model):
    backbone, on_cpu = create(model=model, device="cuda"), create()
    backbone.fit(planted(), np.random.default_rng(0))
    tasks = np.arange(60, dtype=np.int32) % 3
    backbone.adapt(planted(), tasks, np.random.default_rng(0))
    on_cpu.restore(backbone.state())
    some = tasks[: len(ragged)]
    found, expected = backbone.encode(ragged, some), on_cpu.encode(ragged, some)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
