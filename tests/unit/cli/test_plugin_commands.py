"""``metarec plugins show | check | new`` where things go right, and where they don't."""

from __future__ import annotations

import builtins
from pathlib import Path

import pytest

ODD = """
import numpy as np
import metarec_sdk


class Odd:
    \"\"\"Forbids items at odd places of the catalogue.\"\"\"

    def fit(self, items, vectors):
        self.odd = np.arange(len(items)) % 2 == 1

    def forbidden(self, histories, candidates):
        return self.odd[candidates.items]


class Ill(Odd):
    \"\"\"Returns numbers.\"\"\"

    def forbidden(self, histories, candidates):
        return candidates.scores


@metarec_sdk.hookimpl
def metarec_register_rules(register):
    register("odd", Odd, summary="Even places only")
    register("ill", Ill, summary="Numbers")


@metarec_sdk.hookimpl
def metarec_fit_finished(report):
    pass
"""

ONE = ODD.replace('    register("ill", Ill, summary="Numbers")\n', "")


@pytest.fixture
def one_file(tmp_path) -> Path:
    path = tmp_path / "my_rules.py"
    path.write_text(ODD)
    return path


@pytest.fixture
def distribution(tmp_path) -> Path:
    """A folder with a pyproject.toml and a module in src/."""
    folder = tmp_path / "metarec-rules"
    (folder / "src").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "metarec-rules"\nversion = "1"\n'
        '[project.entry-points."metarec_sdk.v1"]\nrules = "rules_for_test"\n'
    )
    (folder / "src" / "rules_for_test.py").write_text(ONE)
    return folder


@pytest.fixture(autouse=True)
def _own_path(monkeypatch):
    import sys

    monkeypatch.setattr(sys, "path", list(sys.path))


def test_show_tells_everything_about_a_plugin(metarec_json, one_file):
    (shown,) = metarec_json("plugins", "show", "my-rules", "--plugin", one_file)
    assert shown["status"] == "loaded"
    assert shown["components"] == ["rule my-rules/odd", "rule my-rules/ill"]
    assert shown["hooks"] == ["metarec_register_rules", "metarec_fit_finished"]
    assert shown["import_seconds"] > 0
    assert len(shown["sha256"]) == 64


def test_show_of_the_built_ins_has_no_hash(metarec_json):
    shown = metarec_json("plugins", "show", "metarec")
    assert shown[0]["sha256"] is None
    assert "metarec_register_backbones" in shown[0]["hooks"]


def test_show_of_a_broken_plugin_tells_why(metarec_json, tmp_path):
    (tmp_path / "broken.py").write_text("import module_that_is_not_there\n")
    (shown,) = metarec_json("plugins", "show", "broken", "--plugin", tmp_path / "broken.py")
    assert shown["status"] == "failed"
    assert "module_that_is_not_there" in shown["error"]
    assert shown["hooks"] == []


def test_check_of_one_file_tells_what_is_wrong_and_ends_with_1(metarec, one_file):
    result = metarec("plugins", "check", one_file, "--level", "conforms")
    assert result.exit_code == 1
    good, ill = [line for line in result.stdout.splitlines() if line.startswith("rule ")]
    assert good.startswith("rule my-rules/odd: conforms; ")
    assert " 0 failed " in good
    assert ill.startswith("rule my-rules/ill: loads; ")
    assert "it must be bool[" in result.stdout


def test_check_of_a_distribution_that_is_not_installed(metarec_json, distribution):
    (report,) = metarec_json("plugins", "check", distribution, "--level", "conforms")
    assert report["component"] == "rules/odd"
    assert report["level"] == "conforms"
    assert report["counts"]["passed"] > 20


def test_check_of_a_folder_with_a_package(metarec_json, tmp_path):
    (tmp_path / "just_a_package").mkdir()
    (tmp_path / "just_a_package" / "__init__.py").write_text(ONE)
    reports = metarec_json("plugins", "check", tmp_path / "just_a_package", "--level", "loads")
    assert [report["component"] for report in reports] == ["just-a-package/odd"]


