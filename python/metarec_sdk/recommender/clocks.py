"""The hourly and the nightly clock: each ends in a published generation, or changes nothing."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import polars as pl

from metarec_sdk.data import Interactions, Vocabulary, encode
from metarec_sdk.errors import DataError
from metarec_sdk.recommender.components import Components
from metarec_sdk.recommender.fitting import Fitter
from metarec_sdk.recommender.home import Home
from metarec_sdk.recommender.learning import learn_from_new
from metarec_sdk.recommender.new_items import catalogue, new_item_vectors
from metarec_sdk.recommender.popularity import PopularityForms
from metarec_sdk.recommender.progress import Step
from metarec_sdk.recommender.reports import FitReport, UpdateReport
from metarec_sdk.recommender.serving import Served
from metarec_sdk.recommender.snapshot import arrays_of, document_of, served_from, shaping_of
from metarec_sdk.recommender.stack import Stack
from metarec_sdk.recommender.users import Users
from metarec_sdk.types import FeedbackModel, Histories
from metarec_sdk.updating import LoadedGeneration

Published = tuple[Served, FeedbackModel]


def load_generation(components: Components, home: Home, generation: str | None) -> Published:
    """The given generation, or the current one."""
    return served_from(home.store.load(generation), components)


def fit_generation(
    components: Components,
    home: Home,
    log: Interactions,
    item_table: pl.DataFrame | None,
    user_table: pl.DataFrame | None,
    through: int,
    step: Step,
) -> tuple[Served, FeedbackModel, FitReport]:
    """Train everything on the log, which holds the logged events up to number ``through``, and publish it."""
    home.check_writable()
    report = FitReport(log.n_events, log.n_users, log.n_items)
    feedback = components.feedback()
    feedback.fit(log.frame)
    items = Vocabulary.from_ids(log.frame["item_id"])
    content = None
    if item_table is not None and components.reads_content(len(items)):
        content = components.content().encode(catalogue(items, item_table))
        content = content if content.any() else None
    stack, prepared = Fitter(components, log, items, user_table, content, feedback, step, report).run()
    features = prepared.log.user_features
    users = Users(
        prepared.users,
        prepared.in_time,
        features if features is not None else np.zeros((len(prepared.users), 0), np.float32),
        prepared.codes,
    )
    tables = {"item_table": item_table, "user_table": user_table}
    training = {
        "file": home.store_training(log),
        "has_time": log.has_time,
        "through_seq": through,
        "events": log.n_events,
        "first_timestamp": int(log.frame["timestamp"].min()),  # type: ignore[arg-type]
        "last_timestamp": int(log.frame["timestamp"].max()),  # type: ignore[arg-type]
        "event_types": sorted(log.frame["event_type"].unique()),
    }
    served = _publish(
        components,
        home,
        stack,
        items,
        users,
        prepared.categories,
        feedback,
        through,
        training,
        tables,
        report,
        home.store.current,
    )
    report.generation = served.generation
    return served, feedback, report


def full_log(home: Home, loaded: LoadedGeneration, through: int) -> Interactions:
    """Everything that is known: the training log and the events logged since, up to number ``through``.

    Raises `ArtefactError` where the training log is missing.
    """
    training = loaded.manifest.training
    log = Interactions(home.training(training["file"]), training["has_time"])
    if through <= training["through_seq"]:
        return log
    since = home.events.read(after_seq=training["through_seq"], upto=through)
    return Interactions.concat([log, Interactions(since.drop("seq"), log.has_time)]) if len(since) else log


def update_generation(
    components: Components, home: Home, now: Served, feedback: FeedbackModel, step: Step
) -> tuple[Served, FeedbackModel, UpdateReport]:
    """Learn from what was logged since the generation that serves, and publish the result."""
    started = time.perf_counter()
    events = home.events.read(after_seq=now.trained_through) if home.last_seq else pl.DataFrame()
    if events.is_empty():
        raise DataError("nothing was observed since the last generation; there is nothing to update from")
    parent = home.store.load(now.generation)
    items = now.items.extend(events["item_id"].unique().sort())
    names = now.users.vocabulary.extend(events["user_id"].unique().sort())
    _, weights = feedback.weigh(events)
    logged = Interactions(events.drop("seq"))
    later = encode(logged, users=names, items=items, weights=weights)[0].histories
    before = _extended(now.users.base, len(names))
    histories = before.join(later)
    features = _padded(now.users.features, len(names), 0)
    codes = None if now.users.codes is None else _padded(now.users.codes, len(names), -1)
    users = Users(names, histories, features, codes)
    stack, changed, structure = learn_from_new(components, now.stack, before, later, codes, step)
    vectors = stack.trained_vectors()
    popularity = PopularityForms.fit(histories, len(items))
    stack = stack.replaced(
        popularity=popularity,
        new_items=new_item_vectors(
            vectors, histories, items, parent.frames.get("item_table"), components.content()
        ),
        cold=stack.cold.extended(popularity),
    )
    tables = {name: parent.frames.get(name) for name in ("item_table", "user_table")}
    served = _publish(
        components,
        home,
        stack,
        items,
        users,
        now.categories,
        feedback,
        int(events["seq"].max()),  # type: ignore[arg-type]
        parent.manifest.training,
        tables,
        None,
        now.generation,
    )
    report = UpdateReport(
        served.generation,
        now.generation,
        len(events),
        names.ids[len(now.users.vocabulary) :].to_list(),
        items.ids[len(now.items) :].to_list(),
        changed,
        time.perf_counter() - started,
        structure,
    )
    return served, feedback, report


def _publish(
    components: Components,
    home: Home,
    stack: Stack,
    items: Vocabulary,
    users: Users,
    categories: list[str],
    feedback: FeedbackModel,
    through: int,
    training: dict[str, Any],
    tables: dict[str, pl.DataFrame | None],
    report: FitReport | None,
    parent: str | None,
) -> Served:
    documents: dict[str, Any] = {
        "recipe": components.recipe.model_dump(),
        "stack": document_of(stack, categories),
    }
    if report is not None:
        documents["report"] = report.to_dict()
    shaping = shaping_of(components, stack, items, tables["item_table"])
    generation = home.store.publish(
        arrays=arrays_of(stack, users.base, users.features, users.codes, feedback),
        frames={
            "items": items.to_frame(),
            "users": users.vocabulary.to_frame(),
            **{name: table for name, table in tables.items() if table is not None},
        },
        documents=documents,
        components=components.records(),
        seeds={"recommender": components.recipe.seed},
        trained_through_seq=through,
        training=training,
        metrics={},
        expected_parent=parent,
    )
    return Served(stack, shaping, items, users, categories, training["event_types"], generation.id, through)


def _extended(histories: Histories, b: int) -> Histories:
    offsets = np.concatenate([histories.offsets, np.full(b - len(histories), histories.offsets[-1])])
    return Histories(histories.items, offsets, histories.weights, histories.timestamps)


def _padded(rows: np.ndarray, b: int, value: float) -> Any:
    widths = [(0, b - len(rows)), *[(0, 0)] * (rows.ndim - 1)]
    return np.pad(rows, widths, constant_values=value)
