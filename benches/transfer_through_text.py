"""A SASRec trained on one data set initialises another through item text (long).

    OMP_NUM_THREADS=1 python benches/transfer_through_text.py

Source and target share no ids, only the encoder of their item texts (`content/sentences` of the plugin
metarec-content, with wordllama). The source's item table begins with the principal components of its text
vectors and is trained. A ridge regression, its penalty chosen by leave-one-out on the source's items,
maps the text vectors to that table; applied to the target's text vectors it gives the target's first item
table, which goes with the source's transformer into ``SASRec(init=...)``.

Six tenths of the target's people are held out whole; those with six items or more are judged after k of
them, on the next ten at most, in full ranking over all items of the target's training events. The others,
or a part of them drawn anew by each seed, are trained on. Who starts where:

- random start: nothing is carried over.
- transformer only: the source's weights without an item table.
- text only: the principal components of the target's text vectors as item table, nothing of the source.
- through text: the source's transformer and the mapped table.
- zero-shot: the same without any training on the target.
- text similarity: the mean text vector of the history, no training at all.
- popularity: of the people trained on.

The epochs of each contender at each share, and the scale of an item table that comes from texts, are
chosen on a validation window within the target's training people, by one seed. Appends a row for each
direction and share to ``benches/results/transfer_through_text.jsonl``; --quick tries every step, judges
the validation people only and writes no row. The data is read from ``NAME/interactions.parquet`` and
``NAME/items.parquet`` in the folder of ``--data`` or ``METAREC_DATA``.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from _record import append, machine
from safetensors.numpy import save_file
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeCV

import metarec_sdk as mr
from metarec_sdk.backbones.sasrec import SASRec
from metarec_sdk.data import Interactions, Vocabulary, encode, first_visits
from metarec_sdk.evaluation import ColdStart
from metarec_sdk.evaluation.baselines.backbone import BackboneZeroShot
from metarec_sdk.evaluation.baselines.popularity import Popularity
from metarec_sdk.evaluation.bootstrap import Estimate, paired_bootstrap
from metarec_sdk.evaluation.cases import Window
from metarec_sdk.evaluation.encoded_window import EncodedWindow
from metarec_sdk.evaluation.judging import judge_ranker
from metarec_sdk.ranking import ItemIndex
from metarec_sdk.types import Float32, Float64, Histories, Ranker, State, TopK, TrainingLog

DIRECTIONS = (
    ("amazon-office-text", "amazon-industrial-text"),
    ("amazon-industrial-text", "amazon-office-text"),
)
TEXTS = ["title", "description", "brand"]
PROTOCOL = ColdStart(ks=(1, 3, 5), n_query=10, orders=("time",), held_out=0.6, min_events=6)
SASREC = {"width": 64, "holdout": "none", "device": "cpu"}
SOURCE_EPOCHS, SOURCE_SCALE = 12, 0.1
EPOCHS = {1.0: (4, 12), 0.2: (4, 12, 36), 0.05: (4, 12, 36)}
"""Candidates for each share of the people that is trained on."""
SCALES = (0.02, 0.1)
"""Candidates for the standard deviation of a table from texts; the first is that of a random start."""
PENALTIES = np.logspace(0, 5, 11)
N_DRAWS = 2_000

STARTS = ("random start", "transformer only", "text only", "through text")
CONTRASTS = (
    *((name, "random start") for name in (*STARTS[1:], "zero-shot", "text similarity", "popularity")),
    ("through text", "transformer only"),
    ("through text", "text only"),
    ("through text", "popularity"),
    ("zero-shot", "text similarity"),
    ("zero-shot", "popularity"),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("METAREC_DATA", ".")))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one direction, seed and share; writes no row")
    arguments = parser.parse_args()
    names = sorted({name for direction in DIRECTIONS for name in direction})
    missing = [name for name in names if not (arguments.data / name / "items.parquet").exists()]
    if missing:
        raise SystemExit(f"{arguments.data} has no {missing}: name a folder with --data or METAREC_DATA")
    sets = {name: DataSet.read(arguments.data / name) for name in names}
    for source, target in DIRECTIONS[:1] if arguments.quick else DIRECTIONS:
        with tempfile.TemporaryDirectory() as folder:
            transfer = Transfer(sets[source], sets[target], Path(folder), arguments.quick)
            for row in transfer.rows(1 if arguments.quick else arguments.seeds):
                if arguments.quick:
                    print(row)
                else:
                    append("transfer_through_text", row)


@dataclass(frozen=True)
class DataSet:
    name: str
    log: Interactions
    ids: Vocabulary
    """Of the items that have a text vector."""
    vectors: Float32
    """f32[n, c]."""

    @classmethod
    def read(cls, folder: Path) -> DataSet:
        frame = pl.read_parquet(folder / "interactions.parquet").sort("user_id", "position")
        items = pl.read_parquet(folder / "items.parquet")
        encoder = mr.PluginManager(enabled=["content"], strict=True).create(
            "content", "content/sentences", {}
        )
        ids = Vocabulary.from_ids(items["item_id"])
        vectors = encoder.encode(items.select(TEXTS))[np.argsort(ids.encode(items["item_id"]))]
        say(f"{folder.name}: {len(items)} texts encoded")
        log = mr.read_interactions(frame.select("user_id", "item_id"), time=None)
        return cls(folder.name, log, ids, vectors)

    def texts(self, ids: pl.Series) -> Float32:
        """f32[n, c] of the given items."""
        rows = self.ids.encode(ids)
        if (rows < 0).any():
            raise SystemExit(f"{self.name}: {int((rows < 0).sum())} items of the log aren't in items.parquet")
        return np.ascontiguousarray(self.vectors[rows])


class TextSimilarity:
    """Ranks by the inner product with the mean text vector of the history."""

    def __init__(self, vectors: Float32) -> None:
        self._vectors = vectors
        self._index = ItemIndex(vectors)

    def rank(self, histories: Histories, k: int) -> TopK:
        queries = np.zeros((len(histories), self._vectors.shape[1]), np.float32)
        for row, items in enumerate(histories):
            if len(items):
                queries[row] = self._vectors[items].mean(axis=0)
        return self._index.topk(queries, k, exclude=histories)


@dataclass
class Transfer:
    """One direction."""

    source: DataSet
    target: DataSet
    folder: Path
    quick: bool
    _sources: dict[int, tuple[State, RidgeCV]] = field(default_factory=dict)

    def rows(self, n_seeds: int) -> Iterator[dict[str, Any]]:
        """A row for each share, from largest to smallest."""
        prepared = PROTOCOL.prepare(self.target.log)
        validation = Stage.of(self.target, prepared.validation, prepared.items)
        test = validation if self.quick else Stage.of(self.target, prepared.test, prepared.items)
        for share in [min(EPOCHS)] if self.quick else EPOCHS:
            settings, found = self._choose(validation, share)
            values: dict[str, list[Float64]] = {}
            for seed in range(n_seeds):
                for name, scores in self._run(test, share, seed, settings).items():
                    values.setdefault(name, []).append(scores)
                means = {name: round(float(scores[-1].mean()), 4) for name, scores in values.items()}
                say(f"{self.target.name}, share {share}, seed {seed}: {means}")
            yield {
                "source": self.source.name,
                "target": self.target.name,
                "share": share,
                "people_trained_on": len(test.log(share, 0).histories),
                "people_judged": len(test.window.cases[0].episodes),
                "catalogue": test.window.catalogue.size,
                "seeds": n_seeds,
                "settings": {name: one._asdict() for name, one in settings.items()},
                "validation_ndcg@10": found,
                "source_fits": [ridge_facts(*self._trained_source(seed)) for seed in range(n_seeds)],
                **summary(values),
                "protocol": prepared.hash,
                "machine": machine("torch", "wordllama", "scikit-learn"),
            }

    def _choose(self, stage: Stage, share: float) -> tuple[dict[str, Settings], dict[str, dict[str, float]]]:
        """(settings of each contender, what each candidate reached)."""
        chosen, found = {}, {}
        for name in STARTS:
            scales = SCALES if name in ("text only", "through text") else (None,)
            candidates = [Settings(epochs, scale) for epochs in EPOCHS[share] for scale in scales]
            reached = [float(self._trained(stage, share, 0, name, one).mean()) for one in candidates]
            chosen[name] = candidates[int(np.argmax(reached))]
            found[name] = {
                "epochs {}, scale {}".format(*one): round(value, 5)
                for one, value in zip(candidates, reached, strict=True)
            }
            say(f"{self.target.name}, share {share}, {name}, validation: {found[name]}")
        return chosen, found

    def _run(
        self, stage: Stage, share: float, seed: int, settings: Mapping[str, Settings]
    ) -> dict[str, Float64]:
        """NDCG@10 f64[k, u] by contender."""
        scores = {name: self._trained(stage, share, seed, name, settings[name]) for name in STARTS}
        backbone = SASRec(**SASREC)
        backbone.restore(self._start("through text", stage, seed, None))
        scores["zero-shot"] = stage.judge(BackboneZeroShot(backbone))
        scores["text similarity"] = stage.judge(TextSimilarity(stage.texts))
        popularity = Popularity()
        popularity.fit(stage.log(share, seed), np.random.default_rng(seed))
        scores["popularity"] = stage.judge(popularity)
        return scores

    def _trained(self, stage: Stage, share: float, seed: int, name: str, settings: Settings) -> Float64:
        arrays = self._start(name, stage, seed, settings.scale)
        backbone = self._fit(stage.log(share, seed), seed, settings.epochs, arrays)
        return stage.judge(BackboneZeroShot(backbone))

    def _start(self, name: str, stage: Stage, seed: int, scale: float | None) -> State:
        """The arrays that a contender begins with; ``scale`` None leaves a table from texts as it is."""
        if name == "random start":
            return {}
        if name == "text only":
            return {"items": scaled(components(stage.texts), scale)}
        state, ridge = self._trained_source(seed)
        arrays = {array: value for array, value in state.items() if array != "items"}
        if name == "through text":
            arrays["items"] = scaled(ridge.predict(stage.texts), scale)
        return arrays

    def _trained_source(self, seed: int) -> tuple[State, RidgeCV]:
        """(weights, map from texts to the item table) of a source trained on all of its people."""
        if seed not in self._sources:
            log, _, known = encode(self.source.log)
            visits = TrainingLog(first_visits(log.histories), log.n_items)
            texts = self.source.texts(known.ids)
            begin = {"items": scaled(components(texts), SOURCE_SCALE)}
            state = self._fit(visits, seed, 1 if self.quick else SOURCE_EPOCHS, begin).state()
            self._sources[seed] = state, RidgeCV(PENALTIES).fit(texts, state["items"])
            say(f"{self.source.name}, seed {seed}, trained: {ridge_facts(*self._sources[seed])}")
        return self._sources[seed]

    def _fit(self, log: TrainingLog, seed: int, epochs: int, arrays: State) -> SASRec:
        init = self.folder / "init.safetensors"
        if arrays:
            save_file(dict(arrays), init)
        backbone = SASRec(**SASREC, epochs=epochs, init=str(init) if arrays else None)
        backbone.fit(log, np.random.default_rng(seed))
        return backbone


class Settings(NamedTuple):
    """What is chosen on validation."""

    epochs: int
    scale: float | None
    """Standard deviation of an item table from texts."""


@dataclass(frozen=True)
class Stage:
    """The validation or the test window of a target."""

    window: EncodedWindow
    texts: Float32
    """f32[n, c] of the catalogue, in the order of the rankers' items."""

    @classmethod
    def of(cls, data: DataSet, window: Window, items: Vocabulary) -> Stage:
        encoded = EncodedWindow.of(window.train, window.cases, items)
        return cls(encoded, data.texts(items.ids[encoded.translation.outward]))

    def people(self, share: float, seed: int) -> np.ndarray[Any, Any]:
        """Rows of the people trained on; the same for every contender."""
        n = len(self.window.log.histories)
        return np.sort(np.random.default_rng([seed, 2]).permutation(n)[: round(share * n)])

    def log(self, share: float, seed: int) -> TrainingLog:
        """Theirs, over the whole catalogue."""
        return self.window.log.take(self.people(share, seed))

    def judge(self, ranker: Ranker) -> Float64:
        """f64[k, u], NDCG@10 of the same people after each number of events."""
        window = self.window
        return np.stack(
            [
                judge_ranker(
                    ranker, window.translation, window.catalogue, case.episodes.support, case.episodes.query
                ).metric("ndcg@10")
                for case in window.cases
            ]
        )