def test_check_of_a_built_in(metarec_json):
    (report,) = metarec_json("plugins", "check", "quota", "--level", "loads")
    assert report["kind"] == "rule"


def test_check_of_an_observer_says_that_there_is_nothing_more(metarec, tmp_path):
    (tmp_path / "ear.py").write_text(
        "import metarec_sdk\n\n\n@metarec_sdk.hookimpl\ndef metarec_fit_finished(report):\n    pass\n"
    )
    result = metarec("plugins", "check", tmp_path / "ear.py")
    assert result.exit_code == 0
    assert "no component" in result.stdout


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import module_that_is_not_there", "module_that_is_not_there"),
        ("import os; os._exit(3)", "ended the process"),
        ("x = 1", "implements no hook"),
    ],
)
def test_check_of_a_plugin_that_does_not_load_ends_with_4(metarec, tmp_path, source, why):
    (tmp_path / "broken.py").write_text(source)
    result = metarec("plugins", "check", tmp_path / "broken.py")
    assert result.exit_code == 4
    assert why in result.stderr


@pytest.mark.parametrize(
    ("make", "target", "why"),
    [
        (lambda root: None, "nowhere.py", "there is no file"),
        (lambda root: (root / "bare").mkdir(), "bare/", "neither a pyproject.toml"),
        (lambda root: None, "no-such-plugin", "there is no file, folder, plugin"),
        (lambda root: (root / "pyproject.toml").write_text("[project]\n"), ".", "names no plugin"),
        (lambda root: (root / "pyproject.toml").write_text("[project"), ".", "can't be read"),
        (
            lambda root: (root / "pyproject.toml").write_text(
                '[project.entry-points."metarec_sdk.v1"]\nacme = "nowhere_to_be_found"\n'
            ),
            ".",
            "neither",
        ),
    ],
)
def test_check_of_what_is_no_plugin_ends_with_2(metarec, tmp_path, monkeypatch, make, target, why):
    monkeypatch.chdir(tmp_path)
    make(tmp_path)
    result = metarec("plugins", "check", target)
    assert result.exit_code == 2
    assert why in result.stderr


def test_check_refuses_a_level_that_there_is_not(metarec, one_file):
    result = metarec("plugins", "check", one_file, "--level", "perfect")
    assert result.exit_code == 2
    assert "loads, conforms, serves" in result.stderr


def test_new_names_the_plugin_after_its_folder(metarec_json, tmp_path):
    written = metarec_json("plugins", "new", tmp_path / "metarec_Fine-rules", "--kind", "item-item")
    assert written["plugin"] == "fine-rules"
    assert "src/metarec_fine_rules/next_item.py" in written["files"]
    assert "tests/test_next_item.py" in written["files"]
    assert ".github/workflows/test.yml" in written["files"]


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (["metarec-acme", "--kind", "rocket"], 2, "--kind 'rocket' should be one of backbone"),
        (["metarec-acme", "--component", "Not Good"], 2, "--component gives 'Not Good'"),
        (["1234"], 2, "the folder's name gives '1234'"),
        (["full"], 3, "isn't an empty folder"),
    ],
)
def test_new_refuses_what_it_cannot_write(metarec, tmp_path, monkeypatch, arguments, code, why):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep")
    result = metarec("plugins", "new", *arguments)
    assert result.exit_code == code
    assert why in result.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["full", "mine.txt"]


def test_new_without_copier_says_how_to_get_it(metarec, tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **named):
        if name.partition(".")[0] == "copier":
            raise ModuleNotFoundError("No module named 'copier'", name="copier")
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    result = metarec("plugins", "new", tmp_path / "metarec-acme")
    assert result.exit_code == 4
    assert "pip install 'metarec-sdk[plugins]'" in result.stderr
    assert not (tmp_path / "metarec-acme").exists()
