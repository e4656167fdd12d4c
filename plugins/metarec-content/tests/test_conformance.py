"""Every component serves in a recommender, as `metarec plugins check` sees it."""

import subprocess
import sys

import numpy as np
import PIL.Image
import polars as pl
import pytest

import metarec_sdk as mr
from metarec_sdk.testing import Level, run_checks
from metarec_sdk.testing.samples import world


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("text", {}),
        ("text", {"columns": ["title"], "width": 3}),
        ("gaussian", {}),
        ("gaussian", {"covariance": "own", "feature": "log-ratio"}),
    ],
)
def test_it_conforms_and_serves(name, params):
    report = run_checks(f"content/{name}", kind="content", params=params)
    assert report.level is Level.SERVES, str(report)


@pytest.mark.parametrize("cache", [False, True])
def test_sentences_conform_and_serve(bert, tmp_path, cache):
    params = {"model": bert, "columns": ["title"], "cache": str(tmp_path) if cache else False}
    report = run_checks("content/sentences", kind="content", params=params)
    assert report.level is Level.SERVES, str(report)


def test_static_embeddings_conform_and_serve():
    pytest.importorskip("wordllama")
    report = run_checks("content/sentences", kind="content")
    assert report.level is Level.SERVES, str(report)


@pytest.mark.parametrize(("name", "model"), [("image", "vit"), ("audio", "wav2vec2")])
def test_files_conform_and_serve(name, model, request, tmp_path, rng):
    """The titles of the sample are the names of files here."""
    soundfile = pytest.importorskip("soundfile")
    for title in world().items["title"].drop_nulls():
        if name == "image":
            image = PIL.Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8))
            image.save(tmp_path / title, "png")
        else:
            soundfile.write(tmp_path / title, rng.normal(0, 0.1, 4_000), 16_000, format="WAV")
    params = {"model": request.getfixturevalue(model), "column": "title", "root": str(tmp_path)}
    report = run_checks(f"content/{name}", kind="content", params=params)
    assert report.level is Level.SERVES, str(report)


def test_an_item_that_joins_is_placed_by_its_text(tmp_path):
    """People of two tastes; what joins resembles one of them by nothing but its words."""
    rng = np.random.default_rng(0)
    words = {0: "garden spade rake soil", 1: "guitar drum piano song"}
    items = pl.DataFrame(
        {
            "item_id": [f"i{number}" for number in range(40)] + ["spade", "drum"],
            "title": [
                *(" ".join(rng.permutation(words[number % 2].split())[:3]) for number in range(40)),
                "a spade for soil",
                "drum and song",
            ],
        }
    )
    events = [
        (f"u{user}", f"i{number}")
        for user in range(60)
        for number in rng.permutation(np.arange(user % 2, 40, 2))[:8].tolist()
    ]
    log = mr.read_interactions(pl.DataFrame(events, schema=["user_id", "item_id"], orient="row"), time=None)
    recommender = mr.Recommender(
        backbone="factors",
        clusterer="none",
        meta_learner="none",
        content="content/text",
        params={"backbone": {"factors": 8}},
        seed=1,
        home=tmp_path,
        progress=False,
    )
    recommender.fit(log, items=items)
    recommender.observe("somebody", "spade", "click")
    recommender.observe("somebody", "drum", "click")
    recommender.update()
    found = recommender.recommend(["u0", "u1"], k=2, allow=["spade", "drum"])
    first = found.group_by("user_id", maintain_order=True).first()
    assert dict(first.select("user_id", "item_id").iter_rows()) == {"u0": "spade", "u1": "drum"}


def test_the_plugin_imports_no_library_of_models():
    heavy = {"torch", "transformers", "sklearn", "wordllama"}
    code = f"import sys, metarec_content; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
