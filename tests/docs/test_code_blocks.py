"""Every code block in the READMEs and the docs runs, in the order of its page."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from metarec_sdk.cli import app

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("**/*.md")),
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "plugins").glob("*/README.md")),
]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RUNNABLE = {"python", "bash"}
PLAIN = {"text", "toml", "json"}


def name_of(page: Path) -> str:
    return page.parent.name if page.parent.parent.name == "plugins" else page.name


def blocks(page: Path) -> list[tuple[str, str]]:
    return BLOCK.findall(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_says_what_it_is(page):
    assert {language for language, _ in blocks(page)} <= RUNNABLE | PLAIN


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=name_of)
def test_blocks_run(page, workplace):
    names: dict[str, object] = {"__name__": "__main__"}
    for number, (language, source) in enumerate(blocks(page)):
        if language == "python":
            code = compile(source, f"{page.name}, block {number}", "exec")
            exec(code, names)
        elif language == "bash":
            for line in source.replace("\\\n", " ").splitlines():
                run_line(line, page)


def run_here(words: list[str]) -> None:
    """Run a command of a distribution's page in this process: importing its libraries takes the longest."""
    if words[0] == "fit":
        words = [*words, "--meta-learner", "none"]  # else most of the rest, and none of a plugin's business
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output


def run_line(line: str, page: Path) -> None:
    """Run `metarec`, look `make` targets and options of benchmarks up, check what `pip` is to install."""
    words = shlex.split(line, comments=True)
    if not words:
        return
    if words[0] == "metarec":
        if "demo" in words or "k-shot" in words:  # minutes long, and run by tests of their own
            words.append("--help")
        if page.parent.parent.name == "plugins":
            run_here(words[1:])
            return
        subprocess.run([Path(sys.executable).parent / "metarec", *words[1:]], check=True, capture_output=True)
    elif words[0] == "make":
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        assert set(words[1:]) <= targets, f"{line!r}: the Makefile has {sorted(targets)}"
    elif words[0] == "python":  # a benchmark, which takes long and needs data
        beside = page.parent / words[1]
        script = beside if beside.exists() else ROOT / words[1]
        command = [sys.executable, script, "--help"]
        helped = subprocess.run(command, check=True, capture_output=True, text=True)
        for option in (word for word in words[2:] if word.startswith("--")):
            assert re.search(rf"{option}\b", helped.stdout), f"{script} has no option {option}"
    elif words[:2] == ["pip", "install"] and words[2] == page.parent.name:
        assert (page.parent / "pyproject.toml").exists()
    elif words[:2] == ["pip", "install"]:
        declared = (ROOT / "pyproject.toml").read_text()
        for extra in re.findall(r"\[(.*?)\]", words[2]):
            assert all(re.search(rf"^{name} = \[", declared, re.MULTILINE) for name in extra.split(","))
    else:
        raise AssertionError(f"the tests don't know how to check {line!r}")
