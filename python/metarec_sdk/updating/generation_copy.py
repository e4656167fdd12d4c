"""Copying generations from one store to another, each as a whole."""

from __future__ import annotations

from metarec_sdk.errors import ArtefactError
from metarec_sdk.updating.durable import storage_errors, write_file
from metarec_sdk.updating.generation_files import read_files
from metarec_sdk.updating.store_folder import StoreFolder


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
        for name in reversed(chain):
            if not _has(target, name):
                _copy(source, target, name)
        with target.locked():
            target.point_to(newest)


def _has(target: StoreFolder, name: str) -> bool:
    try:
        for _ in read_files(target.path(name), target.manifest(name)):
            pass
    except (ArtefactError, FileNotFoundError):
        return False
    return True


def _copy(source: StoreFolder, target: StoreFolder, name: str) -> None:
    try:
        manifest = source.manifest(name)
        files = dict(read_files(source.path(name), manifest))
    except FileNotFoundError as error:
        raise source.missing(name, error) from None
    with target.aside() as aside:
        for file, content in files.items():
            write_file(aside / file, content)
        with target.locked():
            if target.path(name).exists():  # damaged, or copied by somebody else meanwhile
                target.remove(name)
            target.install(aside, manifest)
