"""The manifest of a generation: what it is made of, and the hashes that prove its files unchanged."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator

from metarec_sdk.errors import ArtefactError, DataError
from metarec_sdk.updating.strict_json import dump_json, load_json

SCHEMA_VERSION = 1
MAX_MANIFEST_BYTES = 16 * 2**20
MAX_FILES = 4096

ID_PATTERN = re.compile(r"\A[0-9]{6,12}-[0-9a-f]{12}\Z")
"""A generation's id: its number, and the start of the hash of its content."""

# Files lie flat in the generation's folder; the pattern has no separator and no leading dot.
_FILE_NAME = re.compile(r"\A[A-Za-z0-9][A-Za-z0-9_-]{0,95}\.(safetensors|parquet|json)\Z")
_NO_HASH = "0" * 64

Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
GenerationId = Annotated[str, StringConstraints(pattern="^[0-9]{6,12}-[0-9a-f]{12}$")]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class FileRecord(_Model):
    """A file of the generation."""

    sha256: Sha256
    size: int = Field(ge=0)
    """Bytes."""


class ComponentRecord(_Model):
    """Which component was used, and where it came from."""

    name: str
    plugin: str = "metarec-sdk"
    """The distribution that provides it."""
    plugin_version: str = ""
    params: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments, JSON-able."""


class Manifest(_Model):
    """What `manifest.json` holds."""

    schema_version: Literal[1] = 1
    id: GenerationId
    parent: GenerationId | None
    """The generation that was current when this one was published; None for the first."""
    created: str
    """ISO 8601, UTC."""
    metarec_version: str
    components: dict[str, ComponentRecord]
    """By kind, for example "backbone"."""
    seeds: dict[str, int]
    trained_through_seq: int = Field(ge=0)
    """The last event of the log that this generation learned from; replay starts after it."""
    training: dict[str, Any]
    """The range of the log, and whatever else describes the training data."""
    metrics: dict[str, float]
    files: dict[str, FileRecord] = Field(max_length=MAX_FILES)

    @field_validator("files")
    @classmethod
    def _names_stay_inside(cls, files: dict[str, FileRecord]) -> dict[str, FileRecord]:
        for name in files:
            check_file_name(name)
        return files


def check_file_name(name: str) -> None:
    """Raise `ValueError` unless the name is a plain one of a kind that a generation may hold."""
    if not _FILE_NAME.match(name) or name == "manifest.json":
        raise ValueError(
            f"{name!r} is no file name for a generation: letters, digits, '-' and '_', then .safetensors, "
            f".parquet or .json"
        )


def to_bytes(manifest: Manifest) -> bytes:
    """The manifest as JSON that carries its own SHA-256 (over the text with zeros in its place)."""
    text = dump_json({**manifest.model_dump(), "manifest_sha256": _NO_HASH}, "manifest", indent=2)
    if text.count(_NO_HASH.encode()) != 1:
        raise DataError(
            "the manifest holds 64 zeros in a row, which stand for its own hash; change that value"
        )
    return text.replace(_NO_HASH.encode(), hashlib.sha256(text).hexdigest().encode())


def from_bytes(raw: bytes, folder: str) -> Manifest:
    """Parse and check a manifest; ``folder`` is for the messages.

    Raises:
        ArtefactError: it is damaged, was altered, or is from a newer version.
    """
    remedy = "load another generation or restore the folder from a copy"
    try:
        fields = load_json(raw)
    except ValueError as error:
        raise ArtefactError(f"{folder}/manifest.json is truncated or altered ({error}); {remedy}") from None
    if not isinstance(fields, dict):
        raise ArtefactError(f"{folder}/manifest.json is altered (no JSON object); {remedy}")
    version = fields.get("schema_version")
    if type(version) is not int or version < 1:  # True is an int too, and equal to 1
        raise ArtefactError(f"{folder}/manifest.json was altered (schema version {version!r}); {remedy}")
    if version > SCHEMA_VERSION:
        raise ArtefactError(
            f"{folder} has schema version {version}, this metarec-sdk reads up to {SCHEMA_VERSION}; "
            f"upgrade it (pip install --upgrade metarec-sdk)"
        )
    digest = fields.pop("manifest_sha256", None)
    if not isinstance(digest, str) or len(digest) != 64 or raw.count(digest.encode()) != 1:
        raise ArtefactError(f"{folder}/manifest.json was altered (its hash is gone); {remedy}")
    if hashlib.sha256(raw.replace(digest.encode(), _NO_HASH.encode())).hexdigest() != digest:
        raise ArtefactError(f"{folder}/manifest.json was altered (its hash differs); {remedy}")
    try:
        return Manifest.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ArtefactError(
            f"{folder}/manifest.json is no manifest: {place}: {first['msg']}; {remedy}"
        ) from None


def next_id(number: int, files: dict[str, FileRecord]) -> str:
    """An id that tells generations of different content apart."""
    digest = hashlib.sha256(json.dumps({name: file.sha256 for name, file in sorted(files.items())}).encode())
    return f"{number:06d}-{digest.hexdigest()[:12]}"
