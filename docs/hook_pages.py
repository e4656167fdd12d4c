"""Writes `docs/plugins/hooks`: a page for each hook, from the docstrings. Run by ``make docs``."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import FunctionType
from typing import Any

from metarec_sdk.plugins import KINDS, hookspecs
from metarec_sdk.plugins.kinds import Kind, members
from metarec_sdk.plugins.request import RankRequest
from metarec_sdk.types import Episodes, Histories, Memberships, MetaFit, TopK, TrainingLog

FOLDER = Path(__file__).parent / "plugins" / "hooks"
HANDED = (Histories, TopK, TrainingLog, Memberships, Episodes, MetaFit, RankRequest)
"""What hooks and methods are given, and give, beside arrays and frames."""
ARGUMENT = re.compile(r"^    (\w+): (.+(?:\n        .+)*)", re.MULTILINE)


def hooks() -> dict[str, Callable[..., Any]]:
    """Every hook by name, in the order of `hookspecs`."""
    return {name: spec for name, spec in vars(hookspecs).items() if name.startswith("metarec_")}


def page(name: str, hook: Callable[..., Any], kind: Kind | None) -> str:
    """The page of one hook; ``kind`` is what it registers, None for an observation hook.

    Raises `ValueError` for a hook, an argument or a method of the protocol without a docstring.
    """
    text, arguments = described(name, hook)
    signature = inspect.signature(hook)
    when = "once, when the plugin is loaded" if kind else "while the recommender works"
    lines = [
        "<!-- written by docs/hook_pages.py from the docstrings; change those and run `make docs` -->",
        f"# {name}",
        "",
        f"`{name}({', '.join(signature.parameters)})` is called {when}. "
        "An implementation may take any subset of the arguments, without default values.",
        "",
        text,
        "",
        "| argument | type | meaning |",
        "|---|---|---|",
    ]
    for argument, parameter in signature.parameters.items():
        lines.append(f"| `{argument}` | `{parameter.annotation}` | {arguments[argument]} |")
    if kind is not None:
        lines += ["", f'Selected by `Recommender({kind.name}="plugin/name")`. ']
        lines[-1] += f"A worked example is in the [cookbook](../cookbook/{kind.name}.md)."
        lines += ["", "## register", "", _markdown(_doc("Register", hookspecs.Register.__call__))]
        lines += ["", f"## {kind.protocol.__name__}", "", _markdown(_doc(kind.label, kind.protocol))]
        for member in members(kind.protocol):
            lines += ["", f"### {member}", "", *_member(kind.protocol, member)]
    text = "\n".join(lines)
    if named := [each.__name__ for each in HANDED if re.search(rf"\b{each.__name__}\b", text)]:
        links = ", ".join(f"[`{word}`](types.md#{word.lower()})" for word in named)
        lines += ["", f"What it holds: {links}." if len(named) == 1 else f"What they hold: {links}."]
    return "\n".join(lines) + "\n"


def described(name: str, hook: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """(text, meaning of each argument) from a hook's docstring.

    Raises `ValueError` for a hook or an argument that isn't described, and for one that isn't there.
    """
    text, _, section = _doc(name, hook).partition("\nArgs:\n")
    found = {word: re.sub(r"\s+", " ", meaning) for word, meaning in ARGUMENT.findall(section)}
    if set(found) != set(inspect.signature(hook).parameters):
        wanted = list(inspect.signature(hook).parameters)
        raise ValueError(f"the docstring of {name} describes {sorted(found)}; its arguments are {wanted}")
    return _markdown(text.strip()), {word: _markdown(meaning) for word, meaning in found.items()}


def pages() -> dict[str, str]:
    """Text of every page by file name, and the index."""
    kinds = {kind.hook: kind for kind in KINDS.values()}
    written = {f"{name}.md": page(name, hook, kinds.get(name)) for name, hook in hooks().items()}
    lines = ["<!-- written by docs/hook_pages.py -->", "# Hooks", ""]
    lines += [f"- [{name}]({name}.md): {_first_line(hook)}" for name, hook in hooks().items()]
    lines += ["- [What the methods are given](types.md): the fields of histories, lists and logs."]
    return {**written, "types.md": types_page(), "README.md": "\n".join(lines) + "\n"}


def types_page() -> str:
    """The page of everything in `HANDED`: its fields, and what its methods are for.

    Raises `ValueError` for a type, a field or a method without a docstring.
    """
    lines = [
        "<!-- written by docs/hook_pages.py from the docstrings; change those and run `make docs` -->",
        "# What the methods are given",
        "",
        "Letters in shapes: `b` users or histories in a batch, `u` users in a log, `n` items, `e` events and "
        "`o` candidates over all rows of a batch. Items are numbers 0 … n - 1; where a method is given the "
        "items' table, row i is item i. Arrays are read-only.",
    ]
    for each in HANDED:
        lines += [
            "",
            f"## {each.__name__}",
            "",
            f"`{each.__module__}.{each.__name__}`. " + _markdown(_doc(each.__name__, each)),
        ]
        lines += ["", "| field | type | meaning |", "|---|---|---|"]
        for field in fields(each):
            annotation, text = _attribute(each, field.name)
            kind, meaning = annotation.replace("|", "\\|"), re.sub(r"\s+", " ", _markdown(text))
            lines.append(f"| `{field.name}` | `{kind}` | {meaning} |")
        methods = {
            name: value
            for name, value in vars(each).items()
            if not name.startswith("_") and isinstance(value, FunctionType | property | classmethod)
        }
        if methods:
            lines += ["", "| method or property | gives |", "|---|---|"]
        for name, value in methods.items():
            shown = name if isinstance(value, property) else name + _arguments(getattr(each, name))
            lines.append(
                f"| `{shown}` | {_markdown(_doc(name, value)).partition(chr(10) * 2)[0]} |".replace("\n", " ")
            )
    return "\n".join(lines) + "\n"


def _arguments(method: Callable[..., Any]) -> str:
    names = [name for name in inspect.signature(method).parameters if name != "self"]
    return f"({', '.join(names)})"


def _first_line(hook: Callable[..., Any]) -> str:
    return inspect.cleandoc(hook.__doc__ or "").partition("\n")[0]


def _member(protocol: type, member: str) -> list[str]:
    value = getattr(protocol, member, None)
    if not callable(value):
        annotation, text = _attribute(protocol, member)
        return [f"`{member}: {annotation}`, an attribute", "", _markdown(text)]
    signature = str(inspect.signature(value)).replace("(self, ", "(").replace("(self)", "()").replace("'", "")
    signature = re.sub(r"<function (\w+) at 0x\w+>", r"\1", signature)
    return [f"`{member}{signature}`", "", _markdown(_doc(f"{protocol.__name__}.{member}", value))]


def _attribute(protocol: type, member: str) -> tuple[str, str]:
    """(annotation, docstring) of an attribute; its docstring exists in the source only."""
    (body,) = ast.parse(inspect.cleandoc(inspect.getsource(protocol))).body
    assert isinstance(body, ast.ClassDef)
    for place, line in enumerate(body.body[:-1]):
        if isinstance(line, ast.AnnAssign) and ast.unparse(line.target) == member:
            after = body.body[place + 1]
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                return ast.unparse(line.annotation), inspect.cleandoc(str(after.value.value))
    raise ValueError(f"{protocol.__name__}.{member} has no docstring")


def _doc(what: str, thing: Any) -> str:
    text = inspect.cleandoc(thing.__doc__ or "")
    if not text:
        raise ValueError(f"{what} has no docstring")
    return text


def _markdown(text: str) -> str:
    return text.replace("``", "`")


def main() -> None:
    """Write all pages, and remove those of hooks that are gone."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    written = pages()
    for path in FOLDER.glob("*.md"):
        if path.name not in written:
            path.unlink()
    for name, text in written.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
