"""The default backbone: a causal transformer over the history, trained with full cross-entropy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from metarec_sdk.errors import ArgumentError, ArtefactError, MissingDependencyError, NotFittedError
from metarec_sdk.types import Float32, Histories, Int64, Progress, State, TrainingLog, no_progress

if TYPE_CHECKING:
    import torch

    from metarec_sdk.backbones.sasrec_model import SASRecModel
    from metarec_sdk.backbones.training import TrainingRecord

FULL_SOFTMAX_LIMIT = 50_000
"""Above this many items the softmax is estimated from `DEFAULT_NEGATIVES` sampled ones."""

DEFAULT_NEGATIVES = 4096

_ENCODE_ROWS = 256


class SASRec:
    """SASRec (Kang & McAuley 2018) with softmax cross-entropy (Klenitskiy & Vasilev 2023).

    No user ids: a new user is just a short history, and nobody at all is the start token alone. Implements
    `metarec_sdk.types.AdaptableBackbone`. All arguments are keywords and JSON-able.

    Args:
        width: d, width of queries and item table; a multiple of ``heads``.
        blocks: attention blocks.
        heads: attention heads.
        feedforward: d_ff, inner width of the feed-forward networks; ``None`` is ``width``.
        history_limit: events that are read: the last ones of longer histories.
        dropout: on the embeddings and on what each block adds, in 0 … 0.9; rounded to 1/256.
        epochs: at most this many passes over the events; the learning rate falls over all of them.
        batch_size: windows in a step.
        learning_rate: peak of Adam's rate.
        patience: stop after this many epochs without a better validation NDCG@10.
        precision: ``"bf16"`` trains under autocast with bfloat16 products; weights stay float32 and
            `encode` always computes in float32.
        device: ``"cpu"``, ``"cuda"`` or ``"auto"`` (CUDA where there is one).
        target: ``"next"`` predicts the next event, ``"set"`` a random one of the next 10.
        negatives: sampled negatives a step; ``None`` is all items, or 4,096 above 50,000 items.
        short_share: least share of the loss on queries after at most 10 events, in 0 … 1.
        holdout: what early stopping is judged on: ``"users"`` leaves a tenth of the users (at most 512) out
            of training and predicts what they took after 0, 1, 3, 5, 10, 20 and up to six later counts;
            ``"events"`` leaves out only their last event; ``"none"`` trains for all epochs. Under ten users
            with two events nobody is held out.
        init: safetensors file of pretrained arrays named as in `state`. Every array whose name is known is
            loaded before training; the item table only if it has as many items as the log.

    The fit is reproducible for the same seed, thread count and device; on CUDA, to rounding.
    """

    def __init__(
        self,
        *,
        width: int = 64,
        blocks: int = 2,
        heads: int = 2,
        feedforward: int | None = None,
        history_limit: int = 50,
        dropout: float = 0.2,
        epochs: int = 12,
        batch_size: int = 32,
        learning_rate: float = 1e-3,
        patience: int = 6,
        precision: Literal["fp32", "bf16"] = "fp32",
        device: Literal["cpu", "cuda", "auto"] = "auto",
        target: Literal["next", "set"] = "next",
        negatives: int | None = None,
        short_share: float = 0.5,
        holdout: Literal["users", "events", "none"] = "users",
        init: str | None = None,
    ) -> None:
        counts = {
            "width": width,
            "blocks": blocks,
            "heads": heads,
            "feedforward": 1 if feedforward is None else feedforward,
            "history_limit": history_limit,
            "epochs": epochs,
            "batch_size": batch_size,
            "patience": patience,
            "negatives": 1 if negatives is None else negatives,
        }
        for name, count in counts.items():
            if isinstance(count, bool) or not isinstance(count, int) or count < 1:
                raise ArgumentError(f"{name} must be an integer ≥ 1, got {count!r}")
        if width % heads:
            raise ArgumentError(f"width must be a multiple of heads, got width={width} and heads={heads}")
        if not 0.0 <= dropout <= 0.9:
            raise ArgumentError(f"dropout must be in 0 … 0.9, got {dropout!r}")
        if not 0.0 <= short_share <= 1.0:
            raise ArgumentError(f"short_share must be in 0 … 1, got {short_share!r}")
        if not 0.0 < learning_rate <= 1.0:
            raise ArgumentError(f"learning_rate must be above 0 and at most 1, got {learning_rate!r}")
        for name, choice, choices in (
            ("precision", precision, ("fp32", "bf16")),
            ("device", device, ("cpu", "cuda", "auto")),
            ("target", target, ("next", "set")),
            ("holdout", holdout, ("users", "events", "none")),
        ):
            if choice not in choices:
                raise ArgumentError(f"{name} must be one of {list(choices)}, got {choice!r}")
        self.width, self.blocks, self.heads = width, blocks, heads
        self.feedforward = width if feedforward is None else feedforward
        self.history_limit, self.dropout, self.epochs = history_limit, dropout, epochs
        self.batch_size, self.learning_rate, self.patience = batch_size, learning_rate, patience
        self.precision, self.device, self.target = precision, device, target
        self.negatives, self.short_share, self.holdout, self.init = negatives, short_share, holdout, init
        self._model: SASRecModel | None = None
        self.record: TrainingRecord | None = None
        """Losses, validation NDCG@10 and seconds of each epoch of the last `fit`."""

    def fit(self, log: TrainingLog, rng: np.random.Generator, progress: Progress = no_progress) -> None:
        """Train on every user's history, weighted by the events' weights; in a new random order each epoch
        where the log isn't ordered.

        Raises:
            MissingDependencyError: torch isn't installed.
            ArgumentError: no event, no event of positive weight, an item index out of range, or CUDA was
                asked for and isn't there.
            ArtefactError: ``init`` can't be used.
        """
        _require_torch()
        from metarec_sdk.backbones.training import Trainer, TrainingPlan
        from metarec_sdk.backbones.windows import WindowSampler

        histories = log.histories
        if len(histories.items) == 0:
            raise ArgumentError("the log has no events to train on")
        _check_items(histories, log.n_items)
        model = self._build(log.n_items)
        self._initialise(model, rng)
        model.to(self._torch_device())
        sampled = DEFAULT_NEGATIVES if log.n_items > FULL_SOFTMAX_LIMIT else None
        plan = TrainingPlan(
            history_limit=self.history_limit,
            dropout=self.dropout,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            patience=self.patience,
            low_precision=self.precision == "bf16",
            negatives=self.negatives or sampled,
            holdout=self.holdout,
        )

        def sampler_of(training: Histories) -> WindowSampler:
            return WindowSampler(
                training,
                history_limit=self.history_limit,
                short_share=self.short_share,
                set_target=self.target == "set",
                batch_size=self.batch_size,
                shuffle=not log.ordered,
            )

        self.record = Trainer(model, plan, rng).fit(histories, sampler_of, progress)
        self._model = model.requires_grad_(False)

    def item_matrix(self) -> Float32:
        """f32[n, d], C-contiguous: the table that histories are read with and items are ranked by."""
        return np.array(self._fitted().items.cpu().numpy(), np.float32, order="C")

    def encode(self, histories: Histories) -> Float32:
        """f32[b, d] queries after the last ``history_limit`` events of each row, in bounded memory."""
        from metarec_sdk.backbones.sasrec_model import no_delta

        queries = np.empty((len(histories), self.width), np.float32)
        model = self._fitted()
        for rows, inputs in self._chunks(histories):
            queries[rows] = model.finish(inputs, no_delta).cpu().numpy()
        return queries

    def adapter_sites(self) -> dict[str, tuple[int, int]]:
        """(d_in, d_out) of the last block's two output projections and of the final one (the identity)."""
        d = self.width
        return {"attention": (d, d), "feedforward": (self.feedforward, d), "final": (d, d)}

    def adapter_inputs(self, histories: Histories) -> dict[str, Float32]:
        """``context`` and ``residual``, f32[b, d]: the last block's attention output and input at the end of
        each history, by the frozen weights."""
        found = {name: np.empty((len(histories), self.width), np.float32) for name in ("context", "residual")}
        for rows, inputs in self._chunks(histories):
            for name, values in inputs.items():
                found[name][rows] = values.cpu().numpy()
        return found

    def adapted(
        self, inputs: Mapping[str, torch.Tensor], delta: Callable[[str, torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        """[b, d] on the device and in the dtype of the inputs; equals `encode` when ``delta`` returns 0.

        ``delta(site, x [b, d_in]) -> [b, d_out]`` is added to that site's projection. Gradients flow to the
        inputs and through delta, never to the backbone's weights.
        """
        return self._fitted().finish(inputs, delta)

    def state(self) -> State:
        """The parameters by name, float32."""
        parameters = self._fitted().state_dict()
        return {name: np.array(value.cpu().numpy(), order="C") for name, value in parameters.items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `state` gave, before or after a fit; n comes from the item table.

        Raises:
            ArtefactError: an array is missing, of another shape than the arguments say, or not finite.
        """
        _require_torch()
        from metarec_sdk.backbones.pretrained import load_arrays

        items = state.get("items")
        if items is None or items.ndim != 2 or len(items) == 0:
            raise ArtefactError("the state of a SASRec backbone has no item table 'items' f32[n, d]")
        model = self._build(len(items))
        load_arrays(model, state, "the state", required=True)
        self._model = model.to(self._torch_device()).requires_grad_(False)

    def _build(self, n_items: int) -> SASRecModel:
        from metarec_sdk.backbones.sasrec_model import SASRecModel

        return SASRecModel(n_items, self.width, self.feedforward, self.blocks, self.heads, self.history_limit)

    def _initialise(self, model: SASRecModel, rng: np.random.Generator) -> None:
        import torch

        from metarec_sdk.backbones.pretrained import load_arrays, read_arrays

        model.initialise(torch.Generator().manual_seed(int(rng.integers(2**63))))
        if self.init is None:
            return
        arrays = read_arrays(self.init)
        if "items" in arrays and len(arrays["items"]) != len(model.items):  # of another catalogue
            del arrays["items"]
        load_arrays(model, arrays, f"init={self.init!r}", required=False)

    def _torch_device(self) -> torch.device:
        import torch

        if self.device == "cuda" and not torch.cuda.is_available():
            raise ArgumentError("device='cuda' but torch finds no CUDA device; use device='auto' or 'cpu'")
        use_cuda = self.device != "cpu" and torch.cuda.is_available()
        return torch.device("cuda" if use_cuda else "cpu")

    def _chunks(self, histories: Histories) -> Iterator[tuple[Int64, dict[str, torch.Tensor]]]:
        """(rows, inputs of the last block) over chunks of rows of similar length."""
        from metarec_sdk.backbones.sasrec_model import last_inputs

        model = self._fitted()
        recent = histories.last(self.history_limit)
        _check_items(recent, len(model.items))
        order = np.argsort(recent.lengths, kind="stable")
        for first in range(0, len(order), _ENCODE_ROWS):
            rows = order[first : first + _ENCODE_ROWS]
            yield rows, last_inputs(model, recent.take(rows))

    def _fitted(self) -> SASRecModel:
        if self._model is None:
            raise NotFittedError(
                "this SASRec backbone isn't fitted; call fit(log, rng) or restore(state) first"
            )
        return self._model


def _check_items(histories: Histories, n_items: int) -> None:
    items = histories.items
    if len(items) and (int(items.min()) < 0 or int(items.max()) >= n_items):
        raise ArgumentError(
            f"item indices must be in 0 … {n_items - 1}, got {int(items.min())} … {int(items.max())}"
        )


def _require_torch() -> None:
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError.extra(
            "torch", "torch", "the sasrec backbone", "backbone='factors'"
        ) from error
