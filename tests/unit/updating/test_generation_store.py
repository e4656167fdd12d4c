"""Publishing, loading, rolling back, pruning and copying generations."""

import json
import os
import threading

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from metarec_sdk.errors import (
    ArgumentError,
    ArtefactError,
    ConflictError,
    DataError,
    StorageError,
    UnknownIdError,
)
from metarec_sdk.updating import ComponentRecord, GenerationStore


@pytest.fixture
def store(tmp_path):
    return GenerationStore(tmp_path / "model")


def publish(store, number=1, parent=None, **changes):
    fields = {
        "arrays": {"head": {"psi": np.full((3, 2), number, np.float32)}},
        "frames": {"vocabulary": pl.DataFrame({"item_id": ["a", "b"]})},
        "documents": {"decisions": {"gates": [0.5, 1.0], "tasks": None}},
        "components": {"head": ComponentRecord(name="natpar", params={"factors": 64})},
        "seeds": {"fit": 7},
        "trained_through_seq": number,
        "training": {"first": 1, "last": number},
        "metrics": {"ndcg": 0.25},
        "expected_parent": parent,
    }
    return store.publish(**{**fields, **changes})


def test_a_generation_comes_back_as_it_went_in(store):
    arrays = {
        "head": {
            "matrix": np.arange(6, dtype=np.float32).reshape(2, 3),
            "transposed": np.arange(6, dtype=np.int64).reshape(2, 3).T,
            "scalar": np.array(2.5),
            "empty": np.zeros((0, 4), np.int32),
            "flags": np.array([True, False]),
            "big_endian": np.array([1, 2], ">i4"),
            "half": np.array([0.5], np.float16),
            "bytes": np.frombuffer("ü".encode(), np.uint8),
        },
        "backbone": {},
    }
    frame = pl.DataFrame({"item_id": [2**63 - 1, None], "when": [None, "x"]})
    made = publish(store, arrays=arrays, frames={"items": frame}, documents={"a": [1, 0.1, "ü", None, True]})
    loaded = store.load()
    assert loaded.id == made.id == store.current
    assert loaded.manifest == made.manifest == store.manifest()
    assert loaded.arrays.keys() == arrays.keys()
    for name, array in arrays["head"].items():
        np.testing.assert_array_equal(loaded.arrays["head"][name], array, strict=array.dtype.isnative)
    assert_frame_equal(loaded.frames["items"], frame)
    assert loaded.documents == {"a": [1, 0.1, "ü", None, True]}
    assert loaded.manifest.components["head"].params == {"factors": 64}
    assert (loaded.manifest.seeds, loaded.manifest.trained_through_seq) == ({"fit": 7}, 1)
    assert (loaded.manifest.training, loaded.manifest.metrics) == ({"first": 1, "last": 1}, {"ndcg": 0.25})
    assert loaded.manifest.parent is None


def test_an_empty_store_is_nothing_on_disk(store):
    assert store.current is None
    assert store.ids() == store.list() == []
    with pytest.raises(UnknownIdError, match="no published generation"):
        store.load()
    with pytest.raises(UnknownIdError, match="no published generation"):
        store.rollback()
    assert store.prune(1) == []
    assert not store.root.exists()


def test_equal_content_gives_equal_files(tmp_path):
    first, second = (publish(GenerationStore(tmp_path / name)) for name in "ab")
    assert first.id == second.id
    assert first.manifest.files == second.manifest.files


def test_generations_form_a_chain(store):
    first = publish(store, 1)
    second = publish(store, 2, first.id)
    assert [made.id for made in store.list()] == [first.id, second.id] == store.ids()
    assert store.manifest(second.id).parent == first.id
    assert store.load(first.id).arrays["head"]["psi"][0, 0] == 1
    assert store.load().arrays["head"]["psi"][0, 0] == 2


def test_publishing_on_an_outdated_parent_changes_nothing(store):
    first = publish(store, 1)
    second = publish(store, 2, first.id)
    for parent in (None, first.id):
        with pytest.raises(ConflictError, match=f"is {second.id}, expected {parent}"):
            publish(store, 3, parent)
    assert store.ids() == [first.id, second.id]


def test_one_of_several_publishers_wins(store):
    first = publish(store, 1)
    outcomes = []
    barrier = threading.Barrier(6)

    def work(number):
        barrier.wait()
        try:
            outcomes.append(publish(GenerationStore(store.root), number, first.id).id)
        except ConflictError:
            outcomes.append(None)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [outcome for outcome in outcomes if outcome is not None]
    assert len(outcomes) == 6
    assert winners == [store.current]
    assert store.ids() == [first.id, *winners]
    assert not list((store.root / "generations").glob(".aside*"))


