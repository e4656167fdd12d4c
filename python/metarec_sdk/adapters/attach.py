"""Adapters for the linear layers of any torch model. `Stability: provisional`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from fnmatch import fnmatchcase
from os import PathLike
from pathlib import Path

from torch import Tensor, nn

from metarec_sdk.adapters.adapted_linear import (
    AdaptedConv1D,
    AdaptedLayer,
    AdaptedLinear,
    Assignment,
    TaskAdapter,
    is_conv1d,
    weight_of,
)
from metarec_sdk.adapters.checks import check_counts
from metarec_sdk.adapters.task_files import load_tasks, save_tasks
from metarec_sdk.errors import ArgumentError, UnknownIdError


def attach_adapters(
    model: nn.Module,
    targets: Sequence[str],
    *,
    tasks: int,
    rank: int,
    scale: float = 1.0,
    shared_a: bool = False,
    sparse: bool = False,
    freeze: bool = True,
) -> AttachedAdapters:
    """Give the targeted linear layers of a model one low-rank adapter per task, in place.

    targets: names of linear layers (`nn.Linear`, and ``Conv1D`` of transformers): the last part
    (``"q_proj"``), a full dotted name, or a pattern (``"encoder.*.fc?"``). tasks: T. rank: r of every
    adapter. shared_a: one A for all tasks, so that a task is its B alone. sparse: gradients of the batch's
    tasks only, see `TaskAdapter`. freeze: no gradients for the model's own parameters.

    Raises `UnknownIdError` for a target that no layer has, `ArgumentError` for one that can't carry an
    adapter: it isn't linear, has hooks or a forward of its own, or the module around it doesn't call it.
    """
    check_counts(tasks=tasks, rank=rank)
    if any(isinstance(module, AdaptedLayer) for module in model.modules()):
        raise ArgumentError("the model has adapters already; detach() them first")
    chosen = _chosen_layers(model, [targets] if isinstance(targets, str) else targets)
    for name, layer in chosen.items():
        _check_layer(name, layer, _parent(model, name)[0])
    if freeze:
        model.requires_grad_(False)
    assignment = Assignment(tasks)
    adapted: dict[str, AdaptedLayer] = {}
    for name, layer in chosen.items():
        weight = weight_of(layer)
        adapter = TaskAdapter(
            weight.shape[1],
            weight.shape[0],
            tasks=tasks,
            rank=rank,
            scale=scale,
            shared_a=shared_a,
            sparse=sparse,
            device=weight.device,
            dtype=weight.dtype,
        )
        kind = AdaptedConv1D if is_conv1d(layer) else AdaptedLinear
        adapted[name] = kind(layer, adapter, assignment)
    return AttachedAdapters(model, adapted, chosen, assignment)


class AttachedAdapters:
    """The adapters that `attach_adapters` put into a model."""

    def __init__(
        self,
        model: nn.Module,
        layers: dict[str, AdaptedLayer],
        originals: dict[str, nn.Module],
        assignment: Assignment,
    ) -> None:
        self.model, self.layers = model, layers
        self._originals, self._assignment = originals, assignment
        self._fast: list[tuple[nn.TransformerEncoderLayer, int]] = []
        for name, layer in layers.items():
            parent, last = _parent(model, name)
            setattr(parent, last, layer)
            if isinstance(parent, nn.TransformerEncoderLayer):
                # Its inference path reads the weights and doesn't call the layers; 0 turns that path off.
                self._fast.append((parent, parent.activation_relu_or_gelu))
                parent.activation_relu_or_gelu = 0

    @property
    def n_tasks(self) -> int:
        """T."""
        return self._assignment.n_tasks

    def parameters(self) -> list[nn.Parameter]:
        """All A and B, for an optimiser."""
        return [parameter for layer in self.layers.values() for parameter in layer.adapter.parameters()]

    @contextmanager
    def assign(self, tasks: Tensor) -> Iterator[None]:
        """Within the block row i of a batch is served by task ``tasks[i]``, -1 by none.

        tasks: i64[b], or of any leading shape that all inputs of adapted layers have.
        """
        before = self._assignment.tasks
        self._assignment.assign(tasks)
        try:
            yield
        finally:
            self._assignment.assign(before)

    def detach(self) -> nn.Module:
        """Put the model's own layers back; the adapters stay here."""
        for name, layer in self._originals.items():
            parent, last = _parent(self.model, name)
            setattr(parent, last, layer)
        for encoder, fast in self._fast:
            encoder.activation_relu_or_gelu = fast
        return self.model

    def save(self, folder: str | PathLike[str], tasks: Sequence[int] | None = None) -> None:
        """Write ``task-<t>.safetensors`` for the given tasks (all where None) with ``<layer>.a`` [r, d_in]
        and ``<layer>.b`` [d_out, r], and a shared A to ``shared.safetensors``."""
        save_tasks(Path(folder), self.layers, self._chosen(tasks))

    def load(self, folder: str | PathLike[str], tasks: Sequence[int] | None = None) -> None:
        """Read the given tasks (all that the folder has where None) back, in place; nothing is changed where
        one can't be read.

        Raises `ArtefactError` for a file that is missing, damaged or of another model.
        """
        load_tasks(Path(folder), self.layers, None if tasks is None else self._chosen(tasks), self.n_tasks)

    def _chosen(self, tasks: Sequence[int] | None) -> list[int]:
        chosen = list(range(self.n_tasks)) if tasks is None else [int(task) for task in tasks]
        if any(not 0 <= task < self.n_tasks for task in chosen):
            raise ArgumentError(f"tasks must be 0 … {self.n_tasks - 1}, got {chosen}")
        return chosen


