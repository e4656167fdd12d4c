"""``--help`` reads like a table of contents, and every command shows an example and speaks JSON."""

from __future__ import annotations

import subprocess
import sys

import pytest

COMMANDS = (
    "demo",
    "fit",
    "recommend",
    "observe",
    "update",
    "generations",
    "evaluate",
    "bench",
    "datasets",
    "info",
)
PATHS = [(name,) for name in COMMANDS] + [("plugins", name) for name in ("list", "show", "check", "new")]


def test_the_overview_names_every_command(metarec):
    result = metarec("--help")
    assert result.exit_code == 0
    assert all(name in result.output for name in (*COMMANDS, "plugins"))


@pytest.mark.parametrize("path", PATHS)
def test_every_command_shows_an_example_and_has_json(metarec, path):
    result = metarec(*path, "--help")
    assert result.exit_code == 0
    assert f"Example:  metarec {' '.join(path)}" in result.output
    assert "--json" in result.output


def test_a_mistyped_command_is_guessed(metarec):
    result = metarec("recomend")
    assert result.exit_code == 2
    assert "recommend" in result.output


@pytest.mark.parametrize("arguments", [["--help"], ["info", "--help"], ["plugins", "list", "--json"]])
def test_nothing_heavy_is_imported_for_light_work(arguments):
    code = (
        f"import sys; sys.argv = ['metarec', *{arguments}]\n"
        "import metarec_sdk.cli\n"
        "try: metarec_sdk.cli.main()\n"
        "except SystemExit as end: assert not end.code\n"
        "print(*sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert not {"torch", "sklearn", "scipy", "pandas", "polars"} & set(out.stdout.splitlines()[-1].split())
