"""Both components as their users meet them: the SDK's own checks, and new items ranked by text."""

import subprocess
import sys

import numpy as np
import polars as pl
import pytest

import metarec_sdk as mr
from metarec_sdk.testing import Level, run_checks

SMALL = {"width": 16, "history_limit": 8, "epochs": 2, "device": "cpu"}


@pytest.mark.parametrize(("model", "level"), [("gpt2", Level.CONFORMS), ("bert", Level.SERVES)])
def test_the_backbone_serves(model, level):
    params = {**SMALL, "model": model, "epochs": 1, "layers": 1}
    report = run_checks("transformers/history", params=params, level=level, isolated=False)
    assert report.level is level, str(report)


def test_the_text_encoder_serves(folder):
    params = {"model": str(folder), "length": 16, "device": "cpu"}
    report = run_checks("transformers/text", params=params, isolated=False)
    assert report.level is Level.SERVES, str(report)


def test_a_recommender_of_text_survives_saving(minilm, tmp_path):
    things = ["shoe", "cake", "guitar", "hammer"]
    items = pl.DataFrame(
        {"item_id": range(24), "title": [f"{things[item % 4]} number {item}" for item in range(24)]}
    )
    starts = np.random.default_rng(0).integers(4, size=80)
    taken = np.stack([np.random.default_rng(u).permutation(6)[:5] * 4 + s for u, s in enumerate(starts)])
    log = pl.DataFrame(
        {"user_id": np.repeat(np.arange(80), 5), "item_id": taken.ravel(), "t": np.tile(np.arange(5), 80)}
    ).with_columns(pl.col("t") * 3600 + 1_600_000_000)
    rec = mr.Recommender(
        backbone="transformers/history",
        content="transformers/text",
        params={
            "backbone": {**SMALL, "ids": False, "epochs": 8, "learning_rate": 0.01},
            "content": {"model": str(minilm), "length": 16, "device": "cpu"},
        },
        clusterer="none",
        meta_learner="none",
        seed=3,
    )
    rec.fit(mr.read_interactions(log, time="t"), items=items)
    lists = rec.recommend(history=[[0, 4], [1, 5]], k=4)
    assert (lists["item_id"].to_numpy() % 4).reshape(2, 4).tolist() == [[0] * 4, [1] * 4]
    rec.save(tmp_path / "model")
    assert mr.load(tmp_path / "model").recommend(history=[[0, 4], [1, 5]], k=4).equals(lists)


def test_listing_the_components_imports_no_torch():
    code = (
        "import sys, metarec_sdk; m = metarec_sdk.PluginManager(enabled=['transformers'], strict=True); "
        "print([r.status.value for r in m.records if r.name == 'transformers'], "
        "{'torch', 'transformers'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert out.stdout.strip() == "['loaded'] set()"
