"""``metarec generations``: a real store with two generations."""

from __future__ import annotations

import numpy as np
import pytest

from metarec_sdk.updating import GenerationStore


@pytest.fixture
def model(tmp_path):
    """(folder, id of the first generation, id of the second), the second serving."""
    store = GenerationStore(tmp_path)
    ids: list[str] = []
    for value in (1.0, 2.0):
        generation = store.publish(
            arrays={"head": {"x": np.array([value], np.float32)}},
            components={},
            seeds={},
            trained_through_seq=0,
            expected_parent=ids[-1] if ids else None,
        )
        ids.append(generation.id)
    return tmp_path, *ids


def test_the_list(metarec_json, model):
    folder, first, second = model
    rows = metarec_json("generations", folder)
    assert [(row["generation"], row["parent"], row["current"], row["state"]) for row in rows] == [
        (first, None, False, "kept"),
        (second, first, True, "serves"),
    ]


@pytest.mark.parametrize("by_name", [False, True])
def test_rollback(metarec_json, model, by_name):
    folder, first, _ = model
    rows = metarec_json("generations", folder, *(("--to", first) if by_name else ("--rollback",)))
    assert [row["current"] for row in rows] == [True, False]
    assert GenerationStore(folder).current == first


def test_a_damaged_alias_is_shown_and_repaired_by_name(metarec, metarec_json, model):
    folder, first, _ = model
    (folder / "current.json").write_text("{")
    assert [row["current"] for row in metarec_json("generations", folder)] == [False, False]
    assert metarec("generations", folder, "--rollback").exit_code == 3
    metarec_json("generations", folder, "--to", first)
    assert GenerationStore(folder).current == first


def test_a_damaged_generation_is_shown_and_refused(metarec, metarec_json, model):
    folder, first, _ = model
    (folder / "generations" / first / "manifest.json").write_text("{}")
    assert [row["state"] for row in metarec_json("generations", folder)] == ["damaged", "serves"]
    result = metarec("generations", folder, "--to", first)
    assert result.exit_code == 3
    assert [row["current"] for row in metarec_json("generations", folder)] == [False, True]


@pytest.mark.parametrize(
    ("options", "code"),
    [(("--to", "000009-0123456789ab"), 2), (("--to", "../x"), 2), (("--rollback", "--to", "x"), 2)],
)
def test_a_generation_that_is_not_there(metarec, model, options, code):
    result = metarec("generations", model[0], *options)
    assert result.exit_code == code
    assert result.stderr.startswith("Error: ")


def test_nothing_before_the_first(metarec, model):
    assert metarec("generations", model[0], "--rollback").exit_code == 0
    assert metarec("generations", model[0], "--rollback").exit_code == 2


def test_a_folder_that_is_no_model(metarec, tmp_path):
    assert metarec("generations", tmp_path / "nowhere").exit_code == 3
    assert not (tmp_path / "nowhere").exists()
