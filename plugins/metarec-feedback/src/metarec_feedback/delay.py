"""Clicks by the purchase that may still come.

A click of an hour ago without a purchase isn't a click without one. Chapelle, KDD 2014, "Modeling Delayed
Feedback in Display Advertising": a click converts in the end with probability ``p(x) = σ(w·x)``, and then
after a delay that is exponential with rate ``λ(x) = exp(v·x)``. With d the observed delay, or e the time
since the click where there was none (equations 5 and 6),

    log L = Σ_converted [log p + log λ − λ d] + Σ_others log(1 − p + p e^{−λ e}) − ½ ρ (|w|² + |v|²),

maximised by L-BFGS; the intercepts aren't penalised. Relevance of a click: 1 if its purchase has come, else
``p e^{−λ e} / (1 − p + p e^{−λ e})``, the probability that it still will.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metarec_feedback.columns_and_states import (
    answer,
    as_bytes,
    as_texts,
    fitted,
    mean_weight,
    microseconds,
    numbers,
    restored,
)
from metarec_sdk.errors import ArgumentError, ColumnError, DataError
from metarec_sdk.types import Float32, Float64, State

_NAMES = ("columns", "moments", "weights", "scale", "newest")
_DAY = 86_400_000_000  # microseconds


class DelayedConversion:
    """Relevance of events of type ``click``; the purchases themselves have relevance 1, other events 0.

    A purchase belongs to the last click of the user on the item before it. Target: the relevance. Weight: the
    same, with the mean 1 over the log of `fit`. The age of a click is counted to the newest event of that
    log, or of the frame where that has a newer one.
    """

    def __init__(
        self,
        *,
        columns: list[str] | None = None,
        window_days: float = 30.0,
        penalty: float = 1e-3,
        conversion: str = "purchase",
    ) -> None:
        """columns: numeric ones that p and λ may depend on (x, standardised), none by default. window_days:
        a purchase later than that after the click isn't its own. penalty: ρ / events. conversion: the event
        type that is waited for.

        Raises `ArgumentError` for a number out of range.
        """
        if not 0 < window_days < np.inf or not 0 <= penalty < np.inf:
            raise ArgumentError(
                f"window_days must be > 0 and penalty ≥ 0, both finite, got {window_days} and {penalty}"
            )
        self.columns = list(columns or [])
        self.window = window_days * _DAY
        self.penalty = penalty
        self.conversion = conversion
        self._state: State = {}

    def fit(self, events: pl.DataFrame) -> None:
        """Learn from events with ``user_id``, ``item_id``, ``event_type``, ``timestamp`` and ``columns``.

        Raises `ColumnError` for a missing column, `DataError` where a time is null, a number isn't finite, or
        no click or no conversion is there to learn from.
        """
        from scipy.optimize import minimize

        click, converted, days = self._matched(events)
        if not click.any() or not converted.any():
            raise DataError(
                f"{int(click.sum())} clicks, {int(converted.sum())} of them with a {self.conversion!r} after "
                "them; the delay model needs both"
            )
        columns = self._columns(events)[click]
        spread = columns.std(0)
        moments = np.stack([columns.mean(0), np.where(spread > 0, spread, 1.0)])  # [2, p]
        x = _design(columns, moments)
        done, time = converted[click], days[click]
        rate = done.sum() / max(time.sum(), 1e-12)  # a start of the right order of magnitude
        start = np.zeros((2, x.shape[1]))
        start[0, 0] = np.log((done.mean() + 1e-6) / (1 - done.mean() + 1e-6))
        start[1, 0] = np.log(rate)

        def loss(flat: Float64) -> tuple[float, Float64]:
            return _loss(flat.reshape(2, -1), x, done, time, self.penalty)

        found = minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 500})
        self._state = {
            "columns": as_bytes(self.columns),
            "moments": moments,
            "weights": found.x.reshape(2, -1),
            "scale": np.ones(1),
            "newest": microseconds(events).max(keepdims=True),
        }
        self._state["scale"] = np.array([mean_weight(self._relevance(events))])

    def weigh(self, events: pl.DataFrame) -> tuple[Float32, Float32]:
        """(target f32[e], weight f32[e] ≥ 0); raises as `fit` does, but for frames without conversions."""
        relevance = self._relevance(events)
        return answer(relevance, relevance, float(self._state["scale"][0]))

    def rates(self, events: pl.DataFrame) -> tuple[Float64, Float64]:
        """(p f64[e], λ f64[e] a day) of each event, whatever its type."""
        state = fitted(self._state, "feedback/delayed-conversion")
        w, v = state["weights"]
        x = _design(self._columns(events), state["moments"])
        return _sigmoid(x @ w), np.exp(np.clip(x @ v, -50, 50))

    def state(self) -> State:
        """``columns`` u8, names; ``moments`` f64[2, p], mean and spread; ``weights`` f64[2, 1 + p], w and v;
        ``scale`` f64[1]; ``newest`` i64[1], µs since 1970."""
        return dict(fitted(self._state, "feedback/delayed-conversion"))

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `state` gave; raises `ArtefactError` where an array is missing."""
        self._state = restored("feedback/delayed-conversion", state, _NAMES)
        self.columns = as_texts(self._state["columns"])

    def _relevance(self, events: pl.DataFrame) -> Float64:
        newest = fitted(self._state, "feedback/delayed-conversion")["newest"]
        click, converted, days = self._matched(events, int(newest[0]))
        p, rate = self.rates(events)
        waiting = p * np.exp(-rate * days)
        still = waiting / (1 - p + waiting)
        bought = (events["event_type"].cast(pl.String) == self.conversion).fill_null(False).to_numpy()
        return np.where(click, np.where(converted, 1.0, still), bought.astype(np.float64))

    def _matched(
        self, events: pl.DataFrame, newest: int = 0
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_], Float64]:
        """(click bool[e], converted bool[e], delay or age in days f64[e]); newest: µs, the earliest now."""
        for name in ("user_id", "item_id", "event_type"):
            if name not in events.columns:
                raise ColumnError.missing(name, "event", events.columns)
        times = microseconds(events)
        frame = events.select("user_id", "item_id", kind=pl.col("event_type").cast(pl.String)).with_columns(
            time=pl.Series(times), row=pl.int_range(len(events))
        )
        click = (frame["kind"] == "click").fill_null(False).to_numpy()
        converted, days = np.zeros(len(events), bool), np.zeros(len(events))
        if not len(events):
            return click, converted, days
        days[:] = (max(times.max(), newest) - times) / _DAY
        clicks = frame.filter(pl.col("kind") == "click").sort("time", "row")
        bought = frame.filter(pl.col("kind") == self.conversion).sort("time", "row")
        pairs = bought.join_asof(
            clicks.rename({"row": "click"}).with_columns(clicked=pl.col("time")),
            on="time",
            by=["user_id", "item_id"],
            strategy="backward",
            check_sortedness=False,
        ).filter(pl.col("click").is_not_null() & (pl.col("time") - pl.col("clicked") <= self.window))
        first = pairs.group_by("click").agg(delay=(pl.col("time") - pl.col("clicked")).min())
        rows = first["click"].to_numpy()
        converted[rows] = True
        days[rows] = first["delay"].to_numpy() / _DAY
        return click, converted, days

    def _columns(self, events: pl.DataFrame) -> Float64:
        """f64[e, p]."""
        found = np.column_stack(
            [np.zeros((len(events), 0)), *(numbers(events, name, "feature") for name in self.columns)]
        )
        if not np.isfinite(found).all():
            row, column = np.argwhere(~np.isfinite(found))[0]
            raise DataError(
                f"row {row}: {self.columns[column]} is {found[row, column]}, wanted a finite number"
            )
        return found


