"""What `metarec plugins new` writes: a distribution that installs, passes its tests and serves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from metarec_sdk.cli.plugin_new import render
from metarec_sdk.plugins import KINDS, PluginManager

BIN = Path(sys.executable).parent
HOST = Path(__import__("metarec_sdk").__file__).parents[1]


@pytest.fixture(scope="module")
def every_kind(tmp_path_factory) -> dict[str, Path]:
    """A folder for each kind, written with the defaults of the template."""
    root = tmp_path_factory.mktemp("written")
    folders = {kind: root / kind for kind in KINDS}
    for kind, folder in folders.items():
        render(folder, {"plugin": f"of-{kind.replace('_', '-')}", "kind": kind})
    return folders


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_registers_a_component_that_is_built(every_kind, kind, monkeypatch):
    monkeypatch.syspath_prepend(str(every_kind[kind] / "src"))
    plugin = f"of-{kind.replace('_', '-')}"
    manager = PluginManager({plugin: f"metarec_{plugin.replace('-', '_')}"}, enabled=False, strict=True)
    (record,) = [record for record in manager.components(kind) if not record.builtin]
    assert record.summary
    assert manager.create(kind, record.name) is not None


def test_what_is_written_is_formatted_and_lints(every_kind):
    root = next(iter(every_kind.values())).parent
    rules = ["--isolated", "--line-length", "110"]
    for command in (["format", "--diff"], ["check", "--select", "E,F,W,B,UP,SIM,C4"]):
        done = subprocess.run([BIN / "ruff", *command, *rules, root], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_no_placeholder_is_left(every_kind):
    for folder in every_kind.values():
        for path in folder.rglob("*"):
            assert "{{" not in path.name
            if path.is_file():
                text = path.read_text().replace("${{ matrix.python }}", "")
                assert "{{" not in text, path
                assert "{%" not in text, path


def test_it_installs_passes_its_tests_and_its_check(tmp_path):
    folder, site = tmp_path / "metarec-acme", tmp_path / "site"
    run(BIN / "metarec", "plugins", "new", folder, "--kind", "reranker", "--component", "cheap-first")
    options = ["--quiet", "--offline", "--no-deps", "--no-build-isolation"]
    run(BIN / "uv", "pip", "install", *options, "--python", sys.executable, "--target", site, folder)
    shown = json.loads(run(BIN / "metarec", "plugins", "show", "acme", "--json", site=site))
    assert shown[0]["distribution"] == "metarec-acme"
    assert shown[0]["hooks"] == ["metarec_register_rerankers"]
    tests = run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", folder, site=site)
    assert " passed" in tests
    assert " failed" not in tests
    (report,) = json.loads(run(BIN / "metarec", "plugins", "check", "acme", "--json", site=site))
    assert report["component"] == "acme/cheap-first"
    assert report["level"] == "serves"
    assert report["counts"]["failed"] == report["counts"]["not run"] == 0
    # the order in which its README names the steps: the folder is checked while it is installed too
    (of_folder,) = json.loads(run(BIN / "metarec", "plugins", "check", folder, "--json", site=site))
    assert of_folder["level"] == "serves", of_folder["problems"]


def run(*command: object, site: Path | None = None) -> str:
    """Standard output of a command that must succeed, with the folder of installed packages on its path."""
    path = os.pathsep.join(str(part) for part in (site, HOST) if part is not None)
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run([str(word) for word in command], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
