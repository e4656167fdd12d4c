"""The SASRec backbone: what it learns, what it must never look at, and that nothing about it is random."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from metarec_sdk.backbones.sasrec import SASRec  # noqa: E402
from metarec_sdk.errors import ArgumentError, ArtefactError, NotFittedError, StorageError  # noqa: E402
from metarec_sdk.types import AdaptableBackbone, Histories, TrainingLog  # noqa: E402

N_ITEMS = 12
SMALL = {
    "width": 16,
    "history_limit": 8,
    "epochs": 2,
    "batch_size": 8,
    "device": "cpu",
}


def _cycles(users: int = 60, length: int = 12, seed: int = 0) -> TrainingLog:
    """Everybody walks i -> i + 1 around the catalogue from a random start."""
    starts = np.random.default_rng(seed).integers(N_ITEMS, size=users)
    return TrainingLog(
        Histories.from_lists([[int((s + j) % N_ITEMS) for j in range(length)] for s in starts]), N_ITEMS
    )


def _random(users: int = 40, seed: int = 1) -> TrainingLog:
    rng = np.random.default_rng(seed)
    rows = [list(map(int, rng.integers(N_ITEMS, size=rng.integers(1, 20)))) for _ in range(users)]
    return TrainingLog(Histories.from_lists(rows), N_ITEMS)


def _fitted(seed: int = 0, log: TrainingLog | None = None, **changes: object) -> SASRec:
    backbone = SASRec(**{**SMALL, **changes})
    backbone.fit(log or _random(), np.random.default_rng(seed))
    return backbone


@pytest.fixture(scope="module")
def trained() -> SASRec:
    return _fitted()


@pytest.fixture(scope="module")
def ragged() -> Histories:
    return Histories.from_lists([[1, 2, 3], [], [5], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [2, 2], [11] * 8])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_deterministic_cycle_is_learned(precision: str) -> None:
    backbone = _fitted(log=_cycles(), epochs=18, learning_rate=0.01, dropout=0.0, precision=precision)
    rows = [[(i + j) % N_ITEMS for j in range(length)] for length in (1, 5) for i in range(N_ITEMS)]
    scores = backbone.encode(Histories.from_lists(rows)) @ backbone.item_matrix().T
    np.testing.assert_array_equal(scores.argmax(1), [(row[-1] + 1) % N_ITEMS for row in rows])


def test_the_set_target_learns_the_next_ten() -> None:
    n = 2 * N_ITEMS
    log = TrainingLog(Histories.from_lists([[(s + j) % n for j in range(40)] for s in range(n)]), n)
    backbone = _fitted(log=log, epochs=15, learning_rate=0.01, dropout=0.0, target="set")
    scores = backbone.encode(Histories.from_lists([[i] for i in range(n)])) @ backbone.item_matrix().T
    best = np.argsort(-scores, 1)[:, :8]
    ahead = (best - np.arange(n)[:, None]) % n  # 1 … 10 are the next ten
    assert ((ahead >= 1) & (ahead <= 10)).mean() > 0.9


def test_is_an_adaptable_backbone_of_float32_arrays(trained: SASRec, ragged: Histories) -> None:
    assert isinstance(trained, AdaptableBackbone)
    queries, table = trained.encode(ragged), trained.item_matrix()
    assert (queries.shape, queries.dtype) == ((len(ragged), 16), np.float32)
    assert (table.shape, table.dtype, table.flags.c_contiguous) == ((N_ITEMS, 16), np.float32, True)
    assert np.isfinite(queries).all()
    assert trained.encode(Histories.from_lists([])).shape == (0, 16)


def test_an_empty_history_has_the_start_vector(trained: SASRec) -> None:
    queries = trained.encode(Histories.from_lists([[], []]))
    np.testing.assert_array_equal(queries[0], queries[1])
    assert np.abs(queries[0]).max() > 0


def test_rows_are_encoded_as_if_alone(trained: SASRec, ragged: Histories) -> None:
    together = trained.encode(ragged)
    alone = np.concatenate([trained.encode(ragged.take([row])) for row in range(len(ragged))])
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-5)


def test_chunks_keep_the_order_of_rows(trained: SASRec) -> None:
    rng = np.random.default_rng(0)
    many = Histories.from_lists(
        [list(map(int, rng.integers(N_ITEMS, size=n))) for n in rng.integers(0, 9, 600)]
    )
    some = np.array([0, 17, 300, 599])
    np.testing.assert_allclose(trained.encode(many)[some], trained.encode(many.take(some)), atol=1e-5)


def test_only_the_last_events_are_read(trained: SASRec, ragged: Histories) -> None:
    np.testing.assert_array_equal(trained.encode(ragged), trained.encode(ragged.last(8)))
    assert np.abs(trained.encode(ragged) - trained.encode(ragged.last(7)))[3].max() > 1e-4


def test_later_items_never_change_earlier_outputs(trained: SASRec) -> None:
    from metarec_sdk.backbones.sasrec_model import SASRecModel

    model = trained._model
    assert isinstance(model, SASRecModel)
    rows = torch.tensor([[1, 2, 3, 4, 5, 6]])
    changed = torch.tensor([[1, 2, 3, 9, 10, 11]])
    with torch.no_grad():
        before, after = model(rows)[0], model(changed)[0]
    assert torch.equal(before[:4], after[:4])
    assert (before[4:] - after[4:]).abs().amax(1).min() > 1e-4


def test_training_and_serving_compute_the_same(trained: SASRec) -> None:
    row = [1, 2, 3, 4, 5, 6, 7, 8]
    with torch.no_grad():
        states = trained._model(torch.tensor([row]))[0].numpy()  # type: ignore[misc]
    served = trained.encode(Histories.from_lists([row[:k] for k in range(9)]))
    np.testing.assert_allclose(served, states, rtol=1e-5, atol=1e-5)


def test_same_seed_same_bytes_and_the_global_seed_is_left_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second, other = _fitted(3), _fitted(3), _fitted(4)
    assert torch.equal(torch.get_rng_state(), before)
    for name, values in first.state().items():
        assert values.tobytes() == second.state()[name].tobytes(), name
    assert first.item_matrix().tobytes() != other.item_matrix().tobytes()


def test_state_round_trip_before_any_fit(trained: SASRec, ragged: Histories) -> None:
    state = trained.state()
    assert all(values.dtype == np.float32 for values in state.values())
    fresh = SASRec(**SMALL)
    fresh.restore(state)
    assert fresh.encode(ragged).tobytes() == trained.encode(ragged).tobytes()
    assert fresh.item_matrix().tobytes() == trained.item_matrix().tobytes()
    assert fresh.state().keys() == state.keys()


@pytest.mark.parametrize("damage", ["missing", "shape", "nan", "no items"])
def test_a_damaged_state_is_refused_and_the_old_one_stays(damage: str, trained: SASRec) -> None:
    backbone = SASRec(**SMALL)
    backbone.restore(trained.state())
    state = trained.state()
    if damage == "missing":
        del state["norm.weight"]
    elif damage == "no items":
        del state["items"]
    elif damage == "shape":
        state["positions"] = state["positions"][:-1]
    else:
        state["start"][3] = np.nan
    with pytest.raises(ArtefactError):
        backbone.restore(state)
    assert backbone.item_matrix().tobytes() == trained.item_matrix().tobytes()


def test_adapted_equals_encode_without_an_adapter(trained: SASRec, ragged: Histories) -> None:
    inputs = {name: torch.from_numpy(values) for name, values in trained.adapter_inputs(ragged).items()}
    assert all(len(values) == len(ragged) for values in inputs.values())
    sites, seen = trained.adapter_sites(), {}

    def delta(site: str, x: torch.Tensor) -> torch.Tensor:
        seen[site] = (x.shape[1], sites[site][1])
        return torch.zeros(len(x), sites[site][1])

    h = trained.adapted(inputs, delta)
    np.testing.assert_allclose(h.numpy(), trained.encode(ragged), rtol=1e-6, atol=1e-6)
    assert seen == sites == {"attention": (16, 16), "feedforward": (16, 16), "final": (16, 16)}


def test_every_site_takes_a_delta_with_its_gradient() -> None:
    backbone = _fitted(feedforward=24)
    histories = Histories.from_lists([[1, 2], [], [3, 4, 5]])
    inputs = {name: torch.from_numpy(v).double() for name, v in backbone.adapter_inputs(histories).items()}
    sites = backbone.adapter_sites()
    assert sites["feedforward"] == (24, 16)
    generator = torch.Generator().manual_seed(0)
    names = list(sites)
    adapters = [
        (0.1 * torch.randn(sites[name], generator=generator, dtype=torch.float64)).requires_grad_()
        for name in names
    ]

    def adapt(*matrices: torch.Tensor) -> torch.Tensor:
        return backbone.adapted(inputs, lambda site, x: x @ matrices[names.index(site)])

    assert torch.autograd.gradcheck(adapt, adapters)
    plain = backbone.encode(histories)
    for index in range(len(names)):
        alone = [a if i == index else torch.zeros_like(a) for i, a in enumerate(adapters)]
        assert np.abs(adapt(*alone).detach().numpy() - plain).max() > 1e-3
    assert all(not parameter.requires_grad for parameter in backbone._model.parameters())  # type: ignore[union-attr]


def test_events_of_weight_zero_are_not_learned() -> None:
    log = _cycles()
    rows = [[*list(row), 7, 0] for row in log.histories]
    histories = Histories.from_lists(rows)
    weights = histories.weights.copy()
    weights[histories.offsets[1:] - 2] = 0.0
    weights[histories.offsets[1:] - 1] = 0.0

    def losses(noisy: Histories) -> list[float]:
        backbone = _fitted(log=TrainingLog(noisy, N_ITEMS), epochs=12, learning_rate=0.01, dropout=0.0)
        assert backbone.record is not None
        return backbone.record.losses

    ignored = losses(Histories(histories.items, histories.offsets, weights, histories.timestamps))
    counted = losses(histories)
    assert ignored[-1] < 0.75 * counted[-1]


def test_progress_is_called_and_ends_at_the_total() -> None:
    calls: list[tuple[int, int, str]] = []
    backbone = SASRec(**SMALL)
    backbone.fit(_random(), np.random.default_rng(0), lambda *call: calls.append(call))
    dones = [done for done, _, _ in calls]
    assert len(calls) >= 2
    assert dones == sorted(dones)
    assert calls[-1][0] == calls[-1][1]
    assert "NDCG@10" in calls[-1][2]


def test_early_stopping_restores_the_best_epoch() -> None:
    changes = {"epochs": 30, "learning_rate": 0.05, "patience": 2, "dropout": 0.0}
    log = _random(users=80)
    stopped = _fitted(log=log, **changes)
    record = stopped.record
    assert record is not None
    assert len(record.validation) < 30
    assert record.best_epoch == int(np.argmax(record.validation)) == len(record.validation) - 3

    from metarec_sdk.backbones.holdout import hold_out

    rng = np.random.default_rng(0)
    rng.integers(2**63)  # the seeds that fit draws first: the network's …
    rng.integers(2**63)  # … and the dropout's
    _, held_out = hold_out(log.histories, "users", rng)
    assert stopped._model is not None
    assert held_out.ndcg(stopped._model, 8) == max(record.validation)


def test_divergence_is_a_typed_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from metarec_sdk.backbones import training

    monkeypatch.setattr(training, "catalogue_cross_entropy", lambda h, *_, **__: h.sum() * float("nan"))
    with pytest.raises(ArgumentError, match="diverged in epoch 1"):
        _fitted(dropout=0.0)


@pytest.mark.parametrize(("mode", "judged"), [("users", True), ("events", True), ("none", False)])
def test_holdout_modes(mode: str, judged: bool) -> None:
    record = _fitted(holdout=mode).record
    assert record is not None
    assert bool(record.validation) is judged
    assert len(record.losses) == 2


def test_few_users_are_all_trained_on() -> None:
    log = TrainingLog(Histories.from_lists([[0, 1, 2], [3]]), N_ITEMS)
    backbone = _fitted(log=log)
    assert backbone.record is not None
    assert backbone.record.validation == []


def test_init_loads_what_fits(tmp_path, trained: SASRec) -> None:
    from safetensors.numpy import save_file

    path = tmp_path / "pretrained.safetensors"
    save_file({**trained.state(), "something.else": np.zeros(3, np.float32)}, path)
    tiny = {"epochs": 1, "learning_rate": 1e-9, "holdout": "none"}
    same = _fitted(9, init=str(path), **tiny)
    for name, values in trained.state().items():
        np.testing.assert_allclose(same.state()[name], values, atol=1e-6, err_msg=name)

    larger = TrainingLog(_random().histories, N_ITEMS + 3)  # another catalogue: the table is left out
    other = _fitted(9, log=larger, init=str(path), **tiny)
    np.testing.assert_allclose(other.state()["positions"], trained.state()["positions"], atol=1e-6)
    assert np.abs(other.item_matrix()[:N_ITEMS] - trained.item_matrix()).max() > 1e-3


def test_init_that_cannot_be_used_is_a_typed_error(tmp_path, trained: SASRec) -> None:
    from safetensors.numpy import save_file

    path = tmp_path / "pretrained.safetensors"
    with pytest.raises(StorageError, match="can't be read"):
        _fitted(init=str(path))
    save_file(trained.state(), path)
    with pytest.raises(ArtefactError, match=r"'items' has shape \(12, 16\)"):
        _fitted(init=str(path), width=8)
    save_file({"unrelated": np.zeros(3, np.float32)}, path)
    with pytest.raises(ArtefactError, match="lacks"):
        _fitted(init=str(path))
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(ArtefactError, match="safetensors"):
        _fitted(init=str(path))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"width": 0}, "width"),
        ({"width": 10, "heads": 4}, "heads"),
        ({"epochs": 1.5}, "epochs"),
        ({"history_limit": -1}, "history_limit"),
        ({"dropout": 0.95}, "dropout"),
        ({"short_share": 2.0}, "short_share"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"precision": "fp16"}, "precision"),
        ({"device": "tpu"}, "device"),
        ({"target": "last"}, "target"),
        ({"holdout": "all"}, "holdout"),
        ({"negatives": 0}, "negatives"),
    ],
)
def test_arguments_are_checked(changes: dict, named: str) -> None:
    with pytest.raises(ArgumentError, match=named):
        SASRec(**changes)


def test_unusable_logs_and_unfitted_backbones_are_typed_errors(trained: SASRec) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(NotFittedError):
        SASRec().item_matrix()
    with pytest.raises(ArgumentError, match="no events"):
        SASRec().fit(TrainingLog(Histories.from_lists([[], []]), 3), rng)
    with pytest.raises(ArgumentError, match="0 … 2"):
        SASRec().fit(TrainingLog(Histories.from_lists([[1, 3]]), 3), rng)
    histories = Histories.from_lists([[1, 2]])
    weightless = Histories(histories.items, histories.offsets, np.zeros(2, np.float32), histories.timestamps)
    with pytest.raises(ArgumentError, match="weight 0"):
        SASRec().fit(TrainingLog(weightless, 3), rng)
    with pytest.raises(ArgumentError, match="0 … 11"):
        trained.encode(Histories.from_lists([[12]]))


def test_sampled_negatives_learn_the_cycle_too() -> None:
    backbone = _fitted(log=_cycles(), epochs=18, learning_rate=0.01, dropout=0.0, negatives=6)
    scores = backbone.encode(Histories.from_lists([[i] for i in range(N_ITEMS)])) @ backbone.item_matrix().T
    assert (scores.argmax(1) == (np.arange(N_ITEMS) + 1) % N_ITEMS).mean() > 0.9
