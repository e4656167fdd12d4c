"""The five backbones as their users meet them: through the manager, by name."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from metarec_sdk import ArgumentError, ArtefactError, NotFittedError, PluginManager  # noqa: E402
from metarec_sdk.types import Histories, TrainingLog  # noqa: E402

MODELS = ("gru4rec", "caser", "mlp", "bert4rec", "hstu")
N_ITEMS = 20
SMALL = {
    "width": 16,
    "history_limit": 8,
    "epochs": 2,
    "batch_size": 16,
    "device": "cpu",
}
MARKOV = {**SMALL, "epochs": 25, "learning_rate": 0.01, "dropout": 0.1, "patience": 25}
OWN_MARKOV = {
    "bert4rec": {"width": 32, "blocks": 1, "heads": 4, "epochs": 40, "learning_rate": 0.005, "dropout": 0.0}
}
"""Masked items teach less an epoch, and attention has to find the neighbour by its position: whether it had
after 60 epochs over 250 people depended on the rounding of sums, that is on the number of threads."""


def create(model: str, **params: object):
    return PluginManager(enabled=["sequence"], strict=True).create(
        "backbone", f"sequence/{model}", {**SMALL, **params}
    )


def markov(users: int, seed: int) -> TrainingLog:
    """Walks of 5 to 15 events: with probability 0.8 to 7 · i + 3, else to a skewed random item."""
    rng = np.random.default_rng(seed)
    popularity = 1.0 / np.arange(1, N_ITEMS + 1)
    popularity /= popularity.sum()
    rows = []
    for length in rng.integers(5, 16, users):
        row = [int(rng.choice(N_ITEMS, p=popularity))]
        while len(row) < length:
            planted = (7 * row[-1] + 3) % N_ITEMS
            row.append(planted if rng.random() < 0.8 else int(rng.choice(N_ITEMS, p=popularity)))
        rows.append(row)
    return TrainingLog(Histories.from_lists(rows), N_ITEMS)


@pytest.fixture(scope="module")
def log() -> TrainingLog:
    return markov(60, seed=1)


@pytest.fixture(scope="module")
def fitted(log: TrainingLog) -> dict:
    backbones = {model: create(model) for model in MODELS}
    for backbone in backbones.values():
        backbone.fit(log, np.random.default_rng(0))
    return backbones


@pytest.fixture(scope="module")
def ragged() -> Histories:
    return Histories.from_lists([[1, 2, 3], [], [5], [*range(15)], [2, 2], [19] * 8])


@pytest.mark.parametrize("model", MODELS)
def test_a_planted_pattern_is_learned_far_beyond_popularity(model: str) -> None:
    train, test = markov(500, seed=2), markov(200, seed=3)
    backbone = create(model, **{**MARKOV, **OWN_MARKOV.get(model, {})})
    backbone.fit(train, np.random.default_rng(0))
    contexts = test.histories.first(test.histories.lengths - 1)
    targets = test.histories.items[test.histories.offsets[1:] - 1]
    scores = backbone.encode(contexts) @ backbone.item_matrix().T  # [b, n]
    popular = np.bincount(train.histories.items, minlength=N_ITEMS).argmax()
    assert (targets == popular).mean() < 0.3
    assert (scores.argmax(1) == targets).mean() > 0.7  # 0.8 of the steps are planted


@pytest.mark.parametrize("model", MODELS)
def test_arrays_are_float32_finite_and_of_the_width(model: str, fitted: dict, ragged: Histories) -> None:
    queries, table = fitted[model].encode(ragged), fitted[model].item_matrix()
    assert (queries.shape, queries.dtype) == ((len(ragged), 16), np.float32)
    assert (table.shape, table.dtype, table.flags.c_contiguous) == ((N_ITEMS, 16), np.float32, True)
    assert np.isfinite(queries).all()
    assert np.isfinite(table).all()
    assert fitted[model].encode(Histories.from_lists([])).shape == (0, 16)


@pytest.mark.parametrize("model", MODELS)
def test_an_empty_history_has_a_query_of_its_own(model: str, fitted: dict) -> None:
    queries = fitted[model].encode(Histories.from_lists([[], [], [3]]))
    np.testing.assert_array_equal(queries[0], queries[1])
    assert np.abs(queries[0]).max() > 0
    assert np.abs(queries[0] - queries[2]).max() > 1e-4


@pytest.mark.parametrize("model", MODELS)
def test_rows_are_encoded_as_if_alone(model: str, fitted: dict, ragged: Histories) -> None:
    together = fitted[model].encode(ragged)
    alone = np.concatenate([fitted[model].encode(ragged.take([row])) for row in range(len(ragged))])
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", MODELS)
def test_many_rows_keep_their_order(model: str, fitted: dict) -> None:
    rng = np.random.default_rng(0)
    rows = [rng.integers(N_ITEMS, size=length).tolist() for length in rng.integers(0, 9, 600)]
    many, some = Histories.from_lists(rows), np.array([0, 17, 300, 599])
    np.testing.assert_allclose(
        fitted[model].encode(many)[some], fitted[model].encode(many.take(some)), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("model", MODELS)
def test_only_the_last_events_are_read(model: str, fitted: dict, ragged: Histories) -> None:
    backbone = fitted[model]
    np.testing.assert_array_equal(backbone.encode(ragged), backbone.encode(ragged.last(8)))
    reach = 5 if model == "caser" else 8
    shorter = backbone.encode(ragged) - backbone.encode(ragged.last(reach - 1))
    assert np.abs(shorter[3]).max() > 1e-5


@pytest.mark.parametrize("model", MODELS)
def test_the_same_seed_gives_the_same_bytes_and_another_one_differs(model: str, log: TrainingLog) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, two, other = create(model, epochs=1), create(model, epochs=1), create(model, epochs=1)
    for backbone, seed in ((one, 3), (two, 3), (other, 4)):
        backbone.fit(log, np.random.default_rng(seed))
    assert torch.equal(torch.get_rng_state(), before)  # the global seed is left alone
    assert {k: v.tobytes() for k, v in one.state().items()} == {
        k: v.tobytes() for k, v in two.state().items()
    }
    assert one.item_matrix().tobytes() != other.item_matrix().tobytes()


@pytest.mark.parametrize("model", MODELS)
def test_the_state_comes_back_before_any_fit(model: str, fitted: dict, ragged: Histories) -> None:
    state = fitted[model].state()
    assert {values.dtype for values in state.values()} == {np.dtype("f4")}
    fresh = create(model)
    fresh.restore(state)
    assert fresh.encode(ragged).tobytes() == fitted[model].encode(ragged).tobytes()
    assert fresh.item_matrix().tobytes() == fitted[model].item_matrix().tobytes()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("damage", ["no items", "missing", "shape", "nan"])
def test_a_damaged_state_is_refused_and_the_old_one_stays(model: str, damage: str, fitted: dict) -> None:
    backbone = create(model)
    backbone.restore(fitted[model].state())
    state = fitted[model].state()
    last = sorted(set(state) - {"items"})[-1]
    if damage == "no items":
        del state["items"]
    elif damage == "missing":
        del state[last]
    elif damage == "shape":
        state[last] = state[last][:-1]
    else:
        state[last].flat[0] = np.nan
    with pytest.raises(ArtefactError, match="item table" if damage == "no items" else last):
        backbone.restore(state)
    assert backbone.item_matrix().tobytes() == fitted[model].item_matrix().tobytes()


@pytest.mark.parametrize("model", MODELS)
def test_read_only_input_is_enough_and_stays_as_it_was(model: str, log: TrainingLog) -> None:
    source = log.histories
    parts = [source.items.copy(), source.offsets.copy(), source.weights.copy(), source.timestamps.copy()]
    for part in parts:
        part.flags.writeable = False
    backbone = create(model, epochs=1)
    backbone.fit(TrainingLog(Histories(*parts), N_ITEMS), np.random.default_rng(0))
    backbone.encode(Histories(*parts))
    np.testing.assert_array_equal(parts[0], source.items)


@pytest.mark.parametrize("model", MODELS)
def test_unusable_logs_and_unfitted_backbones_are_typed_errors(model: str, fitted: dict) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(NotFittedError, match=f"sequence/{model}"):
        create(model).item_matrix()
    with pytest.raises(ArgumentError, match="no events"):
        create(model).fit(TrainingLog(Histories.from_lists([[], []]), 3), rng)
    with pytest.raises(ArgumentError, match="0 … 2"):
        create(model).fit(TrainingLog(Histories.from_lists([[1, 3]]), 3), rng)
    with pytest.raises(ArgumentError, match="0 … 19") as caught:
        fitted[model].encode(Histories.from_lists([[20]]))
    assert "metarec-sequence" in caught.value.__notes__[0]
    histories = Histories.from_lists([[1, 2]])
    weightless = Histories(histories.items, histories.offsets, np.zeros(2, np.float32), histories.timestamps)
    with pytest.raises(ArgumentError, match="weight 0"):
        create(model).fit(TrainingLog(weightless, 3), rng)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "params",
    [
        {"width": 0},
        {"epochs": 1.5},
        {"history_limit": -1},
        {"batch_size": True},
        {"patience": 0},
        {"negatives": 0},
        {"dropout": 0.95},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"holdout": "all"},
        {"device": "tpu"},
    ],
)
def test_common_arguments_are_checked(model: str, params: dict) -> None:
    with pytest.raises(ArgumentError, match=next(iter(params))):
        create(model, **params)


@pytest.mark.parametrize(
    ("model", "params"),
    [
        ("gru4rec", {"hidden": 0}),
        ("gru4rec", {"layers": 0}),
        ("mlp", {"hidden": 0}),
        ("mlp", {"layers": 0}),
        ("caser", {"window": 0}),
        ("caser", {"horizontal": 0}),
        ("caser", {"vertical": 0}),
        ("bert4rec", {"blocks": 0}),
        ("bert4rec", {"heads": 3}),
        ("bert4rec", {"mask_share": 0.0}),
        ("bert4rec", {"last_share": 1.1}),
        ("hstu", {"blocks": 0}),
        ("hstu", {"heads": 3}),
        ("hstu", {"temperature": 0.0}),
    ],
)
def test_own_arguments_are_checked(model: str, params: dict) -> None:
    with pytest.raises(ArgumentError, match=next(iter(params))):
        create(model, **params)


@pytest.mark.parametrize("model", MODELS)
def test_a_misspelt_argument_is_corrected(model: str) -> None:
    with pytest.raises(ArgumentError, match="Did you mean 'dropout'"):
        create(model, droput=0.1)


@pytest.mark.parametrize("model", MODELS)
def test_negatives_and_every_holdout_train(model: str, log: TrainingLog) -> None:
    for changes, judged in (({"negatives": 4, "holdout": "events"}, True), ({"holdout": "none"}, False)):
        backbone = create(model, epochs=1, **changes)
        backbone.fit(log, np.random.default_rng(0))
        assert bool(backbone.record.validation) is judged
        assert len(backbone.record.losses) == 1


@pytest.mark.parametrize("model", MODELS)
def test_progress_ends_at_the_total(model: str, log: TrainingLog) -> None:
    calls: list[tuple[int, int, str]] = []
    create(model).fit(log, np.random.default_rng(0), lambda *call: calls.append(call))
    assert calls[-1][0] == calls[-1][1]
    assert [done for done, *_ in calls] == sorted(done for done, *_ in calls)


@pytest.mark.parametrize("model", MODELS)
def test_without_a_cuda_device_asking_for_one_says_so(
    model: str, log: TrainingLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ArgumentError, match="device='cuda'"):
        create(model, device="cuda").fit(log, np.random.default_rng(0))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("model", MODELS)
def test_cuda_trains_and_encodes_what_the_cpu_encodes(
    model: str, log: TrainingLog, ragged: Histories
) -> None:
    backbone, on_cpu = create(model, device="cuda"), create(model)
    backbone.fit(log, np.random.default_rng(0))
    on_cpu.restore(backbone.state())
    np.testing.assert_allclose(backbone.encode(ragged), on_cpu.encode(ragged), rtol=1e-3, atol=1e-4)


def test_listing_the_backbones_imports_no_torch() -> None:
    code = (
        "import sys, metarec_sdk; m = metarec_sdk.PluginManager(enabled=['sequence'], strict=True); "
        "print([r.status.value for r in m.records if r.name == 'sequence'], 'torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert out.stdout.strip() == "['loaded'] False"
