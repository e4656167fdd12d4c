"""Every hook and every command is documented."""

import re
from pathlib import Path

from metarec_sdk.cli import app, mistakes
from metarec_sdk.plugins import hookspecs

DOCS = Path(__file__).parents[2] / "docs"


def test_every_hook_is_documented_with_its_arguments():
    page = (DOCS / "plugins.md").read_text(encoding="utf-8")
    hooks = {name: spec for name, spec in vars(hookspecs).items() if name.startswith("metarec_")}
    for name, spec in hooks.items():
        arguments = ", ".join(spec.__code__.co_varnames[: spec.__code__.co_argcount])
        assert f"`{name}({arguments})`" in page
    assert set(re.findall(r"`(metarec_\w+)\(", page)) == set(hooks)


def test_every_command_is_documented():
    page = (DOCS / "command-line.md").read_text(encoding="utf-8")
    names = {command.callback.__name__ for command in app.registered_commands}
    names |= {group.name for group in app.registered_groups}
    assert set(re.findall(r"^\| `metarec (\w+)`", page, re.MULTILINE)) == names


def test_every_exit_code_is_documented():
    page = (DOCS / "command-line.md").read_text(encoding="utf-8")
    codes = {0, 1, mistakes.ARGUMENTS, mistakes.STORAGE, mistakes.PLUGIN, mistakes.INTERRUPTED}
    assert set(map(int, re.findall(r"^\| (\d+) \|", page, re.MULTILINE))) == codes
