"""``transformers/history``: a model of Hugging Face transformers over the items of a history.

The catalogue tells what an item is by its content vector, by a learned vector of its own, or both; the model
reads the vectors of a history and a start vector before them. A decoder does so as it was made. An encoder is
given a causal mask: then one pass trains the query after every prefix (as in SASRec, Kang & McAuley 2018,
arXiv:1808.09781), and what is read in the end, the last place, sees the whole history either way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from metarec_sdk.backbones.training import Trainer, TrainingPlan, TrainingRecord
from metarec_sdk.backbones.windows import WindowSampler
from metarec_sdk.errors import ArgumentError, NotFittedError
from metarec_sdk.types import Float32, Histories, Int32, Progress, State, TrainingLog, no_progress
from metarec_transformers import models
from metarec_transformers.arguments import check_choice, check_counts, check_number, torch_device
from metarec_transformers.network import HistoryNetwork
from metarec_transformers.state import network_from_state, state_of
from metarec_transformers.tasks import TaskNetwork, attach, detach, tagged

FULL_SOFTMAX_LIMIT = 50_000
"""Above this many items the softmax is estimated from `NEGATIVES` sampled ones."""

NEGATIVES = 4096

_ENCODE_ROWS = 256


@dataclass(kw_only=True, eq=False)
class HistoryTransformer:
    """A content-aware backbone around any encoder or decoder; follows `metarec_sdk.types.Backbone`.

    No user ids: a new user is just a short history. The fit is reproducible for the same seed, thread count
    and device; on CUDA, to rounding.
    """

    model: str = "gpt2"
    """A family of transformers ("bert", "gpt2", "llama" …) with random weights in the sizes below, or a local
    folder with ``config.json`` and ``model.safetensors``, in its own sizes and with its own weights."""
    frozen: bool = False
    """Whether the model's weights stay as they are; what is around it is trained in any case."""
    ids: bool = True
    """Whether every item has a learned vector beside its content. Without, items are their content alone, so
    that one without events is ranked as well as any other."""
    width: int = 64
    """d, width of queries and item matrix; of a family's model too, and then a multiple of ``heads``."""
    layers: int = 2
    """Layers of a family's model."""
    heads: int = 2
    """Attention heads of a family's model."""
    history_limit: int = 50
    """Events that are read: the last ones of longer histories."""
    dropout: float = 0.2
    """In 0 … 0.9, in every place where the model has dropout, and on its inputs; rounded to 1/256."""
    epochs: int = 30
    """At most this many passes over the events; the learning rate falls over all of them."""
    batch_size: int = 64
    """Windows in a step."""
    learning_rate: float = 1e-3
    """Peak of Adam's rate. 1e-4 or less where given weights are tuned."""
    patience: int = 6
    """Stop after this many epochs without a better validation NDCG@10."""
    holdout: Literal["users", "events", "none"] = "users"
    """What early stopping is judged on: a tenth of the users (at most 512), the last event of as many, or
    nothing, in which case all epochs are run."""
    device: Literal["cpu", "cuda", "auto"] = "auto"
    """"auto" is CUDA where there is one."""

    uses_content: ClassVar[bool] = True
    """The host gives content vectors in the log."""
    record: TrainingRecord | None = field(default=None, init=False, repr=False)
    """Losses, validation NDCG@10 and seconds of each epoch of the last `fit`."""
    _network: HistoryNetwork | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        """Raises `ArgumentError` for an argument out of range."""
        check_counts(
            width=self.width,
            layers=self.layers,
            heads=self.heads,
            history_limit=self.history_limit,
            epochs=self.epochs,
            batch_size=self.batch_size,
            patience=self.patience,
        )
        check_number("dropout", self.dropout, at_most=0.9, above=False)
        check_number("learning_rate", self.learning_rate, at_most=1.0, above=True)
        check_choice("frozen", self.frozen, (False, True))
        check_choice("ids", self.ids, (False, True))
        check_choice("holdout", self.holdout, ("users", "events", "none"))
        check_choice("device", self.device, ("cpu", "cuda", "auto"))

    def fit(self, log: TrainingLog, rng: np.random.Generator, progress: Progress = no_progress) -> None:
        """Train on every user's history, weighted by the events' weights, and on the items' content.

        Raises:
            ArgumentError: no event of positive weight, an item index out of range, content of another number
                of items or none at all without ``ids``, a model that doesn't read vectors causally, or CUDA
                was asked for and isn't there.
            ArtefactError: the model's folder can't be used.
        """
        if len(log.histories.items) == 0:
            raise ArgumentError("the log has no events to train on")
        _check_items(log.histories, log.n_items)
        content = self._content(log)
        device = torch_device(self.device)
        body = self._body(int(rng.integers(2**63)))
        masked = models.needs_mask(body, self.model, self.history_limit + 1)
        n_content = 0 if content is None else content.shape[1]
        network = HistoryNetwork(body, log.n_items, n_content, self.width, masked=masked)
        network.body.requires_grad_(not self.frozen)
        network.initialise(content, self.ids, torch.Generator().manual_seed(int(rng.integers(2**63))))
        network.to(device)
        self.record = Trainer(network, self._plan(log.n_items), rng).fit(
            log.histories, self._windows, progress
        )
        network.settle()
        self._network = network

    def item_matrix(self) -> Float32:
        """f32[n, d], C-contiguous: the items' vectors, from content, ids or both."""
        return np.array(self._fitted().items.cpu().numpy(), np.float32, order="C")

    def place(self, content: Float32) -> Float32:
        """f32[j, d], rows for items that the fit didn't know, from their content f32[j, c] alone.

        They are ranked with the same queries as `item_matrix`; a row of zeros stays one.
        Raises `ArgumentError` for content of another width than the fit had.
        """
        network = self._fitted()
        if content.ndim != 2 or content.shape[1] != len(network.project) or not content.shape[1]:
            raise ArgumentError(
                f"content must be f32[j, {len(network.project)}], as in the fit, got {content.shape}"
            )
        rows = torch.from_numpy(np.array(content, np.float32)).to(network.items.device)
        return network.place(rows).cpu().numpy()

    def encode(self, histories: Histories, tasks: Int32 | None = None) -> Float32:
        """f32[b, d], queries after the last ``history_limit`` events of each row, in bounded memory.

        tasks: i32[b], whose adapters serve each row, after `adapt`; -1 is none.
        Raises `ArgumentError` for an item outside the catalogue, and for tasks that no adapter is there for.
        """
        network: HistoryNetwork | TaskNetwork = self._fitted()
        recent = histories.last(self.history_limit)
        _check_items(recent, len(self._fitted().items))
        if tasks is not None:
            network = TaskNetwork(self._fitted())
            recent = tagged(recent, tasks, network.n_tasks)
        queries = np.empty((len(histories), self.width), np.float32)
        order = np.argsort(recent.lengths, kind="stable")  # rows of similar length: little padding
        for first in range(0, len(order), _ENCODE_ROWS):
            rows = order[first : first + _ENCODE_ROWS]
            queries[rows] = network.encode(recent.take(rows)).cpu().numpy()
        return queries

    def adapt(
        self,
        log: TrainingLog,
        tasks: Int32,
        rng: np.random.Generator,
        *,
        rank: int = 4,
        progress: Progress = no_progress,
    ) -> TrainingRecord:
        """Learn an adapter of ``rank`` for each task, in every linear layer of the model; the rest is frozen.

        The layers are those of `metarec_sdk.adapters.attach`, with its kernels; an adapter starts as no
        change, and a second call starts anew. tasks: i32[u] in 0 … T-1, the task of each row of the log, -1
        for none. A person without events has nothing to show which task it is, and is served by none.

        Raises `ArgumentError` for another number of tasks than rows, where nobody has a task, and for a model
        whose layers can't carry adapters; then there are none.
        """
        network = self._fitted()
        check_counts(rank=rank)
        n_tasks = int(tasks.max(initial=-1)) + 1
        if n_tasks == 0:
            raise ArgumentError("tasks must name the task of at least one row of the log, got none")
        _check_items(log.histories, len(network.items))
        histories = tagged(log.histories, tasks, n_tasks)
        attach(network, n_tasks=n_tasks, rank=rank, seed=int(rng.integers(2**63)))
        adapted = TaskNetwork(network)
        try:
            return Trainer(adapted, self._plan(log.n_items), rng).fit(histories, self._windows, progress)
        except BaseException:
            detach(network)
            raise
        finally:
            network.requires_grad_(False)

    def state(self) -> State:
        """The parameters by name, float32, and the model's configuration as JSON in bytes."""
        return state_of(self._fitted())

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `state` gave, before or after a fit; the model's folder isn't needed.

        Raises `ArtefactError` where an array is missing, of another shape than the others say, or not
        finite; what was fitted before stays.
        """
        self._network = network_from_state(state, self.width).to(torch_device(self.device))

    def _body(self, seed: int) -> models.PreTrainedModel:
        if models.is_folder(self.model):
            return models.without_vocabulary(models.given_model(self.model))
        sizes = {"width": self.width, "layers": self.layers, "heads": self.heads}
        config = models.family_config(self.model, positions=self.history_limit + 1, **sizes)
        return models.random_model(config, seed)

    def _content(self, log: TrainingLog) -> torch.Tensor | None:
        features = log.item_features
        if features is None or not features.any():
            if not self.ids:
                raise ArgumentError(
                    "ids=False makes items of their content alone, but the log has none; give an items' "
                    "table and a content encoder that reads it, or use ids=True"
                )
            return None
        if features.ndim != 2 or len(features) != log.n_items:
            raise ArgumentError(f"item_features must be f32[{log.n_items}, c], got {features.shape}")
        return torch.from_numpy(np.array(features, np.float32))

    def _plan(self, n_items: int) -> TrainingPlan:
        return TrainingPlan(
            history_limit=self.history_limit,
            dropout=self.dropout,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            patience=self.patience,
            low_precision=False,
            negatives=NEGATIVES if n_items > FULL_SOFTMAX_LIMIT else None,
            holdout=self.holdout,
        )

    def _windows(self, histories: Histories) -> WindowSampler:
        return WindowSampler(
            histories,
            history_limit=self.history_limit,
            short_share=0.0,
            set_target=False,
            batch_size=self.batch_size,
        )

    def _fitted(self) -> HistoryNetwork:
        if self._network is None:
            raise NotFittedError(
                "transformers/history isn't fitted; call fit(log, rng) or restore(state) first"
            )
        return self._network


def _check_items(histories: Histories, n_items: int) -> None:
    items = histories.items
    if len(items) and (int(items.min()) < 0 or int(items.max()) >= n_items):
        raise ArgumentError(
            f"item indices must be in 0 … {n_items - 1}, got {int(items.min())} … {int(items.max())}"
        )
