"""``metarec demo``: the whole pipeline on MovieLens-100k, told on the terminal and in one page."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import polars as pl

from metarec_sdk.data import clean, datasets
from metarec_sdk.data.datasets import Dataset
from metarec_sdk.errors import StorageError
from metarec_sdk.evaluation import ColdStart, Warm, evaluate
from metarec_sdk.evaluation.protocols import Protocol
from metarec_sdk.plugins import hookimpl
from metarec_sdk.recommender import FitReport, Recommender
from metarec_sdk.recommender.progress import steps
from metarec_sdk.report.charts import bars, k_curves, task_map
from metarec_sdk.report.figures import cold_section, curves_of, fit_section, machine, warm_section
from metarec_sdk.report.page import render
from metarec_sdk.report.projection import task_points

if TYPE_CHECKING:
    from rich.console import Console

FILMS = ("Star Wars", "Alien", "Blade Runner")
"""What the new person has seen."""
LATER = ("Fargo", "Pulp Fiction")
"""The two events that follow."""
K = 10


class KeepingRecommender(Recommender):
    """Keeps the clone that `evaluate` fits, so that one fit is judged and then serves."""

    fitted: Recommender | None = None

    def clone(self, *, seed: int | None = None) -> Self:
        """An unfitted clone."""
        clone = super().clone(seed=seed)
        self.fitted = clone
        return clone


class FitWatcher:
    """An observer, as a plugin could be: it hears of every fit."""

    report: FitReport | None = None

    @hookimpl
    def metarec_fit_finished(self, report: Any) -> None:
        """Keep the report of the fit."""
        if isinstance(report, FitReport):
            self.report = report


@dataclass
class Story:
    """What the demo says while it runs, and the time that each part took."""

    console: Console
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def part(self, title: str) -> Iterator[None]:
        """One part of the demo."""
        self.console.rule(f"[bold]{title}", align="left")
        started = time.perf_counter()
        yield
        self.seconds[title] = time.perf_counter() - started


def run_demo(output: Path, *, seed: int = 0, quick: bool = False, quiet: bool = False) -> dict[str, Any]:
    """Run everything, write ``report.html``, ``report.json`` and a model folder into ``output``.

    ``quick`` trains smaller models and skips the random order; ``quiet`` prints nothing. Returns the content
    of ``report.json``.

    Raises `StorageError` where ``output`` can't be written.
    """
    from rich.console import Console

    story = Story(Console(stderr=False, quiet=quiet))
    _prepare_folder(output)
    started = time.perf_counter()
    with story.part("Load MovieLens-100k"):
        data, events = _load(story)
    watcher = FitWatcher()
    recommender = KeepingRecommender(
        seed=seed,
        plugins={"demo": watcher},
        params={"backbone": {"epochs": 8, "width": 32}} if quick else None,
        progress=False if quiet else None,
    )
    with story.part("Fit, and compare with tuned baselines"), steps(False if quiet else None) as step:
        protocols: list[Protocol] = [ColdStart(orders=("time",) if quick else ("time", "random")), Warm()]
        with step("evaluation") as progress:
            report = evaluate(
                recommender, events, protocol=protocols, seeds=(seed,), items=data.items, progress=progress
            )
        fit_report = watcher.report
        assert fit_report is not None
        assert recommender.fitted is not None
    story.console.print(report.table())
    story.console.print(fit_report.table())
    rec = recommender.fitted
    with story.part("Recommend"):
        known, person = _recommend(story, rec, data)
    with story.part("Observe, update, roll back"):
        loop_steps = _feedback_loop(story, rec, data, output / "model", person)
    points, tasks = task_points(rec)
    total = time.perf_counter() - started
    result: dict[str, Any] = {
        "data": {
            "name": "MovieLens-100k",
            "events": f"{len(events):,}",
            "users": f"{events.n_users:,}",
            "items": f"{events.n_items:,}",
        },
        "seed": seed,
        "total_seconds": f"{total:.0f}",
        "machine": machine(),
        "cold": cold_section(report),
        "warm": warm_section(report),
        "fit": fit_section(fit_report),
        "known": known,
        "person": person,
        "loop_steps": loop_steps,
    }
    timings = {**story.seconds, **{f"fit: {part}": spent for part, spent in fit_report.seconds.items()}}
    charts = {
        "time": k_curves(curves_of(report, "time"), "Support in the order of time"),
        "random": "" if quick else k_curves(curves_of(report, "random"), "Support in random order"),
        "tasks": task_map(points, tasks, "People by what they watch (2 principal components)"),
        "seconds": bars(timings, "Where the time went", "seconds"),
    }
    content = {
        **result,
        "seconds": timings,
        "evaluation": report.to_dict(),
        "fit_report": fit_report.to_dict(),
    }
    (output / "report.html").write_text(render(result, charts), encoding="utf-8")
    (output / "report.json").write_text(json.dumps(content, indent=1, allow_nan=False), encoding="utf-8")
    story.console.print(
        f"\n{total:.0f} s. Open [bold]{output / 'report.html'}[/bold]; the same as report.json."
    )
    return content


def _prepare_folder(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
        if (output / "model").exists():
            shutil.rmtree(output / "model")
    except OSError as error:
        raise StorageError(
            f"{output} can't be written: {error}; choose another folder with --output"
        ) from error


def _load(story: Story) -> tuple[Dataset, Any]:
    data = datasets.load("movielens-100k")
    events, cleaning = clean(data.interactions, duplicates=True, value_range={"rating": (1, 5)})
    story.console.print(events)
    story.console.print(cleaning)
    return data, events


def _titles(data: Dataset) -> dict[Any, str]:
    assert data.items is not None
    return dict(data.items.select("item_id", "title").iter_rows())


def _recommend(story: Story, rec: Recommender, data: Dataset) -> tuple[dict[str, Any], dict[str, Any]]:
    titles = _titles(data)
    ids = {title: item for item, title in titles.items()}
    user = rec.users[0]
    listed = rec.recommend([user], k=K)
    story.console.print(f"Known user {user}:")
    story.console.print(_with_titles(listed, titles))
    history = data.interactions.frame.filter(pl.col("user_id") == user).sort("timestamp", "row")["item_id"]
    before = rec.recommend(history=[[ids[film] for film in FILMS]], k=K)
    story.console.print(f"Somebody new who knows {', '.join(FILMS)}:")
    story.console.print(_with_titles(before, titles))
    known = {
        "user": str(user),
        "history": [titles[item] for item in history.tail(5)],
        "list": [titles[item] for item in listed["item_id"]],
    }
    person = {
        "given": list(FILMS),
        "events": list(LATER),
        "before": [titles[item] for item in before["item_id"]],
    }
    return known, person


def _feedback_loop(
    story: Story, rec: Recommender, data: Dataset, folder: Path, person: dict[str, Any]
) -> list[dict[str, str]]:
    """The life of a model: durable events, an update, a rollback; fills in the person's second list."""
    titles = _titles(data)
    ids = {title: item for item, title in titles.items()}
    told: list[dict[str, str]] = []

    def tell(step: str, result: str) -> None:
        told.append({"step": step, "result": result})
        story.console.print(f"[bold]{step}[/bold]  {result}")

    rec.save(folder)
    first = rec.generation
    tell("save", f"generation {first} in {folder}")
    newcomer = max(rec.users) + 1
    for film in FILMS:
        rec.observe(newcomer, ids[film], "rating", value=5.0)
    started = time.perf_counter()
    for film in LATER:
        rec.observe(newcomer, ids[film], "rating", value=5.0)
    after = rec.recommend([newcomer], k=K)
    elapsed = 1000 * (time.perf_counter() - started)
    listed = [titles[item] for item in after["item_id"]]
    person["after"] = [{"title": title, "new": title not in person["before"]} for title in listed]
    story.console.print(f"The same person after {' and '.join(LATER)}:")
    story.console.print(_with_titles(after, titles))
    tell("observe", f"2 more events logged durably and a new list in {elapsed:.0f} ms")
    later = _later_events(rec, data)
    numbers = rec.observe_many(later)
    tell("observe_many", f"{len(numbers):,} later events of {later['user_id'].n_unique()} people")
    update = rec.update()
    tell("update", str(update) + (", adapters retrained" if update.adapters_changed else ", adapters kept"))
    back = rec.rollback()
    tell("rollback", f"serving {back} again; {len(rec.generations())} generations are kept")
    again = rec.rollback(update.generation)
    tell("roll forward", f"serving {again}")
    return told


def _later_events(rec: Recommender, data: Dataset) -> pl.DataFrame:
    """Real events that the model was not trained on: what comes after its log, oldest first."""
    trained = rec.training_range()[1]
    later = data.interactions.frame.filter(pl.col("timestamp") > trained).sort("timestamp", "row")
    return later.head(5_000).drop("row")


def _with_titles(frame: pl.DataFrame, titles: dict[Any, str]) -> Any:
    from rich.table import Table

    table = Table()
    for name in ("rank", "title", "score"):
        table.add_column(name, justify="left" if name == "title" else "right")
    for row in frame.iter_rows(named=True):
        table.add_row(str(row["rank"]), titles[row["item_id"]], f"{row['score']:.2f}")
    return table
