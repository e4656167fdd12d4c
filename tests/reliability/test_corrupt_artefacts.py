"""Damaged and hostile generations: refused with a typed error, while the previous one still loads."""

import hashlib
import json
import os
import random
import shutil
import struct
import sys

import numpy as np
import polars as pl
import pytest

from metarec_sdk.errors import ArtefactError, StorageError, UnknownIdError
from metarec_sdk.updating import GenerationStore

REFUSED = (ArtefactError, UnknownIdError)


@pytest.fixture
def published(folder, publish):
    """A store whose current generation has files of each kind."""
    store = GenerationStore(folder / "model")
    first = publish(store, 1, None)
    publish(store, 2, first.id, frames={"vocabulary": pl.DataFrame({"item_id": list(range(50))})})
    return store


@pytest.fixture
def place(published):
    """The folder of the current generation."""
    return published.root / "generations" / published.current


def still_serves(store):
    first = store.ids()[0]
    assert store.load(first).arrays["head"]["psi"][0, 0] == 1
    assert store.rollback(to=first) == store.current == first


def flipped(content, bit):
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_every_truncation_of_the_manifest_is_refused(published, place):
    manifest, name = (place / "manifest.json").read_bytes(), published.current
    for size in range(len(manifest)):
        (place / "manifest.json").write_bytes(manifest[:size])
        with pytest.raises(ArtefactError, match=r"manifest\.json"):
            published.manifest(name)
    still_serves(published)


def test_every_bit_of_the_manifest_counts(published, place):
    manifest, name = (place / "manifest.json").read_bytes(), published.current
    for bit in range(8 * len(manifest)):
        (place / "manifest.json").write_bytes(flipped(manifest, bit))
        with pytest.raises(ArtefactError):
            published.manifest(name)
    assert [generation.id for generation in published.list()] == published.ids()[:1]
    still_serves(published)


def test_every_bit_and_truncation_of_the_alias_is_refused(published):
    path = published.root / "current.json"
    alias = path.read_bytes()
    damaged = [flipped(alias, bit) for bit in range(8 * len(alias))] + [
        alias[:size] for size in range(len(alias))
    ]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(REFUSED):
            published.load()
    still_serves(published)


@pytest.mark.parametrize("name", ["head.safetensors", "vocabulary.parquet", "decisions.json"])
def test_damaged_files_are_refused(published, place, name):
    content, generator = (place / name).read_bytes(), random.Random(5)
    header = 8 * (8 + struct.unpack("<Q", content[:8])[0]) if name.endswith("safetensors") else 64
    bits = [*range(header), *(generator.randrange(8 * len(content)) for _ in range(200))]
    sizes = generator.sample(range(len(content)), min(50, len(content)))
    damaged = [flipped(content, bit) for bit in bits] + [content[:size] for size in sizes] + [content + b"\0"]
    for changed in damaged:
        (place / name).write_bytes(changed)
        with pytest.raises(ArtefactError, match=name):
            published.load()
    (place / name).unlink()
    with pytest.raises(ArtefactError, match=f"{name} is missing"):
        published.load()
    still_serves(published)


@pytest.mark.slow
def test_ten_thousand_flipped_weights_are_refused(published, place):
    content, generator = (place / "head.safetensors").read_bytes(), random.Random(6)
    for _ in range(10_000):
        (place / "head.safetensors").write_bytes(flipped(content, generator.randrange(8 * len(content))))
        with pytest.raises(ArtefactError):
            published.load()


def test_a_missing_manifest_and_a_missing_folder(published, place):
    name = published.current
    (place / "manifest.json").unlink()
    with pytest.raises(ArtefactError, match=r"manifest\.json is missing"):
        published.load()
    shutil.rmtree(place)
    with pytest.raises(UnknownIdError, match=f"has no generation '{name}'"):
        published.load()
    still_serves(published)


# From here on the hashes are right: somebody made the artefact so.


