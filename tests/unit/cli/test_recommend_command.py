"""``metarec recommend``: ids become the model's, lists become tables, JSON or files."""

from __future__ import annotations

import json

import polars as pl
import pytest


def test_text_ids(metarec_json, serve):
    model = serve(["i1", "i2"], ["u1", "7"])
    rows = metarec_json("recommend", "model", "--user", "u1", "--user", "7", "-k", "3")
    assert rows[0] == {"user_id": "u1", "rank": 1, "item_id": "i1", "score": 0.5}
    assert model.calls == [
        (
            "recommend",
            ["u1", "7"],
            {
                "history": None,
                "k": 3,
                "exclude_seen": True,
                "allow": None,
                "deny": None,
                "task": None,
                "unknown": "raise",
            },
        )
    ]


def test_integer_ids(metarec, serve):
    model = serve([10, 20], [1, 2])
    result = metarec(
        "recommend", "model", "--history", "10, 20", "--history", "", "--deny", "20", "--include-seen"
    )
    assert result.exit_code == 0
    (_, users, options) = model.calls[0]
    assert users is None
    assert options["history"] == [[10, 20], []]
    assert options["deny"] == [20]
    assert options["allow"] is None
    assert options["exclude_seen"] is False


@pytest.mark.parametrize("option", ["--user", "--history"])
def test_text_where_integers_are_needed(metarec, serve, option):
    serve([10, 20], [1, 2])
    result = metarec("recommend", "model", option, "u1")
    assert result.exit_code == 2
    assert f"{option} 'u1': the ids of this model are integers, such as 1" in result.stderr


def test_an_empty_allow_list_is_not_no_list(metarec, serve):
    model = serve([10], [1])
    metarec("recommend", "model", "--user", "1", "--allow", "")
    assert model.calls[0][2]["allow"] == []


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".parquet"])
def test_users_from_a_file(metarec, serve, tmp_path, suffix):
    path = tmp_path / f"users{suffix}"
    frame = pl.DataFrame({"person": [2, 1], "other": ["a", "b"]})
    if suffix == ".txt":
        path.write_text("2\n\n 1\n")
    elif suffix == ".csv":
        frame.write_csv(path)
    else:
        frame.write_parquet(path)
    model = serve([10], [1, 2])
    result = metarec("recommend", "model", "--users-file", path, "--users-column", "person")
    assert result.exit_code == 0, result.output
    assert model.calls[0][1] == [2, 1]


def test_leading_zeros_of_text_ids_survive_csv(metarec, serve, tmp_path):
    path = tmp_path / "users.csv"
    path.write_text("user_id\n007\n")
    model = serve(["i"], ["007"])
    metarec("recommend", "model", "--users-file", path)
    assert model.calls[0][1] == ["007"]


def test_a_misnamed_column_of_the_file(metarec, serve, tmp_path):
    path = tmp_path / "users.csv"
    path.write_text("userid\n1\n")
    serve([10], [1])
    result = metarec("recommend", "model", "--users-file", path)
    assert result.exit_code == 2
    assert "userid" in result.stderr


def test_a_file_that_is_no_table(metarec, serve, tmp_path):
    path = tmp_path / "users.parquet"
    path.write_text("not parquet")
    serve([10], [1])
    result = metarec("recommend", "model", "--users-file", path)
    assert result.exit_code == 2
    assert "can't be read as a table" in result.stderr


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl", ".json"])
def test_lists_in_a_file(metarec_json, serve, tmp_path, suffix):
    serve(["i1"], ["u1", "u2"])
    path = tmp_path / f"lists{suffix}"
    assert metarec_json("recommend", "model", "--user", "u1", "--user", "u2", "--out", path) == {
        "rows": 2,
        "out": str(path),
    }
    read = {
        ".csv": pl.read_csv,
        ".parquet": pl.read_parquet,
        ".jsonl": pl.read_ndjson,
        ".json": lambda path: pl.DataFrame(json.loads(path.read_text())),
    }[suffix](path)
    assert read["user_id"].to_list() == ["u1", "u2"]
    assert read.columns == ["user_id", "rank", "item_id", "score"]


def test_a_table_for_people_shows_ids_with_brackets(metarec, serve):
    serve(["[bold]i1"], ["u1"])
    result = metarec("recommend", "model", "--user", "u1")
    assert "[bold]i1" in result.stdout
    assert "user_id" in result.stdout
