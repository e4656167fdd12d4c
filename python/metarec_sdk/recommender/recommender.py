"""The facade: fit, recommend, observe, update, save."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import polars as pl
from pydantic import ValidationError

from metarec_sdk.data import Interactions
from metarec_sdk.errors import ArgumentError, ArtefactError, DataError
from metarec_sdk.feedback import Event, events_from_frame
from metarec_sdk.plugins import PluginManager
from metarec_sdk.ranking import MAX_K
from metarec_sdk.recommender.clocks import full_log
from metarec_sdk.recommender.engine import Engine
from metarec_sdk.recommender.episode_scores import MEMBERS
from metarec_sdk.recommender.home import Home
from metarec_sdk.recommender.recipe import Recipe
from metarec_sdk.recommender.reports import FitReport, UpdateReport
from metarec_sdk.recommender.serving import Unknown
from metarec_sdk.recommender.stack import Remaining, joined, members
from metarec_sdk.types import Histories, Memberships, TaskRanker, TopK
from metarec_sdk.updating import Generation
from metarec_sdk.updating.store_folder import ALIAS


class Recommender(Engine):
    """Recommendations for every known user and for anybody with a handful of events.

    A user is a query vector, put together from a backbone, a closed-form head, popularity and item-item
    neighbours by gates that are fitted on held-out people; ranking is one exact top-k.
    ``Stability: provisional``.
    """

    def __init__(
        self,
        *,
        backbone: str = "sasrec",
        clusterer: str = "kmeans",
        meta_learner: str = "closed-form",
        head: str = "natpar",
        item_item: str = "item-knn",
        feedback: str = "linear",
        behaviour: str = "counts",
        content: str = "table",
        reranker: str | None = None,
        rule: str | None = None,
        params: Mapping[str, Mapping[str, Any]] | None = None,
        seed: int = 0,
        order: Literal["auto", "time", "none"] = "auto",
        history_limit: int = 200,
        max_tasks: int = 4,
        min_tasks: int = 1,
        min_task_size: int = 50,
        home: str | Path | None = None,
        plugins: Iterable[Any] | Mapping[str, Any] = (),
        progress: bool | None = None,
    ) -> None:
        """Choose the components by name; nothing is trained yet.

        Args:
            backbone: ``sasrec`` or ``factors``, or ``plugin/name``.
            clusterer: ``kmeans``, ``column`` or ``none``.
            meta_learner: ``closed-form``, ``reptile``, ``maml``, ``fomaml``, ``anil`` or ``none``.
            head: ``natpar`` or ``ridge``.
            item_item: ``item-knn``.
            feedback: ``linear``.
            behaviour: ``counts``; describes people to the clusterer.
            content: ``table``; places items that join later by the items' table.
            reranker: None, or ``mmr`` for diverse lists.
            rule: None, or ``quota``: what a rule forbids is never shown.
            params: keyword arguments by kind, for example ``{"backbone": {"width": 128}}``.
            seed: the same seed gives the same bytes.
            order: ``"time"`` where what people take next depends on what they took last; ``"none"`` where a
                history is a set, and the members learn from it in random order; ``"auto"`` finds out.
            history_limit: latest events of a history that personalise.
            max_tasks: the largest number of found tasks that is tried.
            min_tasks: the smallest that is served; above 1 tasks are taken though one may do as well.
            min_task_size: users below which a task is served by its parent.
            home: folder of generations and the event log; without it both live in a temporary folder
                until `save`.
            plugins: modules, objects or paths of ``.py`` files with plugins, beside the installed ones.
            progress: show progress bars; by default where standard error is a terminal.

        Raises:
            ArgumentError: an argument is out of its range.
            UnknownIdError: no component has that name.
            PluginError: the plugin of a component isn't installed or is broken.
            MissingDependencyError: a component needs an extra, for example torch.
        """
        try:
            recipe = Recipe(
                backbone=backbone,
                clusterer=clusterer,
                meta_learner=meta_learner,
                head=head,
                item_item=item_item,
                feedback=feedback,
                behaviour=behaviour,
                content=content,
                reranker=reranker,
                rule=rule,
                params={kind: dict(values) for kind, values in (params or {}).items()},
                seed=seed,
                order=order,
                history_limit=history_limit,
                max_tasks=max_tasks,
                min_tasks=min_tasks,
                min_task_size=min_task_size,
            )
        except ValidationError as error:
            first = error.errors()[0]
            raise ArgumentError(
                f"{'.'.join(map(str, first['loc']))}: {first['msg']}, got {first['input']!r}"
            ) from None
        super().__init__(recipe, PluginManager(plugins), home, progress)
        self._components.check()

    # Training ------------------------------------------------------------------------------------------

    def fit(
        self, log: Interactions, *, items: pl.DataFrame | None = None, users: pl.DataFrame | None = None
    ) -> FitReport:
        """Train everything on a log and publish the first generation.

        Args:
            log: the interactions, see `metarec_sdk.read_interactions`.
            items: table with ``item_id`` and content (genres, numbers), for items that join later and for
                neighbours of items that few have taken.
            users: table with ``user_id`` and known attributes; a ``column`` clusterer looks here first, and
                what it finds counts from the first list on, whether or not tasks are served.

        Raises:
            DataError: the log has fewer than two items, so that nothing can be ranked.
            StorageError: the generation can't be written; what was published before goes on serving.
        """
        if not isinstance(log, Interactions):
            raise ArgumentError(
                f"log is a {type(log).__name__}; read it with metarec_sdk.read_interactions(...) first"
            )
        if log.n_items < 2:
            raise DataError(f"the log has {log.n_items} item; ranking needs at least 2")
        return self._fit(log, items, users, self._folder.last_seq)

    def update(self) -> UpdateReport:
        """The hourly clock: adapters and priors learn from the events logged since the last generation,
        new users and items join, and a generation is published.

        Raises:
            NotFittedError: before `fit`.
            DataError: nothing was observed since the last generation.
            ConflictError: somebody else published meanwhile; nothing was changed.
        """
        return self._update()

    def refit(self) -> FitReport:
        """The nightly clock: train everything again on the training log and all events observed since.

        Raises `NotFittedError` before `fit`.
        """
        current = self._folder.store.load(self._now.generation)
        through = self._folder.last_seq
        log = full_log(self._folder, current, through)
        return self._fit(log, current.frames.get("item_table"), current.frames.get("user_table"), through)

    # Serving -------------------------------------------------------------------------------------------

    def recommend(
        self,
        users: Sequence[Any] | Any | None = None,
        *,
        history: Sequence[Sequence[Any]] | None = None,
        k: int = 10,
        exclude_seen: bool = True,
        allow: Iterable[Any] | None = None,
        deny: Iterable[Any] | None = None,
        boosts: Mapping[Any, float] | None = None,
        task: str | Sequence[str] | None = None,
        unknown: Unknown = "raise",
    ) -> pl.DataFrame:
        """The k best items for each user, exactly.

        Args:
            users: ids of known users, or one id.
            history: instead of users, histories of people who aren't known: lists of item ids, oldest first;
                ``user_id`` in the result is then the place in this list. An empty history is allowed.
            k: length of the lists, at most `metarec_sdk.ranking.MAX_K`.
            exclude_seen: leave out every item of the history. What is left out never comes back.
            allow: only these items.
            deny: none of these items.
            boosts: item id -> score that is added for everybody, of any sign.
            task: known task of the people behind ``history``: one for all or one each.
            unknown: ``"ignore"`` leaves out item ids that aren't in the catalogue instead of raising.

        Returns:
            Columns user_id, rank (from 1), item_id, score; ties by the order of the catalogue. A list that
            can't be filled is short.

        Raises:
            NotFittedError: before `fit`.
            ArgumentError: k is out of range, a history is too long, or both users and history are given.
            UnknownIdError: a user or an item isn't known.
        """
        served = self._now
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k <= MAX_K:
            raise ArgumentError(f"k must be a whole number from 1 to {MAX_K:,}, got {k!r}")
        if (users is None) == (history is None):
            raise ArgumentError(
                "pass either users (known ids) or history (lists of item ids), not both or none"
            )
        allowed = served.item_mask(allow, "allow", unknown)
        denied = served.item_mask(deny, "deny", unknown)
        extra = served.extra_boosts(boosts, unknown)
        if history is not None:
            ids = pl.Series(np.arange(len(history), dtype=np.int64))
            batches = served.given_histories(history, task, unknown)
        else:
            listed = [users] if isinstance(users, str | int) else list(users)  # type: ignore[arg-type]
            ids = served.items.ids.head(0) if not listed else pl.Series(listed)
            batches = served.known_users(listed)
        parts = [
            self._ranked(
                served,
                histories,
                k,
                memberships,
                seen=seen if exclude_seen else seen.first(0),
                allow=allowed,
                deny=denied,
                extra=extra,
            )
            for histories, seen, memberships in batches
        ]
        return served.frame(ids, joined(parts))

    def similar_items(self, items: Sequence[Any] | Any, k: int = 10) -> pl.DataFrame:
        """The k items most like each given one, by the cosine of backbone and head vectors.

        Returns columns item_id, rank, similar_item_id, score. Raises `UnknownIdError` for an unknown item.
        """
        served = self._now
        if not 1 <= k <= MAX_K:
            raise ArgumentError(f"k must be from 1 to {MAX_K:,}, got {k}")
        listed = [items] if isinstance(items, str | int) else list(items)
        indices = served.item_indices(listed, "items", "raise")
        found = served.frame(pl.Series(listed), served.similar(indices, k))
        return found.select(
            pl.col("user_id").alias("item_id"), "rank", pl.col("item_id").alias("similar_item_id"), "score"
        )

    def rank(self, histories: Histories, k: int, memberships: Memberships | None = None) -> TopK:
        """The array interface under `recommend`: item indices of `items` in and out."""
        return self._ranked(self._now, histories, k, memberships)

    def members(self) -> dict[str, TaskRanker]:
        """Every member of the stack as a ranker of its own, for comparison."""
        return dict(members(self._now.stack, MEMBERS))

    def without_members(self) -> dict[str, TaskRanker]:
        """By member, the stack without it, the others at the gates that they have; for comparison."""
        return {name: Remaining(self._now.stack, place) for place, name in enumerate(MEMBERS)}

    # Feedback ------------------------------------------------------------------------------------------

    def observe(
        self,
        user: Any,
        item: Any,
        event: str = "click",
        *,
        value: float | None = None,
        timestamp: int | None = None,
        event_id: str | None = None,
        **context: Any,
    ) -> int:
        """Log one event durably; the user's next recommendations know of it.

        Args:
            user: id, known or new.
            item: id; an item that isn't in the catalogue joins it at the next `update`.
            event: its type.
            value: rating or dwell in seconds, where the type has one.
            timestamp: microseconds since 1970 UTC; now by default.
            event_id: makes a redelivery harmless: the same id is stored once.
            context: ``request_id``, ``position``, ``propensity`` and ``shown``, see
                `metarec_sdk.feedback.Event`.

        Returns the event's sequence number.

        Raises:
            DataError: the event is invalid; nothing was stored.
            UnknownIdError: the event type was never seen and isn't a standard one.
            StorageError: the log can't be written; nothing was acknowledged.
        """
        context = {"generation": self._now.generation, **context}
        if event_id is not None:
            context["event_id"] = event_id
        try:
            made = Event(user, item, event, value, timestamp, **context)
        except TypeError as error:
            raise ArgumentError(f"observe: {error}") from None
        return self._observe([made])[0]

    def observe_many(self, events: Interactions | pl.DataFrame) -> list[int]:
        """Log a batch of events, all or none; columns as `read_interactions` gives them.

        Returns their sequence numbers. Raises what `observe` raises.
        """
        frame = events.frame if isinstance(events, Interactions) else events
        return self._observe(events_from_frame(frame))

    # Generations ---------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write the model folder: generations, event log, training log; load it with `metarec_sdk.load`.

        A recommender without a home lives in that folder from then on.

        Raises `StorageError` where the folder isn't empty or can't be written.
        """
        self._now  # noqa: B018 - refuses to save what was never fitted
        target = Path(path)
        if target.resolve() == self._folder.root.resolve():
            return target
        copy = self._folder.copy_to(target)
        if self._folder.temporary:
            self._folder.close()
            self._home, self._home_path = copy, target
            self._serving.move(copy)
        else:
            copy.close()
        return target

    def generations(self) -> list[Generation]:
        """All generations that are kept, oldest first."""
        return self._folder.store.list()

    def rollback(self, to: str | None = None) -> str:
        """Serve an earlier generation again (default: the parent); events observed since are kept.

        Returns its id. Raises `UnknownIdError` or `ArtefactError` where it can't be served, and
        `ConflictError` where somebody else published meanwhile; nothing is changed then.
        """
        generation = self._folder.store.rollback(to)
        self._load(generation)
        return generation

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        plugins: Iterable[Any] | Mapping[str, Any] = (),
        progress: bool | None = None,
    ) -> Recommender:
        """A recommender from a model folder, serving its current generation and all events logged since.

        Raises:
            ArtefactError: the folder isn't a model, is truncated, altered or from a newer version.
            PluginError: a component's plugin isn't installed; the message names the distribution.
        """
        root = Path(path)
        if not (root / ALIAS).is_file():
            raise ArtefactError(f"{root} isn't a model folder; save one with Recommender.save(path)")
        home = Home(root)
        loaded = home.store.load()
        recipe = Recipe.model_validate(loaded.documents["recipe"])
        origins = {kind: found.plugin for kind, found in loaded.manifest.components.items()}
        recommender = cls.__new__(cls)
        Engine.__init__(recommender, recipe, PluginManager(plugins), root, progress, origins)
        recommender._home = home
        recommender._load(None)
        return recommender

    def clone(self, *, seed: int | None = None) -> Self:
        """An unfitted recommender with the same recipe and plugins, in a temporary home."""
        recipe = self.recipe if seed is None else self.recipe.model_copy(update={"seed": seed})
        other = type(self).__new__(type(self))
        Engine.__init__(other, recipe, self._components.plugins, None, self._progress)
        return other