def test_rollback_goes_to_the_parent_and_publishing_goes_on_from_there(store):
    first = publish(store, 1)
    second = publish(store, 2, first.id)
    assert store.rollback() == store.current == first.id
    with pytest.raises(ArgumentError, match="is the first generation"):
        store.rollback()
    third = publish(store, 3, first.id)
    assert third.id.startswith("000003-")
    assert store.rollback(to=second.id, expected=third.id) == store.current == second.id
    with pytest.raises(ConflictError, match="expected 000003"):
        store.rollback(expected=third.id)
    with pytest.raises(UnknownIdError, match="has no generation '000009-aaaaaaaaaaaa'"):
        store.rollback(to="000009-aaaaaaaaaaaa")
    assert store.current == second.id


def test_rollback_loses_against_somebody_who_moved_the_alias(store, monkeypatch):
    first = publish(store, 1)
    second = publish(store, 2, first.id)
    load = GenerationStore.load

    def meanwhile(self, generation):
        loaded = load(self, generation)
        publish(GenerationStore(store.root), 3, second.id)
        return loaded

    monkeypatch.setattr(GenerationStore, "load", meanwhile)
    with pytest.raises(ConflictError, match="meanwhile; nothing was changed"):
        store.rollback()
    assert store.current.startswith("000003-")


def test_rollback_refuses_a_damaged_target(store):
    first = publish(store, 1)
    second = publish(store, 2, first.id)
    (first.path / "head.safetensors").write_bytes(b"")
    with pytest.raises(ArtefactError, match="is truncated: 0 of"):
        store.rollback()
    assert store.current == second.id


def test_prune_keeps_what_is_needed(store):
    made = [publish(store, 1)]
    for number in range(2, 7):
        made.append(publish(store, number, made[-1].id))
    names = [generation.id for generation in made]
    store.rollback(to=names[2])
    with pytest.raises(ArgumentError, match="keep must be at least 1, got 0"):
        store.prune(0)
    assert store.prune(2) == [names[0], names[3]]
    assert store.ids() == [names[1], names[2], names[4], names[5]]
    assert store.prune(2) == []
    assert store.rollback() == names[1]
    with pytest.raises(UnknownIdError):
        store.load(names[0])


def test_what_a_killed_publisher_left_is_swept_away_but_not_what_is_in_use(store):
    first = publish(store, 1)
    left = store.root / "generations" / ".aside-0123456789abcdef"
    left.mkdir()
    (left / "head.safetensors").write_bytes(b"half")
    with store._folder.aside() as in_use:
        publish(store, 2, first.id)
        assert not left.exists()
        assert in_use.exists()


def test_export_copies_a_chain_and_can_be_repeated(store, tmp_path):
    first = publish(store, 1)
    second = publish(store, 2, first.id)
    target = tmp_path / "copy"
    assert store.export(target).ids() == [second.id]
    copy = store.export(target, generations=5)
    assert copy.ids() == [first.id, second.id]
    assert copy.current == second.id
    assert copy.load().manifest == store.load().manifest
    (copy.root / "generations" / second.id / "decisions.json").write_bytes(b"damaged")
    assert store.export(target).load().documents == store.load().documents  # made whole again
    assert copy.rollback() == first.id
    third = publish(store, 3, second.id)
    assert store.export(target).current == third.id
    assert store.export(store.root).current == third.id  # onto itself: nothing happens
    with pytest.raises(ArgumentError, match="generations must be at least 1"):
        store.export(target, generations=0)


def test_export_of_a_damaged_generation_leaves_the_copy_alone(store, tmp_path):
    first = publish(store, 1)
    copy = store.export(tmp_path / "copy")
    second = publish(store, 2, first.id)
    (second.path / "vocabulary.parquet").unlink()
    with pytest.raises(ArtefactError, match=r"vocabulary\.parquet"):
        store.export(copy.root)
    assert copy.current == first.id
    assert copy.load().id == first.id


