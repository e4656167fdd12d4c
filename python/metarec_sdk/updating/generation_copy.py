"""Copying generations from one store to another, each as a whole."""

from __future__ import annotations

from metarec_sdk.errors import ArtefactError, StorageError
from metarec_sdk.updating.durable import storage_errors, write_file
from metarec_sdk.updating.generation_files import read_files
from metarec_sdk.updating.store_folder import ALIAS, GENERATIONS, StoreFolder


def copy_generations(source: StoreFolder, target: StoreFolder, count: int) -> None:
    """Copy the current generation and up to ``count - 1`` ancestors, then make it current in ``target``."""
    if target.root == source.root or (target.root.exists() and target.root.samefile(source.root)):
        return
    newest = source.current()
    chain: list[str] = []
    following = newest
    while following is not None and following in source.ids() and len(chain) < count:
        chain.append(following)
        following = source.manifest(following).parent
    if newest is None or not chain:
        raise ArtefactError(f"the current generation {newest} of {source.root} is missing")
    with storage_errors(target.root, "written"):
        check_is_store(target)
        for name in reversed(chain):
            if not _has(target, name):
                _copy(source, target, name)
        with target.locked():
            target.point_to(newest)


def check_is_store(target: StoreFolder) -> None:
    """Raise `StorageError` where the folder holds something else, which may be somebody's home."""
    if not target.root.exists():
        return
    names = {entry.name for entry in target.root.iterdir()}
    if names and not names & {ALIAS, GENERATIONS, "events.sqlite"}:
        raise StorageError(
            f"{target.root} holds other files and is no model folder; give a new or empty folder"
        )


def _has(target: StoreFolder, name: str) -> bool:
    try:
        for _ in read_files(target.path(name), target.manifest(name)):
            pass
    except (ArtefactError, FileNotFoundError):
        return False
    return True


def _copy(source: StoreFolder, target: StoreFolder, name: str) -> None:
    with target.aside() as aside:
        manifest = source.manifest(name)
        for file, content in read_files(source.path(name), manifest):
            write_file(aside / file, content)
        with target.locked():
            if target.path(name).exists():  # damaged, or copied by somebody else meanwhile
                target.remove(name)
            target.install(aside, manifest)