def forge(place, change=None, files=None):
    """Change the manifest and files and make all hashes right again."""
    fields = json.loads((place / "manifest.json").read_bytes())
    for name, content in (files or {}).items():
        (place / name).write_bytes(content)
        fields["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    if change:
        change(fields)
    fields["manifest_sha256"] = "0" * 64
    text = json.dumps(fields, indent=2, sort_keys=True)
    text = text.replace("0" * 64, hashlib.sha256(text.encode()).hexdigest())
    (place / "manifest.json").write_text(text)


def tensors(header, data=b""):
    """A safetensors file with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def one(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"x": {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}}


def test_a_forged_but_good_generation_loads(published, place):
    forge(place, files={"head.safetensors": tensors(one(), struct.pack("<f", 1.5))})
    assert published.load().arrays["head"]["x"] == np.float32(1.5)


HOSTILE_TENSORS = {
    "NaN": tensors(one(), struct.pack("<f", float("nan"))),
    "infinity": tensors(one(), struct.pack("<f", float("inf"))),
    "NaN in half": tensors(one("F16", (1,), (0, 2)), b"\x00\x7e"),
    "bfloat16": tensors(one("BF16", (1,), (0, 2)), b"\0\0"),
    "float8": tensors(one("F8_E4M3", (1,), (0, 1)), b"\0"),
    "unknown dtype": tensors(one("OBJECT"), b"\0" * 4),
    "complex": tensors(one("C64", (1,), (0, 8)), b"\0" * 8),
    "offsets beyond the end": tensors(one(offsets=(0, 400), shape=(100,)), b"\0" * 4),
    "offsets backwards": tensors(one(offsets=(4, 0)), b"\0" * 4),
    "shape larger than the data": tensors(one(shape=(2**40,)), b"\0" * 4),
    "shape overflowing": tensors(one(shape=(2**62, 2**62)), b"\0" * 4),
    "negative shape": tensors(one(shape=(-1,)), b"\0" * 4),
    "a hole": tensors(one(offsets=(4, 8)), b"\0" * 8),
    "an overlap": tensors({**one(), "y": {"dtype": "F32", "shape": [1], "data_offsets": [2, 6]}}, b"\0" * 6),
    "header longer than the file": struct.pack("<Q", 1000) + b"{}",
    "header of 2^63 bytes": struct.pack("<Q", 2**63) + b"{}",
    "header no JSON": tensors(b"\x80\x04pickle"),
    "header nested": tensors(b"[" * 100_000),
    "a pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94.",
    "a zip": b"PK\x03\x04" + b"\0" * 60,
    "empty": b"",
}


@pytest.mark.parametrize("name", HOSTILE_TENSORS)
def test_hostile_tensors_are_refused(published, place, name):
    forge(place, files={"head.safetensors": HOSTILE_TENSORS[name]})
    with pytest.raises(ArtefactError, match=r"head\.safetensors"):
        published.load()
    still_serves(published)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("decisions.json", b'{"a": NaN}'),
        ("decisions.json", b'{"a": Infinity}'),
        ("decisions.json", b'{"a": 1, "a": 2}'),
        ("decisions.json", b"[" * 100_000),
        ("decisions.json", b"\xff\xfe"),
        ("decisions.json", b"1" * 10_000),
        ("decisions.json", b"__import__('os')"),
        ("vocabulary.parquet", b""),
        ("vocabulary.parquet", b"PAR1" + b"\0" * 100 + b"PAR1"),
        ("vocabulary.parquet", b"\x80\x04K\x01."),
    ],
    ids=range(10),
)
def test_hostile_documents_and_frames_are_refused(published, place, name, content):
    forge(place, files={name: content})
    with pytest.raises(ArtefactError, match=name.replace(".", r"\.")):
        published.load()
    still_serves(published)


def rename_file(new):
    def change(fields):
        fields["files"][new] = fields["files"].pop("decisions.json")

    return change


def put(key, value):
    def change(fields):
        fields[key] = value

    return change


HOSTILE_MANIFESTS = {
    "a parent folder": rename_file("../decisions.json"),
    "a sibling": rename_file("../000001-aaaaaaaaaaaa/decisions.json"),
    "an absolute path": rename_file("/etc/passwd.json"),
    "a subfolder": rename_file("a/decisions.json"),
    "a backslash": rename_file("..\\decisions.json"),
    "a NUL": rename_file("decisions\0.json"),
    "a hidden file": rename_file(".decisions.json"),
    "a pickle": rename_file("decisions.pkl"),
    "no suffix": rename_file("decisions"),
    "itself": rename_file("manifest.json"),
    "a negative size": lambda fields: fields["files"]["decisions.json"].update(size=-1),
    "a text as size": lambda fields: fields["files"]["decisions.json"].update(size="13"),
    "no hash": lambda fields: fields["files"]["decisions.json"].pop("sha256"),
    "an unknown field": put("execute", "rm -rf /"),
    "an id of another": put("id", "000009-aaaaaaaaaaaa"),
    "a parent with a path": put("parent", "../../etc"),
    "files no object": put("files", ["decisions.json"]),
    "too many files": put("files", {f"f{n}.json": {"sha256": "a" * 64, "size": 1} for n in range(5000)}),
    "schema version 0": put("schema_version", 0),
    "schema version text": put("schema_version", "1"),
    "schema version true": put("schema_version", True),
    "metrics no numbers": put("metrics", {"ndcg": "high"}),
    "components no records": put("components", {"head": "natpar"}),
    "a huge integer": put("trained_through_seq", -(10**4000)),
}


@pytest.mark.parametrize("name", HOSTILE_MANIFESTS)
def test_hostile_manifests_are_refused(published, place, name):
    forge(place, HOSTILE_MANIFESTS[name])
    with pytest.raises(ArtefactError):
        published.load()
    still_serves(published)


def test_a_newer_version_asks_for_an_upgrade(published, place):
    forge(place, put("schema_version", 2))
    with pytest.raises(ArtefactError, match=r"schema version 2, .* reads up to 1; upgrade it"):
        published.load()
    still_serves(published)
    alias = published.root / "current.json"
    alias.write_text(alias.read_text().replace('"schema_version": 1', '"schema_version": 2'))
    with pytest.raises(ArtefactError, match="newer version"):
        published.load()


@pytest.mark.parametrize("name", ["manifest.json", "head.safetensors", "decisions.json"])
def test_links_and_pipes_are_not_read(published, place, folder, name):
    outside = folder / "outside"
    (place / name).rename(outside)
    (place / name).symlink_to(outside)
    with pytest.raises(ArtefactError, match="is a link"):
        published.load()
    (place / name).unlink()
    os.mkfifo(place / name)
    with pytest.raises(ArtefactError, match="no regular file"):
        published.load()
    (place / name).unlink()
    (place / name).mkdir()
    with pytest.raises(ArtefactError, match="no regular file"):
        published.load()
    still_serves(published)


def test_a_linked_folder_is_not_entered(published, place, folder):
    place.rename(folder / "elsewhere")
    place.symlink_to(folder / "elsewhere")
    with pytest.raises(ArtefactError, match="links are not followed"):
        published.load()
    still_serves(published)


def test_files_that_the_manifest_does_not_name_are_never_opened(published, place):
    os.mkfifo(place / "extra.safetensors")
    (place / "evil.pkl").write_bytes(b"\x80\x04K\x01.")
    assert "extra" not in published.load().arrays


def test_a_file_that_grew_is_not_read_into_memory(published, place):
    os.truncate(place / "head.safetensors", 2**40)  # sparse
    with pytest.raises(ArtefactError, match="bytes, at most"):
        published.load()
    still_serves(published)


_watched, _seen = [False], []
_SUSPICIOUS = (
    "pickle.",
    "exec",
    "subprocess.",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "socket.",
    "ctypes.",
)


def _audit(event, arguments, watched=_watched, seen=_seen, suspicious=_SUSPICIOUS):
    # A hook can't be removed, and is still called at the end of the process, when a module's names are gone.
    if watched[0] and event.startswith(suspicious):
        seen.append((event, arguments))


def test_loading_hostile_artefacts_runs_nothing(published, place):
    """Under an audit hook: no unpickling, no code object run, no process, no connection."""
    published.load()  # what has to be imported is imported now
    sys.addaudithook(_audit)
    hostile = [{"files": {"head.safetensors": content}} for content in HOSTILE_TENSORS.values()]
    hostile += [{"change": change} for change in HOSTILE_MANIFESTS.values()]
    original = {file.name: file.read_bytes() for file in place.iterdir()}
    for forged in hostile:
        forge(place, **forged)
        _watched[0] = True
        try:
            with pytest.raises((ArtefactError, StorageError)):
                published.load()
        finally:
            _watched[0] = False
        for name, content in original.items():
            (place / name).write_bytes(content)
    assert _seen == []
    _watched[0] = True
    exec("pass")
    _watched[0] = False
    assert _seen  # the hook can see
    _seen.clear()
