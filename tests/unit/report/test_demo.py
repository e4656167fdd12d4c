"""The demo from end to end on a small log in the shape of MovieLens, and the page that it writes."""

import json
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import polars as pl
import pytest

from metarec_sdk.data import read_interactions
from metarec_sdk.data.datasets import Dataset
from metarec_sdk.errors import StorageError
from metarec_sdk.report import demo
from metarec_sdk.report.charts import Curve, bars, k_curves, task_map


@pytest.fixture
def small_movielens(events, monkeypatch):
    """The log of the docs with integer ids and titles, in place of the download."""
    frame = events.select(
        pl.col("user_id").str.strip_prefix("u").cast(pl.Int64),
        pl.col("item_id").str.strip_prefix("i").cast(pl.Int64),
        pl.col("ts").alias("timestamp"),
        pl.lit("rating").alias("event"),
        pl.lit(4.0).alias("value"),
    )
    titles = [*demo.FILMS, *demo.LATER, *(f"Film <{number}> & more" for number in range(6, 61))]
    items = pl.DataFrame({"item_id": range(1, 61), "title": titles})
    log = read_interactions(frame, event="event", value="value")
    data = Dataset("movielens-100k", log, items, None, "")
    monkeypatch.setattr(demo.datasets, "load", lambda name: data)


def test_the_demo_tells_its_story_and_writes_both_reports(small_movielens, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "500")  # a long temporary folder would be broken over two lines
    result = demo.run_demo(tmp_path / "out", seed=1, quick=True)
    shown = capsys.readouterr().out
    for words in ("Somebody new", "adapters", "rollback", "Fargo", "report.html"):
        assert words in shown
    stored = json.loads((tmp_path / "out" / "report.json").read_text())
    assert stored == json.loads(json.dumps(result))
    methods = {row["method"] for row in stored["evaluation"]["rows"]}
    assert {"recommender", "popularity", "member: head"} <= methods
    assert len(stored["person"]["after"]) == 10
    assert not {*demo.FILMS, *demo.LATER} & {entry["title"] for entry in stored["person"]["after"]}
    page = (tmp_path / "out" / "report.html").read_text()
    # Nothing is fetched from anywhere, and titles are escaped.
    assert not re.search(r"(src|href)\s*=\s*[\"'](?!#)", page)
    assert "<script" not in page
    assert "Film &lt;" in page
    assert page.count("<svg") >= 3
    assert (tmp_path / "out" / "model" / "current.json").exists()


def test_a_folder_that_can_not_be_written_is_told_first(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="--output"):
        demo.run_demo(tmp_path / "file" / "out", quiet=True)


def test_charts_are_whole_svg_and_the_same_bytes_each_time():
    curves = [Curve("ours", [0, 1], [0.1, 0.2], [0.05, 0.1], [0.2, 0.3], strong=True)]
    rng = np.random.default_rng(0)
    points, tasks = rng.standard_normal((20, 2)), np.repeat([-1, 0], 10)
    for make in (
        lambda: k_curves(curves, "quality"),
        lambda: task_map(points, tasks, "people"),
        lambda: bars({"fit": 1.5, "rank": 0.5}, "time", "seconds"),
    ):
        svg = make()
        ElementTree.fromstring(svg)
        assert svg == make()
