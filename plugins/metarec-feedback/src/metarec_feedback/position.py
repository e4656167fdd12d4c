"""Clicks weighed by how seldom their position is looked at.

Position-based model (Craswell et al., WSDM 2008): an item at position j is clicked where the position is
examined and the item attracts, ``P(click) = θ_j γ_i``. Both are found from clicks and views that weren't
clicked, without an experiment, by the EM algorithm of Wang et al., WSDM 2018, "Position Bias Estimation for
Unbiased Learning to Rank in Personal Search". A click then weighs ``θ_0 / θ_j``, clipped (Joachims et al.,
WSDM 2017): as often as it would have been made on the first position.

Only the products θ_j γ_i show in the data; θ is scaled to 1 at its largest. That θ and γ can be told apart
needs items that were shown on several positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metarec_feedback.columns_and_states import answer, fitted, mean_weight, numbers, restored
from metarec_sdk.errors import ArgumentError, ColumnError, DataError
from metarec_sdk.types import Float32, Float64, State

_NAMES = ("examination", "scale")


class PositionClicks:
    """Events of type ``click`` by the inverse of their position's examination; all others weigh 0.

    Target: 1 for a click, 0 else. Weights have the mean 1 over the log of `fit`. A click without a position
    weighs as one on the first.
    """

    def __init__(
        self, *, positions: int = 20, iterations: int = 200, smoothing: float = 5.0, clip: float = 20.0
    ) -> None:
        """positions: that have a θ of their own; later ones share the last. iterations: of EM. smoothing:
        views at the mean click rate that are added to each item and to each position. clip: the largest
        weight of a click against one on the first position.

        Raises `ArgumentError` for a number out of range.
        """
        if positions < 1 or iterations < 1 or not 0 <= smoothing < np.inf or not 1 <= clip < np.inf:
            raise ArgumentError(
                "positions and iterations must be ≥ 1, smoothing ≥ 0 and clip ≥ 1, got "
                f"{positions}, {iterations}, {smoothing} and {clip}"
            )
        self.positions = positions
        self.iterations = iterations
        self.smoothing = smoothing
        self.clip = clip
        self._state: State = {}

    def fit(self, events: pl.DataFrame) -> None:
        """Learn from ``click`` and ``view`` events with ``item_id`` and ``position`` (0 is the first).

        A view is an item that was shown; where the log has both a view and a click of one ``request_id`` and
        item, they count once, as a click. Raises `ColumnError` for a missing column, `DataError` for an
        impossible position and where clicks or views that weren't clicked are missing.
        """
        for name in ("event_type", "item_id", "position"):
            if name not in events.columns:
                raise ColumnError.missing(name, "event", events.columns)
        places = self._places(events)
        frame = events.select("item_id", kind=pl.col("event_type").cast(pl.String)).with_columns(
            place=pl.Series(places),
            request=events["request_id"]
            if "request_id" in events.columns
            else pl.Series([None] * len(events)),
            row=pl.int_range(len(events)),
        )
        shown = frame.filter(pl.col("kind").is_in(["click", "view"]) & (pl.col("place") >= 0))
        alone = pl.lit("row ") + pl.col("row").cast(pl.String)
        asked = pl.lit("request ") + pl.col("request").cast(pl.String)
        once = shown.group_by(pl.coalesce(asked, alone), "item_id", "place", maintain_order=True).agg(
            clicked=(pl.col("kind") == "click").any()
        )
        clicked = once["clicked"].to_numpy()
        if not clicked.any() or clicked.all():
            raise DataError(
                f"{int(clicked.sum())} clicks among {len(clicked)} shown items with a position; the model "
                "needs clicks and views that weren't clicked (event_type 'view')"
            )
        item = once["item_id"].rank("dense").to_numpy() - 1
        examination = self._estimate(once["place"].to_numpy(), item, clicked)
        self._state = {"examination": examination, "scale": np.ones(1)}
        self._state["scale"] = np.array([mean_weight(self._weigh(events)[1])])

    def weigh(self, events: pl.DataFrame) -> tuple[Float32, Float32]:
        """(target f32[e], weight f32[e] ≥ 0); raises `ColumnError` and `DataError` as `fit` does."""
        clicks, weights = self._weigh(events)
        return answer(clicks, weights, float(self._state["scale"][0]))

    def examination(self) -> Float64:
        """θ f64[positions], 1 at its largest."""
        return fitted(self._state, "feedback/position-clicks")["examination"]

    def state(self) -> State:
        """``examination`` f64[positions], ``scale`` f64[1]."""
        return dict(fitted(self._state, "feedback/position-clicks"))

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `state` gave; raises `ArtefactError` where an array is missing."""
        self._state = restored("feedback/position-clicks", state, _NAMES)

    def _weigh(self, events: pl.DataFrame) -> tuple[Float64, Float64]:
        examination = self.examination()
        if "event_type" not in events.columns:
            raise ColumnError.missing("event_type", "event", events.columns)
        clicks = (events["event_type"].cast(pl.String) == "click").fill_null(False).to_numpy()
        places = np.maximum(self._places(events), 0)
        inverse = np.minimum(examination[0] / examination[places], self.clip)
        return clicks.astype(np.float64), np.where(clicks, inverse, 0.0)

    def _places(self, events: pl.DataFrame) -> NDArray[np.int64]:
        """i64[e], positions up to the last that has a θ; -1 where there is none."""
        if "position" not in events.columns:
            return np.full(len(events), -1)
        given = numbers(events, "position", "place")
        wrong = ~np.isnan(given) & ((given < 0) | np.isinf(given) | (given != np.floor(given)))
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise DataError(f"row {row}: position is {given[row]}, wanted 0, 1, 2, … or null")
        return np.where(np.isnan(given), -1, np.minimum(np.nan_to_num(given), self.positions - 1)).astype(
            np.int64
        )

    def _estimate(self, place: NDArray[np.int64], item: NDArray[Any], clicked: NDArray[np.bool_]) -> Float64:
        """θ f64[positions] by EM; a position without a view takes that of the one before it."""
        item = item.astype(np.int64)
        shown_at = np.bincount(place, minlength=self.positions).astype(np.float64)
        shown_of = np.bincount(item).astype(np.float64)
        rate = clicked.mean()
        theta, gamma = np.full(self.positions, np.sqrt(rate)), np.full(len(shown_of), np.sqrt(rate))
        for _ in range(self.iterations):
            both = theta[place] * gamma[item]
            unseen = 1 - both
            # Not clicked: examined without attracting, or attracting without being examined.
            examined = np.where(clicked, 1.0, theta[place] * (1 - gamma[item]) / unseen)
            attracts = np.where(clicked, 1.0, gamma[item] * (1 - theta[place]) / unseen)
            level_theta, level_gamma = examined.mean(), attracts.mean()
            theta = (
                np.bincount(place, examined, minlength=self.positions) + self.smoothing * level_theta
            ) / np.maximum(shown_at + self.smoothing, 1e-12)
            gamma = (np.bincount(item, attracts) + self.smoothing * level_gamma) / (shown_of + self.smoothing)
            theta, gamma = np.clip(theta, 1e-6, 1 - 1e-9), np.clip(gamma, 1e-6, 1 - 1e-9)
        last = 0
        for j in range(self.positions):
            if shown_at[j]:
                last = j
            else:
                theta[j] = theta[last]
        return theta / theta.max()
