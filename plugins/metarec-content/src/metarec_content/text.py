"""``content/text``: what words tell items apart, without a network or pretrained weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.utils.extmath import randomized_svd

from metarec_content.columns import of_one_scale, texts
from metarec_sdk.errors import ArgumentError
from metarec_sdk.types import Float32


class Text:
    """Latent semantic analysis (Deerwester et al. 1990): truncated SVD of TF-IDF with 1 + log counts.

    Fitted to the table at each call, since words weigh by how rare they are in it: vectors of two calls
    can't be compared with each other, and there is nothing to cache.
    """

    def __init__(self, *, columns: Sequence[str] | None = None, width: int = 128) -> None:
        """Choose what is read.

        Args:
            columns: columns of texts or lists of texts; by default all of them.
            width: ≥ 1, columns of the vectors; the last ones are 0 where a table has fewer words or items.
        """
        if width < 1:
            raise ArgumentError(f"width must be ≥ 1, got {width}")
        self.columns = columns
        self.width = width

    def encode(self, items: pl.DataFrame) -> Float32:
        """f32[n, width], rows of length √width; 0 for an item without words.

        Raises `ColumnError` for a column that is missing or holds no texts.
        """
        vectors = np.zeros((items.height, self.width), np.float32)
        found = texts(items, self.columns)
        weighted = TfidfVectorizer(sublinear_tf=True, strip_accents="unicode")
        tokens = weighted.build_analyzer()
        words = [tokens(text) if text else [] for text in found]
        rows = [row for row, known in enumerate(words) if known]
        if rows:
            weighted.set_params(analyzer=lambda row: words[row])
            matrix = weighted.fit_transform(rows)  # [r, v]
            rank = min(self.width, *matrix.shape)
            _, _, right = randomized_svd(matrix, rank, random_state=0)
            vectors[rows, :rank] = matrix @ right.T  # not the left vectors: equal texts stay equal
        return of_one_scale(vectors)
