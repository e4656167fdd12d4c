"""Local folders of pretrained models, and what names them in the cache."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from metarec_sdk.errors import ArtefactError, MissingDependencyError


def module(name: str, distribution: str, extra: str) -> Any:
    """The imported module; raises `MissingDependencyError` with the extra that brings it."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"{extra} encoders need {distribution} ({error}); run: pip install 'metarec-content[{extra}]'"
        ) from None


def folder_of(model: str | None) -> Path:
    """The folder of a model; raises `ArtefactError` where there is none with a config.json."""
    if model is None:
        raise ArtefactError("no model is given; pass model=, a folder that save_pretrained wrote")
    folder = Path(model).expanduser()
    if not (folder / "config.json").is_file():
        raise ArtefactError(
            f"model={model!r} is no folder of a model: {folder / 'config.json'} isn't there. Save one with "
            "save_pretrained(folder); nothing is downloaded here"
        )
    return folder


def identity_of(files: Iterable[Path], distributions: Iterable[str], **parameters: Any) -> str:
    """What a vector depends on beside its content: files of the model, versions of libraries, parameters."""
    digests = [(file.name, _digest(file, file.stat().st_size, file.stat().st_mtime_ns)) for file in files]
    versions = [(name, version(name)) for name in distributions]
    return repr((version("metarec-content"), sorted(digests), versions, sorted(parameters.items())))


def loaded(auto: Any, folder: Path) -> Any:
    """The transformers model in a folder, ready to infer.

    Raises `ArtefactError` where it can't be loaded, or where weights are missing that would be random.
    """
    try:
        model, found = auto.from_pretrained(folder, local_files_only=True, output_loading_info=True)
    except (OSError, ValueError, KeyError) as error:
        raise ArtefactError(f"the model in {folder} can't be loaded: {error}") from error
    missing = sorted(name for name in found["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise ArtefactError(
            f"the model in {folder} lacks {len(missing)} weights, the first is {missing[0]}; "
            "save the whole model"
        )
    return model.eval()


@lru_cache(maxsize=256)
def _digest(file: Path, size: int, changed: int) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
