"""``metarec info``, ``plugins``, ``datasets`` and ``bench``."""

from __future__ import annotations

import sys

import pytest


def test_info(metarec_json):
    facts = metarec_json("info")
    assert facts["packages"]["numpy"]
    assert facts["threads"] >= 1
    assert facts["instruction set"]
    assert facts["devices"].startswith("cpu")


def test_info_without_torch_says_how_to_get_it(metarec, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = metarec("info")
    assert result.exit_code == 0
    assert "metarec-sdk[torch]" in result.stdout


def test_info_with_a_torch_that_cannot_be_loaded(metarec, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    result = metarec("info")
    assert result.exit_code == 0
    assert "can't be loaded" in result.stdout


def test_plugins_list(metarec_json):
    listed = metarec_json("plugins", "list", "--kind", "clusterer")
    assert listed["plugins"][0]["name"] == "metarec"
    assert [component["component"] for component in listed["components"]][:3] == ["kmeans", "column", "none"]
    assert {component["kind"] for component in listed["components"]} == {"clusterer"}


def test_plugins_show_a_component_with_its_parameters(metarec_json):
    (shown,) = metarec_json("plugins", "show", "kmeans")
    assert shown["target"] == "metarec_sdk.tasks.kmeans:KMeansTasks"
    assert "n_tasks" in shown["parameters"]


def test_plugins_show_a_name_of_two_kinds_shows_both(metarec_json):
    assert {shown["kind"] for shown in metarec_json("plugins", "show", "none")} == {
        "clusterer",
        "meta_learner",
    }


def test_a_broken_plugin_is_listed_with_its_error(metarec, monkeypatch, tmp_path):
    info = tmp_path / "broken-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[metarec_sdk.v1]\nbroken = module_that_is_not_there\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    result = metarec("plugins", "list")
    assert result.exit_code == 0
    assert "failed" in result.stdout
    assert "module_that_is_not_there" in result.stdout


def test_datasets(metarec_json):
    assert {"movielens-100k", "open-bandit-small"} <= set(metarec_json("datasets"))


@pytest.fixture
def benches(tmp_path):
    (tmp_path / "quick.py").write_text('"""Adds two numbers.\n\nMore."""\nprint(1 + 1)\n')
    (tmp_path / "fails.py").write_text('"""Ends badly."""\nraise SystemExit(5)\n')
    (tmp_path / "_shared.py").write_text("raise RuntimeError\n")
    return tmp_path


def test_benchmarks_are_listed_with_their_first_line(metarec_json, benches):
    assert metarec_json("bench", "--list", "--folder", benches) == [
        {"name": "fails", "summary": "Ends badly."},
        {"name": "quick", "summary": "Adds two numbers."},
    ]


def test_one_benchmark_runs_by_name(metarec_json, benches):
    (run,) = metarec_json("bench", "quick", "--folder", benches)
    assert (run["name"], run["exit_code"], run["output"]) == ("quick", 0, "2\n")
    assert run["seconds"] > 0


def test_a_failing_benchmark_is_a_failure_and_the_others_run(metarec, benches, capfd):
    result = metarec("bench", "--folder", benches)
    assert result.exit_code == 1
    assert "quick" in result.stdout
    assert "2" in capfd.readouterr().out


def test_an_unknown_benchmark(metarec, benches):
    result = metarec("bench", "slow", "--folder", benches)
    assert result.exit_code == 2
    assert "['fails', 'quick']" in result.stderr


def test_outside_a_checkout_the_message_says_what_to_do(metarec, monkeypatch, tmp_path):
    import metarec_sdk

    monkeypatch.setattr(
        metarec_sdk, "__file__", str(tmp_path / "site-packages" / "metarec_sdk" / "__init__.py")
    )
    monkeypatch.chdir(tmp_path)
    result = metarec("bench")
    assert result.exit_code == 2
    assert "checkout" in result.stderr
