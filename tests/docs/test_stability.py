"""The list of what is public is true, and the distributions in plugins/ need nothing else."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import metarec_sdk

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "plugins" / "stability.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `(metarec_sdk[\w.]*)` \| (.+) \| (stable|provisional) \|$", PAGE, re.MULTILINE)
PLUGINS = sorted((ROOT / "plugins").glob("metarec-*"))
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md")), *(p / "README.md" for p in PLUGINS)]


def names_of(module: ModuleType, listed: str) -> set[str]:
    if listed == "`__all__`":
        return set(module.__all__)
    if listed.startswith("whatever"):
        return {name for name in vars(module) if not name.startswith("_")}
    return set(re.findall(r"`(\w+)`", listed))


@pytest.fixture(scope="module")
def public() -> dict[str, set[str]]:
    """Module -> its public names."""
    return {name: names_of(importlib.import_module(name), listed) for name, listed, _ in ROWS}


def imported(source: str) -> Iterator[tuple[str, str]]:
    """(module, name) of what is imported from metarec_sdk."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "metarec_sdk":
            yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((a.name, "") for a in node.names if a.name.startswith("metarec_sdk."))


def test_there_is_one_row_a_module():
    assert len({name for name, _, _ in ROWS}) == len(ROWS) >= 25


@pytest.mark.parametrize(("module", "listed", "line"), ROWS, ids=[row[0] for row in ROWS])
def test_what_is_listed_is_there_and_says_how_stable_it_is(module, listed, line, public):
    home = importlib.import_module(module)
    assert public[module]
    for name in public[module]:
        assert hasattr(home, name), f"{module} has no {name}"
    above = [importlib.import_module(module.rpartition(".")[0])] if module != "metarec_sdk" else []
    texts = [place.__doc__ or "" for place in (home, *above)]
    assert any("Stability: provisional" in text for text in texts) is (line == "provisional")


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda plugin: plugin.name)
def test_a_distribution_uses_what_is_public_and_no_other_distribution(plugin, public):
    own = plugin.name.replace("-", "_")
    sources = sorted((plugin / "src").rglob("*.py"))
    assert sources
    for path in sources:
        text = path.read_text(encoding="utf-8")
        for module, name in imported(text):
            assert name in public.get(module, ()), f"{path.name} imports {name} from {module}"
        others = set(re.findall(r"\b(?:import|from) (metarec_\w+)", text)) - {"metarec_sdk", own}
        assert not others, f"{path.name} imports {others}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_examples_use_what_is_public(page, public):
    for source in BLOCK.findall(page.read_text(encoding="utf-8")):
        for module, name in imported(source):
            assert name in public.get(module, ()), f"{page} imports {name} from {module}"
        for name in re.findall(r"\bmr\.(\w+)", source):
            assert name in metarec_sdk.__all__, f"{page} uses mr.{name}"