def _chosen_layers(model: nn.Module, targets: Sequence[str]) -> dict[str, nn.Module]:
    """Name -> linear layer of every target."""
    modules = dict(model.named_modules())
    layers = {
        n: module for n, module in modules.items() if isinstance(module, nn.Linear) or is_conv1d(module)
    }
    chosen: dict[str, nn.Module] = {}
    for target in targets:
        found = {name: layer for name, layer in layers.items() if _matches(name, target)}
        other = next((type(m).__name__ for name, m in modules.items() if _matches(name, target)), None)
        if not found and other:
            raise ArgumentError(
                f"targets names {target!r}, which is a {other}; only linear layers can carry an adapter, "
                f"here {sorted({name.rsplit('.', 1)[-1] for name in layers})}"
            )
        if not found:
            close = get_close_matches(target, {name.rsplit(".", 1)[-1] for name in layers} | set(layers))
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise UnknownIdError(f"targets names {target!r}, which no linear layer of the model has{hint}")
        chosen |= found
    return chosen


def _check_layer(name: str, layer: nn.Module, parent: nn.Module) -> None:
    """Raise `ArgumentError` where the layer with an adapter in its place would compute something else."""
    if not name:
        raise ArgumentError("the model is itself the linear layer; put it into an nn.Sequential")
    if isinstance(parent, nn.MultiheadAttention):
        raise ArgumentError(
            f"{name} belongs to nn.MultiheadAttention, which uses its weight without calling it; an adapter "
            f"would have no effect. Target the feed-forward layers, or write attention with linear layers of "
            f"its own"
        )
    own_forward = "forward" in vars(layer) or not (
        is_conv1d(layer) or type(layer).forward is nn.Linear.forward
    )
    hooks = (layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks, layer._backward_pre_hooks)
    weight = layer._parameters.get("weight")
    if own_forward or any(hooks) or weight is None or not weight.is_floating_point():
        raise ArgumentError(
            f"{name} is a {type(layer).__name__} with a forward of its own, hooks, or a weight that isn't a "
            f"floating-point parameter, which an adapted layer in its place wouldn't keep; remove them "
            f"first, or use TaskAdapter inside your own layer"
        )


def _matches(name: str, target: str) -> bool:
    return name == target or name.rsplit(".", 1)[-1] == target or fnmatchcase(name, target)


def _parent(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The module that holds the named one, and its name there."""
    path, _, last = name.rpartition(".")
    return model.get_submodule(path), last
