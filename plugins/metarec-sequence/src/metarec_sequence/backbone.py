"""What the five backbones have in common: arguments, training, encoding, state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from metarec_sdk.backbones.network import Sampler
from metarec_sdk.backbones.training import Trainer, TrainingPlan, TrainingRecord
from metarec_sdk.backbones.windows import WindowSampler
from metarec_sdk.errors import ArgumentError, ArtefactError, NotFittedError
from metarec_sdk.types import Float32, Histories, Progress, State, TrainingLog, no_progress
from metarec_sequence.arguments import check_choice, check_counts, check_range
from metarec_sequence.network import SequenceNetwork

FULL_SOFTMAX_LIMIT = 50_000
"""Above this many items the softmax is estimated from `DEFAULT_NEGATIVES` sampled ones."""

DEFAULT_NEGATIVES = 4096

_ENCODE_ROWS = 256


@dataclass(kw_only=True, eq=False)
class SequenceBackbone(ABC):
    """A network over histories, trained with softmax cross-entropy; follows `metarec_sdk.types.Backbone`.

    No user ids: a new user is just a short history, and nobody at all has a learned query. The fit is
    reproducible for the same seed, thread count and device; on CUDA, to rounding.
    """

    width: int = 64
    """d, width of queries and item table."""
    history_limit: int = 50
    """Events that are read: the last ones of longer histories."""
    dropout: float = 0.2
    """In 0 … 0.9; rounded to 1/256."""
    epochs: int = 30
    """At most this many passes over the events; the learning rate falls over all of them."""
    batch_size: int = 64
    """Windows in a step."""
    learning_rate: float = 1e-3
    """Peak of Adam's rate."""
    patience: int = 6
    """Stop after this many epochs without a better validation NDCG@10."""
    negatives: int | None = None
    """Sampled negatives a step; None is all items, or 4,096 above 50,000 items."""
    holdout: Literal["users", "events", "none"] = "users"
    """What early stopping is judged on: a tenth of the users (at most 512), the last event of as many, or
    nothing, in which case all epochs are run."""
    device: Literal["cpu", "cuda", "auto"] = "auto"
    """"auto" is CUDA where there is one."""

    name: ClassVar[str]
    """The component's name, for messages."""
    record: TrainingRecord | None = field(default=None, init=False, repr=False)
    """Losses, validation NDCG@10 and seconds of each epoch of the last `fit`."""
    _network: SequenceNetwork | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        """Raises `ArgumentError` for an argument out of range."""
        check_counts(
            width=self.width,
            history_limit=self.history_limit,
            epochs=self.epochs,
            batch_size=self.batch_size,
            patience=self.patience,
            negatives=1 if self.negatives is None else self.negatives,
        )
        check_range("dropout", self.dropout, 0.0, 0.9)
        check_range("learning_rate", self.learning_rate, 0.0, 1.0, above=True)
        check_choice("holdout", self.holdout, ("users", "events", "none"))
        check_choice("device", self.device, ("cpu", "cuda", "auto"))

    @abstractmethod
    def network(self, n_items: int) -> SequenceNetwork:
        """The network over a catalogue of n items, its parameters still unset."""

    def sampler(self, histories: Histories, n_items: int) -> Sampler:
        """What deals the batches: by default, the next event after each prefix of a window."""
        return self.windows(histories)

    def windows(self, histories: Histories) -> WindowSampler:
        """Windows of at most ``history_limit`` events and what follows them."""
        return WindowSampler(
            histories,
            history_limit=self.history_limit,
            short_share=0.0,
            set_target=False,
            batch_size=self.batch_size,
        )

    def fit(self, log: TrainingLog, rng: np.random.Generator, progress: Progress = no_progress) -> None:
        """Train on every user's history, weighted by the events' weights.

        Raises `ArgumentError` for a log without an event of positive weight, for an item index out of range,
        and where CUDA was asked for and isn't there.
        """
        if len(log.histories.items) == 0:
            raise ArgumentError("the log has no events to train on")
        _check_items(log.histories, log.n_items)
        network = self._placed(log.n_items)
        network.initialise(torch.Generator().manual_seed(int(rng.integers(2**63))))
        network.to(self._torch_device())
        sampled = DEFAULT_NEGATIVES if log.n_items > FULL_SOFTMAX_LIMIT else None
        plan = TrainingPlan(
            history_limit=self.history_limit,
            dropout=self.dropout,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            patience=self.patience,
            low_precision=False,
            negatives=self.negatives or sampled,
            holdout=self.holdout,
        )
        trainer = Trainer(network, plan, rng)
        self.record = trainer.fit(log.histories, lambda part: self.sampler(part, log.n_items), progress)
        self._network = network.requires_grad_(False)

    @torch.no_grad()
    def item_matrix(self) -> Float32:
        """f32[n, d], C-contiguous: the table that items are ranked by."""
        return np.array(self._fitted().table().cpu().numpy(), np.float32, order="C")

    def encode(self, histories: Histories) -> Float32:
        """f32[b, d], queries after the last ``history_limit`` events of each row, in bounded memory.

        Raises `ArgumentError` for an item index outside the catalogue.
        """
        network = self._fitted()
        recent = histories.last(self.history_limit)
        _check_items(recent, len(network.items))
        queries = np.empty((len(histories), self.width), np.float32)
        order = np.argsort(recent.lengths, kind="stable")  # rows of similar length: little padding
        for first in range(0, len(order), _ENCODE_ROWS):
            rows = order[first : first + _ENCODE_ROWS]
            queries[rows] = network.encode(recent.take(rows)).cpu().numpy()
        return queries

    def state(self) -> State:
        """The parameters by name, float32."""
        parameters = self._fitted().state_dict()
        return {name: np.array(value.cpu().numpy(), order="C") for name, value in parameters.items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `state` gave, before or after a fit; n comes from the item table.

        Raises `ArtefactError` where an array is missing, of another shape than the arguments say, or not
        finite; what was fitted before stays.
        """
        items = state.get("items")
        if items is None or items.ndim != 2 or len(items) == 0:
            raise ArtefactError(f"the state of {self.name} has no item table 'items' f32[n, d]")
        network = self._placed(len(items))
        parameters = dict(network.named_parameters())
        if missing := sorted(set(parameters) - set(state)):
            raise ArtefactError(f"the state of {self.name} lacks {missing}; it has {sorted(state)}")
        for name, parameter in parameters.items():
            if state[name].shape != tuple(parameter.shape):
                raise ArtefactError(
                    f"the state's {name!r} has shape {state[name].shape}, but these arguments of {self.name} "
                    f"make it {tuple(parameter.shape)}; use those that it was fitted with"
                )
            if not np.isfinite(state[name]).all():
                raise ArtefactError(f"the state's {name!r} holds NaN or infinite values")
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(torch.from_numpy(np.array(state[name], np.float32)))
        self._network = network.to(self._torch_device()).requires_grad_(False)

    def _placed(self, n_items: int) -> SequenceNetwork:
        with torch.device("meta"):  # no parameter is drawn from torch's global seed
            network = self.network(n_items)
        return network.to_empty(device="cpu")

    def _torch_device(self) -> torch.device:
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ArgumentError("device='cuda' but torch finds no CUDA device; use device='auto' or 'cpu'")
        use_cuda = self.device != "cpu" and torch.cuda.is_available()
        return torch.device("cuda" if use_cuda else "cpu")

    def _fitted(self) -> SequenceNetwork:
        if self._network is None:
            raise NotFittedError(f"{self.name} isn't fitted; call fit(log, rng) or restore(state) first")
        return self._network


def _check_items(histories: Histories, n_items: int) -> None:
    items = histories.items
    if len(items) and (int(items.min()) < 0 or int(items.max()) >= n_items):
        raise ArgumentError(
            f"item indices must be in 0 … {n_items - 1}, got {int(items.min())} … {int(items.max())}"
        )