def components(texts: Float32) -> Float64:
    """f64[n, d], the principal components of the vectors."""
    found: Float64 = PCA(SASREC["width"], svd_solver="full").fit_transform(texts)
    return found


def scaled(table: Float64, scale: float | None) -> Float32:
    """The table with that standard deviation over all of its numbers, or as it is."""
    return np.ascontiguousarray(table if scale is None else table * (scale / table.std()), np.float32)


def ridge_facts(state: State, ridge: RidgeCV) -> dict[str, float]:
    """The penalty, R² of the table over left-out items, and the table's standard deviation."""
    items = state["items"]
    return {
        "penalty": round(float(ridge.alpha_), 1),
        "left_out_r2": round(1 + float(ridge.best_score_) / float(items.var(axis=0).mean()), 3),
        "scale": round(float(items.std()), 3),
    }


def summary(values: Mapping[str, list[Float64]]) -> dict[str, Any]:
    """NDCG@10 and paired differences, at each k and in their mean; 95 % intervals over people and seeds."""
    names = list(values)
    scores = np.array([values[name] for name in names])  # [contenders, seeds, k, u]
    ndcg: dict[str, dict[str, list[float]]] = {name: {} for name in names}
    differences: dict[str, dict[str, list[float]]] = {f"{a} - {b}": {} for a, b in CONTRASTS}
    columns = {str(k): scores[:, :, row] for row, k in enumerate(PROTOCOL.ks)}
    for k, column in {**columns, "mean": scores.mean(axis=2)}.items():
        resampled = paired_bootstrap(column, np.random.default_rng(0), N_DRAWS)
        for row, name in enumerate(names):
            ndcg[name][k] = rounded(resampled.mean(row))
        for a, b in CONTRASTS:
            differences[f"{a} - {b}"][k] = rounded(resampled.difference(names.index(a), names.index(b)))
    return {"ndcg@10": ndcg, "differences": differences}


def rounded(estimate: Estimate) -> list[float]:
    """[value, low, high]."""
    return [round(float(number), 5) for number in (estimate.value, estimate.low, estimate.high)]


def say(message: str) -> None:
    print(f"{time.process_time():6.0f} s  {message}", flush=True)


if __name__ == "__main__":
    main()