BAD_CONTENT = {
    "NaN in an array": ({"arrays": {"head": {"psi": np.array([1, np.nan])}}}, "head: 'psi' holds NaN"),
    "infinity in an array": ({"arrays": {"head": {"psi": np.array([np.inf])}}}, "head: 'psi' holds NaN"),
    "objects": ({"arrays": {"head": {"psi": np.array([{}])}}}, "head: 'psi' is object"),
    "texts": ({"arrays": {"head": {"psi": np.array(["a"])}}}, "head: 'psi' is <U1"),
    "complex": ({"arrays": {"head": {"psi": np.array([1j])}}}, "head: 'psi' is complex128"),
    "a list": ({"arrays": {"head": {"psi": [1.0]}}}, "head: 'psi' is list"),
    "reserved array name": ({"arrays": {"head": {"__metadata__": np.ones(1)}}}, "'__metadata__' is no name"),
    "empty array name": ({"arrays": {"head": {"": np.ones(1)}}}, "'' is no name"),
    "a path": ({"arrays": {"../head": {}}}, "'../head.safetensors' is no file name"),
    "an absolute path": ({"documents": {"/tmp/x": 1}}, "is no file name"),
    "a hidden file": ({"documents": {".x": 1}}, "is no file name"),
    "a backslash": ({"documents": {"a\\b": 1}}, "is no file name"),
    "a newline": ({"documents": {"a\n": 1}}, "is no file name"),
    "an empty name": ({"frames": {"": pl.DataFrame()}}, "is no file name"),
    "a long name": ({"documents": {"x" * 97: 1}}, "is no file name"),
    "the manifest's name": ({"documents": {"manifest": 1}}, "is no file name"),
    "case": ({"documents": {"a": 1, "A": 2}}, "differ in case only"),
    "NaN in JSON": ({"documents": {"a": {"b": [1, float("nan")]}}}, r"a.b\[1\] is nan"),
    "a set in JSON": ({"documents": {"a": {1, 2}}}, "a is a set"),
    "a NumPy number in JSON": ({"documents": {"a": np.float32(1)}}, "a is a float32"),
    "an integer key": ({"documents": {"a": {1: 2}}}, "a has the key 1"),
    "a lone surrogate": ({"documents": {"a": "\ud800"}}, "lone surrogate"),
    "a dict for a frame": ({"frames": {"a": {}}}, "frame 'a' is a dict"),
    "objects in a frame": ({"frames": {"a": pl.DataFrame({"x": [object()]})}}, "column 'x' holds Python"),
    "NaN as a metric": ({"metrics": {"ndcg": float("nan")}}, "metrics.ndcg"),
    "a text as a seed": ({"seeds": {"fit": "7"}}, "seeds.fit"),
    "a negative seq": ({"trained_through_seq": -1}, "trained_through_seq"),
    "NaN in the parameters": (
        {"components": {"head": ComponentRecord(name="a", params={"x": float("nan")})}},
        "manifest.components.head.params.x is nan",
    ),
    "the place of the hash": ({"training": {"x": "0" * 64}}, "64 zeros"),
}


@pytest.mark.parametrize("name", BAD_CONTENT)
def test_what_cannot_be_stored_is_refused_before_anything_is_written(store, name):
    changes, words = BAD_CONTENT[name]
    with pytest.raises(DataError, match=words):
        publish(store, **changes)
    assert not store.root.exists()


def test_deep_nesting_is_refused(store):
    deep = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(DataError, match="nested more than 64 deep"):
        publish(store, documents={"a": deep})


@pytest.mark.parametrize(
    "name", ["../000001-aaaaaaaaaaaa", "", "current", "/etc", "000001-aaaaaaaaaaaa\n", None, 3]
)
def test_what_is_no_id_is_refused(store, name):
    publish(store)
    for use in (store.manifest, store.load, store.rollback):
        if name is not None:
            with pytest.raises(UnknownIdError, match="is no generation id"):
                use(name)
    assert store.rollback(to=store.current) == store.current


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("x")
    for place in ("file", "file/model", "missing/model"):
        store = GenerationStore(tmp_path / place)
        assert store.current is None
        with pytest.raises(StorageError, match=r"can't be written.*nothing earlier was lost"):
            publish(store)


def test_a_lock_that_is_never_given_back_ends_in_an_error(store):
    first = publish(store, 1)
    hurried = GenerationStore(store.root, lock_seconds=0.05)
    with store._folder.locked(), pytest.raises(StorageError, match=r"was held by somebody else for 0\.05 s"):
        publish(hurried, 2, first.id)
    publish(hurried, 2, first.id)


def test_a_read_only_store_can_be_loaded(store, monkeypatch):
    publish(store)
    opened = os.open

    def read_only(path, flags, *rest, **more):
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(30, "Read-only file system")
        return opened(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", read_only)
    assert store.load().id == store.current
    with pytest.raises(StorageError, match="Read-only file system"):
        publish(store, 2, store.current)


def test_the_manifest_can_be_read_by_people(store):
    text = (publish(store).path / "manifest.json").read_text()
    assert json.loads(text)["components"]["head"]["name"] == "natpar"
    assert text.count("\n") > 20
