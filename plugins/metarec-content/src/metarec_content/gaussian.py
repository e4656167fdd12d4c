"""``content/gaussian``: to which class the numbers of an item belong, under a Gaussian for each class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import polars as pl
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.naive_bayes import GaussianNB

from metarec_content.columns import nothing_but_ids
from metarec_sdk.errors import ArgumentError, ColumnError, DataError
from metarec_sdk.types import Float32, Float64

FLOOR = -20.0
"""Nats; a log ratio isn't lower, so that one outlier doesn't rule a regression."""
_TOLERANCE = 1e-12


class Gaussian:
    """Class posteriors p(c | x) ∝ π_c N(x; μ_c, Σ_c) of standardised numbers x; π_c are the classes' shares.

    Items whose class is known teach the Gaussians; every item with a number gets features from its numbers
    alone, so an item of unknown class gets them too. scikit-learn fits: linear discriminant analysis for a
    shared covariance, quadratic for one a class, naive Bayes for a diagonal (Hastie et al., *The Elements of
    Statistical Learning*, 4.3). Covariances are shrunk to a multiple of the unit matrix (Ledoit & Wolf 2004).
    """

    def __init__(
        self,
        *,
        label: str = "category",
        columns: Sequence[str] | None = None,
        covariance: Literal["shared", "own", "diagonal"] = "shared",
        shrinkage: float | Literal["auto"] = "auto",
        feature: Literal["posterior", "log-ratio"] = "posterior",
        min_items: int = 5,
    ) -> None:
        """Choose the classes and the form of the Gaussians.

        Args:
            label: column of the classes, texts, integers or booleans.
            columns: columns of numbers; by default all but the label. A null is taken for the column's mean.
            covariance: one for all classes, one for each, or a diagonal for each.
            shrinkage: 0 … 1, or ``auto`` for that of Ledoit and Wolf. For a diagonal: the share of the
                largest variance that is added to each, ``auto`` for 1e-9.
            feature: p(c | x), or log p(c | x) - log π_c = log p(x | c) - log p(x) in nats, at least -20.
            min_items: ≥ 2; a class with fewer items of known numbers gets no Gaussian.
        """
        if covariance not in ("shared", "own", "diagonal"):
            raise ArgumentError(f"covariance must be shared, own or diagonal, got {covariance!r}")
        if feature not in ("posterior", "log-ratio"):
            raise ArgumentError(f"feature must be posterior or log-ratio, got {feature!r}")
        if shrinkage != "auto" and not 0 <= shrinkage <= 1:
            raise ArgumentError(f"shrinkage must be auto or 0 … 1, got {shrinkage!r}")
        if min_items < 2:
            raise ArgumentError(f"min_items must be ≥ 2, got {min_items}")
        self.label = label
        self.columns = columns
        self.covariance = covariance
        self.shrinkage = shrinkage
        self.feature = feature
        self.min_items = min_items

    def encode(self, items: pl.DataFrame) -> Float32:
        """f32[n, c], a column a class in sorted order; 0 for an item without numbers.

        c = 1 and all 0 where fewer than two classes have enough items. Raises `ColumnError` for a column that
        is missing or of another dtype, `DataError` for a class whose numbers have no covariance of their own.
        """
        nothing = np.zeros((items.height, 1), np.float32)
        if nothing_but_ids(items):
            return nothing
        labels = self._labels(items)
        numbers, known = self._numbers(items)
        frame = pl.DataFrame({"label": labels, "known": known})
        counts = (
            frame.filter("known")
            .drop_nulls()["label"]
            .value_counts()
            .filter(pl.col("count") >= self.min_items)
        )
        if len(counts) < 2:
            return nothing
        classes = counts["label"].sort()
        taught = frame.select(pl.col("known") & pl.col("label").is_in(classes.implode()).fill_null(False))
        rows = np.flatnonzero(taught.to_series().to_numpy())
        varying = np.ptp(numbers[rows], axis=0) > 0
        if not varying.any():
            return nothing
        numbers = numbers[:, varying]
        codes = classes.search_sorted(labels.gather(rows)).to_numpy()
        try:
            model = self._model().fit(numbers[rows], codes)
        except np.linalg.LinAlgError as error:
            raise DataError(
                f"the numbers of a class of {self.label!r} don't vary enough for a covariance of its own "
                f"({error}); use covariance='shared', a larger shrinkage=, or a larger min_items="
            ) from None
        log_posterior = model.predict_log_proba(numbers[known])  # [k, c]
        features = np.zeros((items.height, len(classes)), np.float32)
        if self.feature == "posterior":
            features[known] = np.exp(log_posterior)
        else:
            shares = np.bincount(codes) / len(codes)
            features[known] = np.maximum(log_posterior - np.log(shares), FLOOR)
        return features

    def _model(self) -> Any:
        if self.covariance == "shared":
            return LinearDiscriminantAnalysis(solver="lsqr", shrinkage=self.shrinkage)
        if self.covariance == "own":
            return QuadraticDiscriminantAnalysis(solver="eigen", shrinkage=self.shrinkage, tol=_TOLERANCE)
        return GaussianNB(var_smoothing=1e-9 if self.shrinkage == "auto" else self.shrinkage)

    def _labels(self, items: pl.DataFrame) -> pl.Series:
        if self.label not in items.columns:
            raise ColumnError.missing(self.label, "label", items.columns)
        labels = items[self.label]
        if not (labels.dtype in (pl.String, pl.Boolean, pl.Null) or labels.dtype.is_integer()):
            raise ColumnError(f"label {self.label!r} is {labels.dtype}, wanted texts, integers or booleans")
        return labels.cast(pl.Int8) if labels.dtype == pl.Boolean else labels

    def _numbers(self, items: pl.DataFrame) -> tuple[Float64, np.ndarray]:
        """(f64[n, p] standardised, 0 where unknown; bool[n], whether any is known)."""
        chosen = self.columns
        if chosen is None:
            others = [name for name in items.columns if name not in ("item_id", self.label)]
            chosen = [name for name in others if items.schema[name].is_numeric()]
        for name in chosen:
            if name not in items.columns:
                raise ColumnError.missing(name, "columns", items.columns)
            if not (items.schema[name].is_numeric() or items.schema[name] == pl.Null):
                raise ColumnError(f"column {name!r} is {items.schema[name]}, wanted numbers")
        if not chosen:
            return np.zeros((items.height, 0)), np.zeros(items.height, bool)
        values = np.stack(
            [items[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in chosen], axis=1
        )
        known = np.isfinite(values)
        count = np.maximum(known.sum(axis=0), 1)
        centred = np.where(known, values - np.where(known, values, 0.0).sum(axis=0) / count, 0.0)
        spread = np.sqrt((centred**2).sum(axis=0) / count)
        return centred / np.where(spread > 0, spread, 1.0), known.any(axis=1)
