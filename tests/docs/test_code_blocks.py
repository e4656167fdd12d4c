"""Every code block in the README and the docs runs, in the order of its page."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md")), ROOT / "CONTRIBUTING.md"]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RUNNABLE = {"python", "bash"}
PLAIN = {"text", "toml", "json"}


def blocks(page: Path) -> list[tuple[str, str]]:
    return BLOCK.findall(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_says_what_it_is(page):
    assert {language for language, _ in blocks(page)} <= RUNNABLE | PLAIN


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.name)
def test_blocks_run(page, workplace):
    names: dict[str, object] = {"__name__": "__main__"}
    for number, (language, source) in enumerate(blocks(page)):
        if language == "python":
            code = compile(source, f"{page.name}, block {number}", "exec")
            exec(code, names)
        elif language == "bash":
            for line in source.replace("\\\n", " ").splitlines():
                run_line(line)


def run_line(line: str) -> None:
    """Run `metarec`, look `make` targets up, check that `pip` names an extra that exists."""
    words = shlex.split(line, comments=True)
    if not words:
        return
    if words[0] == "metarec":
        if "demo" in words or "k-shot" in words:  # minutes long, and run by tests of their own
            words.append("--help")
        subprocess.run([Path(sys.executable).parent / "metarec", *words[1:]], check=True, capture_output=True)
    elif words[0] == "make":
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        assert set(words[1:]) <= targets, f"{line!r}: the Makefile has {sorted(targets)}"
    elif words[:2] == ["pip", "install"]:
        declared = (ROOT / "pyproject.toml").read_text()
        for extra in re.findall(r"\[(.*?)\]", words[2]):
            assert all(re.search(rf"^{name} = \[", declared, re.MULTILINE) for name in extra.split(","))
    else:
        raise AssertionError(f"the tests don't know how to check {line!r}")