def _design(columns: Float64, moments: Float64) -> Float64:
    """f64[e, 1 + p], an intercept and the standardised columns."""
    mean, spread = moments
    return np.column_stack([np.ones(len(columns)), (columns - mean) / spread])


def _sigmoid(z: Float64) -> Float64:
    return 1 / (1 + np.exp(-np.clip(z, -50, 50)))


def _loss(
    parameters: Float64, x: Float64, done: NDArray[np.bool_], time: Float64, penalty: float
) -> tuple[float, Float64]:
    """Minus the mean log-likelihood and its gradient f64[2 (1 + p)] (Chapelle 2014, section 3.2)."""
    w, v = parameters
    p, rate = _sigmoid(x @ w), np.exp(np.clip(x @ v, -50, 50))
    waiting = np.exp(-rate * time)
    rest = np.maximum(1 - p + p * waiting, 1e-300)
    value = np.where(done, np.log(np.maximum(p, 1e-300)) + np.log(rate) - rate * time, np.log(rest))
    by_p = np.where(done, 1 - p, -p * (1 - p) * (1 - waiting) / rest)  # by x·w
    by_rate = np.where(done, 1 - rate * time, -p * waiting * rate * time / rest)  # by x·v
    free = np.ones(x.shape[1])
    free[0] = 0.0
    gradient = np.stack([x.T @ by_p, x.T @ by_rate]) / len(x) - penalty * parameters * free
    penalised = float(value.mean() - 0.5 * penalty * np.square(parameters * free).sum())
    return -penalised, -gradient.ravel()
