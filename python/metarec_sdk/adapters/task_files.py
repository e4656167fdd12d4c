"""Adapters on disk: one safetensors file a task, so that a task is moved, replaced or deleted by itself."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from metarec_sdk.adapters.adapted_linear import AdaptedLayer
from metarec_sdk.errors import ArtefactError, StorageError

_SHARED = "shared.safetensors"
_NAME = re.compile(r"task-(\d+)\.safetensors")
_FORMAT = {"format": "metarec-task-adapter", "version": "1"}


def save_tasks(folder: Path, layers: Mapping[str, AdaptedLayer], tasks: Sequence[int]) -> None:
    """Write the tasks' files; raises `StorageError` where the folder can't be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shared = {
            f"{name}.a": _host(layer.adapter.a[0]) for name, layer in layers.items() if _is_shared(layer)
        }
        if shared:
            _write(shared, folder / _SHARED)
        values = {
            name: (layer.adapter.a.detach().cpu(), layer.adapter.b.detach().cpu())
            for name, layer in layers.items()
        }
        for task in tasks:
            tensors = {f"{name}.b": _host(b[task]) for name, (_, b) in values.items()}
            own = {
                f"{name}.a": _host(a[task]) for name, (a, _) in values.items() if not _is_shared(layers[name])
            }
            _write(tensors | own, _file(folder, task))
    except OSError as error:
        raise StorageError(f"the adapters can't be written to {folder}: {error}") from error


def load_tasks(
    folder: Path, layers: Mapping[str, AdaptedLayer], tasks: Sequence[int] | None, n_tasks: int
) -> None:
    """Read tasks (all in the folder where None) into the layers; everything is checked before it is taken."""
    if tasks is None:
        found = [_NAME.fullmatch(path.name) for path in sorted(folder.glob("task-*"))]
        tasks = [int(match[1]) for match in found if match]
        if not tasks:
            raise ArtefactError(f"{folder} holds no file task-<number>.safetensors")
        if max(tasks) >= n_tasks:
            raise ArtefactError(
                f"{folder} holds task {max(tasks)}, but these adapters are for {n_tasks} tasks"
            )
    wanted = {f"{name}.b": layer.adapter.b.shape[1:] for name, layer in layers.items()}
    wanted |= {
        f"{name}.a": layer.adapter.a.shape[1:] for name, layer in layers.items() if not _is_shared(layer)
    }
    shared = {f"{name}.a": layer.adapter.a.shape[1:] for name, layer in layers.items() if _is_shared(layer)}
    common = _read(folder / _SHARED, shared) if shared else {}
    read = {task: _read(_file(folder, task), wanted) for task in tasks}
    with torch.no_grad():
        for name, layer in layers.items():
            if _is_shared(layer):
                layer.adapter.a[0] = common[f"{name}.a"].to(layer.adapter.a)
            for task, tensors in read.items():
                layer.adapter.b[task] = tensors[f"{name}.b"].to(layer.adapter.b)
                if not _is_shared(layer):
                    layer.adapter.a[task] = tensors[f"{name}.a"].to(layer.adapter.a)


def _is_shared(layer: AdaptedLayer) -> bool:
    """One A for several tasks; with a single task A is that task's own."""
    return len(layer.adapter.a) == 1 and layer.adapter.n_tasks > 1


def _host(value: Tensor) -> Tensor:
    return value.detach().cpu().contiguous()


def _file(folder: Path, task: int) -> Path:
    return folder / f"task-{task}.safetensors"


def _write(tensors: dict[str, Tensor], path: Path) -> None:
    """Whole or not at all: a reader never meets half a file."""
    part = path.with_suffix(".part")
    save_file(tensors, part, _FORMAT)
    part.replace(path)


def _read(path: Path, wanted: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ArtefactError(f"{path} can't be read: {error}") from error
    shapes = {name: value.shape for name, value in tensors.items()}
    if shapes != dict(wanted):
        different = sorted(name for name in {*shapes, *wanted} if shapes.get(name) != wanted.get(name))
        raise ArtefactError(
            f"{path} doesn't fit this model: {different[0]} is {shapes.get(different[0], 'missing')}, "
            f"expected {wanted.get(different[0], 'nothing')}"
        )
    if not all(torch.isfinite(value).all() for value in tensors.values()):
        raise ArtefactError(f"{path} holds values that aren't finite")
    return tensors
