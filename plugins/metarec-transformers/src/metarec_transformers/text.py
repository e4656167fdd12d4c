"""``transformers/text``: vectors of items from their texts, by a model in a local folder.

The mean of the last layer's token states, scaled to length 1: what sentence encoders are trained for (Reimers
& Gurevych, EMNLP 2019, arXiv:1908.10084). Weights aren't tuned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
import torch
from torch.nn import functional as F
from transformers import AutoTokenizer

from metarec_sdk.errors import ArgumentError, ArtefactError, ColumnError
from metarec_sdk.types import Float32
from metarec_transformers import models
from metarec_transformers.arguments import check_choice, check_counts, torch_device

_TEXTS = 64


@dataclass(kw_only=True, eq=False)
class TextContent:
    """Follows `metarec_sdk.protocols.ContentEncoder`; the same row gives the same vector, to rounding."""

    model: str = ""
    """Local folder with ``config.json``, ``model.safetensors`` and the tokenizer's files; has to be given."""
    columns: list[str] | None = None
    """Columns that are read, in this order; None is every column of texts or of lists of texts."""
    length: int = 128
    """Tokens that are read of an item's text."""
    device: Literal["cpu", "cuda", "auto"] = "auto"
    """"auto" is CUDA where there is one."""

    def __post_init__(self) -> None:
        """Raises `ArgumentError` for an argument out of range."""
        check_counts(length=self.length)
        check_choice("device", self.device, ("cpu", "cuda", "auto"))

    def encode(self, items: pl.DataFrame) -> Float32:
        """f32[n, c], rows of length 1, or of zeros for an item without text.

        Raises `ArgumentError` where the model isn't a local folder or a column isn't text, `ColumnError` for
        a column that isn't there, `ArtefactError` for a folder that can't be used.
        """
        if not self.model or not models.is_folder(self.model):
            raise ArgumentError(
                f"model={self.model!r} isn't a local folder; give the path of one with a model and its "
                f"tokenizer (nothing is downloaded)"
            )
        texts = item_texts(items, self.columns)
        device = torch_device(self.device)
        model = models.given_model(self.model).to(device)
        tokenizer = self._tokenizer()
        vectors = np.zeros((len(texts), int(model.config.hidden_size)), np.float32)
        written = [row for row, text in enumerate(texts) if text]
        written.sort(key=lambda row: len(texts[row]))  # texts of similar length: little padding
        for first in range(0, len(written), _TEXTS):
            rows = written[first : first + _TEXTS]
            tokens = tokenizer(
                [texts[row] for row in rows],
                padding=True,
                truncation=True,
                max_length=self.length,
                return_tensors="pt",
            ).to(device)
            vectors[rows] = _mean_states(model, tokens["input_ids"], tokens["attention_mask"]).cpu().numpy()
        return vectors

    def _tokenizer(self) -> Any:
        try:
            tokenizer = AutoTokenizer.from_pretrained(self.model, local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            raise ArtefactError(f"model={self.model!r} has no usable tokenizer: {error}") from error
        if len(tokenizer) <= len(tokenizer.all_special_ids):  # what is made up where the files are missing
            raise ArtefactError(f"model={self.model!r} has no tokenizer: its vocabulary is empty")
        if tokenizer.pad_token is None:  # a decoder's
            tokenizer.pad_token = tokenizer.eos_token
        tokenizer.padding_side = "right"
        return tokenizer


@torch.no_grad()
def _mean_states(model: Any, tokens: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """[b, h] of length 1 from int64[b, t] tokens and a mask of those that aren't padding."""
    states = model(input_ids=tokens, attention_mask=real).last_hidden_state  # [b, t, h]
    shares = real / real.sum(1, keepdim=True)
    return F.normalize((states * shares[:, :, None]).sum(1), dim=-1)


def item_texts(items: pl.DataFrame, columns: list[str] | None) -> list[str]:
    """The texts of each row, joined by ". "; "" where there are none."""
    if columns is None:
        columns = [name for name, dtype in items.schema.items() if name != "item_id" and _is_text(dtype)]
    parts = []
    for name in columns:
        if name not in items.columns:
            raise ColumnError.missing(name, "columns", items.columns)
        if not _is_text(items.schema[name]):
            raise ArgumentError(f"columns names {name!r}, which is {items.schema[name]} and not text")
        column = pl.col(name)
        parts.append(column.list.join(", ") if isinstance(items.schema[name], pl.List) else column)
    if not parts:
        return [""] * items.height
    joined = items.select(text=pl.concat_str(parts, separator=". ", ignore_nulls=True))["text"]
    return [text.strip() for text in joined.fill_null("").to_list()]


def _is_text(dtype: pl.DataType) -> bool:
    return dtype == pl.String or dtype == pl.List(pl.String)
