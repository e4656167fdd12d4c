"""The commands put together, and the entry point."""

from __future__ import annotations

import sys

import typer

from metarec_sdk.cli import bench, plugins
from metarec_sdk.cli.datasets import datasets
from metarec_sdk.cli.demo import demo
from metarec_sdk.cli.evaluate import evaluate
from metarec_sdk.cli.fit import fit
from metarec_sdk.cli.generations import generations
from metarec_sdk.cli.info import info
from metarec_sdk.cli.mistakes import CommandGroup, broken_pipe
from metarec_sdk.cli.observe import observe
from metarec_sdk.cli.recommend import recommend
from metarec_sdk.cli.update import update

app = typer.Typer(
    name="metarec",
    cls=CommandGroup,
    help="Recommendations that fit every segment and every new user after a handful of events.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _example(*lines: str) -> str:
    return "\n\n".join(f"Example:  {line}" for line in lines)


_START, _SERVE, _MEASURE, _EXTEND = "Start", "Serve and learn", "Measure", "Extend and inspect"

app.command(epilog=_example("metarec demo --output demo-output"), rich_help_panel=_START)(demo)
app.command(
    epilog=_example(
        "metarec fit events.parquet --time ts --event type --out model",
        "metarec fit dataset:movielens-100k --backbone factors --out model",
    ),
    rich_help_panel=_START,
)(fit)
app.command(
    epilog=_example(
        "metarec recommend model --user u1 --user u2 -k 10",
        "metarec recommend model --history i3,i9",
        "metarec recommend model --users-file users.txt --out lists.parquet",
    ),
    rich_help_panel=_SERVE,
)(recommend)
app.command(
    epilog=_example(
        "metarec observe model --user u1 --item i42 --event purchase",
        "metarec observe model --file events.csv --event-column type",
    ),
    rich_help_panel=_SERVE,
)(observe)
app.command(epilog=_example("metarec update model"), rich_help_panel=_SERVE)(update)
app.command(
    epilog=_example("metarec generations model", "metarec generations model --rollback"),
    rich_help_panel=_SERVE,
)(generations)
app.command(
    epilog=_example("metarec evaluate model events.parquet --time ts --protocol cold-start --seeds 5"),
    rich_help_panel=_MEASURE,
)(evaluate)
app.add_typer(bench.app, name="bench", rich_help_panel=_MEASURE)
app.add_typer(plugins.app, name="plugins", rich_help_panel=_EXTEND)
app.command(
    epilog=_example("metarec datasets", "metarec fit dataset:movielens-100k --out model"),
    rich_help_panel=_EXTEND,
)(datasets)
app.command(epilog=_example("metarec info --json"), rich_help_panel=_EXTEND)(info)


def main() -> None:
    """The entry point ``metarec``; ends the process with one of the exit codes of `metarec_sdk.cli`."""
    try:
        app()
    except BrokenPipeError:
        broken_pipe()
        sys.exit(1)
