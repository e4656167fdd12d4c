"""``metarec bench``."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from typer.core import TyperGroup

import metarec_sdk
from metarec_sdk.cli.bench_k_shot import k_shot
from metarec_sdk.cli.output import Json, show, show_json
from metarec_sdk.errors import ArgumentError, UnknownIdError

LONG = "(long)"
"""In the first line of a script's docstring: it runs only when it is named."""


class Benchmarks(TyperGroup):
    """``bench NAME ...`` runs scripts; a study that comes with the package is a command of its own."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Whatever doesn't begin with the name of a command is for ``run``."""
        return super().parse_args(ctx, args if args and args[0] in self.commands else ["run", *args])


app = typer.Typer(cls=Benchmarks, help="Benchmarks against peers, and the k-shot study.")
app.command(
    epilog="Example:  metarec bench k-shot --quick\n\n"
    "Example:  metarec bench k-shot --sets coat,ml-1m --seeds 5"
)(k_shot)


@app.command(
    "run",
    epilog="Example:  metarec bench --list\n\nExample:  metarec bench recommend_against_implicit\n\n"
    "Example:  metarec bench k-shot --help",
)
def bench(
    names: Annotated[
        list[str] | None, typer.Argument(help="Benchmarks to run; all but the long ones if none.")
    ] = None,
    list_them: Annotated[bool, typer.Option("--list", help="Only list them.")] = False,
    folder: Annotated[Path | None, typer.Option(help="The folder benches/ of a checkout.")] = None,
    json: Json = False,
) -> None:
    """Run the benchmarks of a checkout against their peers, each as a ratio within one run."""
    scripts = benchmarks(folder or find_folder())
    if list_them:
        if json:
            show_json([{"name": name, "summary": summary(path)} for name, path in scripts.items()])
            return
        table = Table("name", "what it measures", title="Benchmarks", title_justify="left")
        for name, path in scripts.items():
            table.add_row(name, summary(path))
        show(table)
        return
    unknown = [name for name in names or () if name not in scripts]
    if unknown:
        raise UnknownIdError(f"there is no benchmark {unknown[0]!r}; there are {list(scripts)}")
    chosen = names or [name for name, path in scripts.items() if LONG not in summary(path)]
    runs = [_run(name, scripts[name], quiet=json) for name in chosen]
    if json:
        show_json(runs)
    if any(run["exit_code"] for run in runs):
        raise typer.Exit(1)


def find_folder() -> Path:
    """The folder benches/ of the checkout that the package is imported from, or of the working directory.

    Raises `ArgumentError` that says how to get one.
    """
    for root in (Path(metarec_sdk.__file__).parents[2], Path.cwd()):
        if (root / "benches").is_dir() and (root / "rust" / "metarec-core").is_dir():
            return root / "benches"
    raise ArgumentError(
        "the benchmarks aren't part of the installed package; run this inside a checkout of metarec_sdk, or "
        "name its folder with --folder"
    )


def benchmarks(folder: Path) -> dict[str, Path]:
    """Scripts by name; those that begin with an underscore are shared parts.

    Raises `ArgumentError` where there is none.
    """
    scripts = {path.stem: path for path in sorted(folder.glob("*.py")) if not path.name.startswith("_")}
    if not scripts:
        raise ArgumentError(f"--folder {str(folder)!r} holds no benchmark (a .py file)")
    return scripts


def summary(path: Path) -> str:
    """The first line of a script's docstring."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0]


def _run(name: str, path: Path, quiet: bool) -> dict[str, str | int | float]:
    if not quiet:
        show(f"{name}: {summary(path)}")
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, str(path)], check=False, stdout=subprocess.PIPE if quiet else None, text=True
    )
    result: dict[str, str | int | float] = {
        "name": name,
        "exit_code": done.returncode,
        "seconds": round(time.perf_counter() - started, 3),
    }
    return {**result, "output": done.stdout} if quiet else result
