"""``content/image``: what a vision model sees in the items' images."""

from __future__ import annotations

import io
from functools import cached_property
from typing import Any

from metarec_content.pretrained import PretrainedFiles
from metarec_content.weights import folder_of, module


class Image(PretrainedFiles):
    """A vision model of transformers from a local folder, for example ViT, DINOv2, ConvNeXt or CLIP."""

    extra = "image"
    projection = "get_image_features"
    libraries = ("pillow",)

    def __init__(
        self,
        *,
        model: str | None = None,
        column: str = "image",
        root: str = ".",
        device: str = "cpu",
        cache: bool | str = False,
        cache_mib: int = 1024,
    ) -> None:
        """Choose the model; it is loaded when an image isn't in the cache.

        Args:
            model: needed, folder with the model and its image processor, as ``save_pretrained`` writes them.
            column: column of paths, or of the files' bytes, in any format that Pillow reads.
            root: folder of relative paths.
            device: of torch.
            cache: see `metarec_content.cache.VectorCache.at`.
            cache_mib: the cache holds no more than these MiB of vectors.
        """
        super().__init__(model, column, root, device, cache, cache_mib)

    def _read(self, content: bytes) -> Any:
        pillow = module("PIL.Image", "pillow", self.extra)
        with pillow.open(io.BytesIO(content)) as image:
            return self._processor(images=image.convert("RGB"), return_tensors="pt")

    @cached_property
    def _processor(self) -> Any:
        transformers = module("transformers", "transformers", self.extra)
        # the same pixels, whether or not torchvision is installed
        return transformers.AutoImageProcessor.from_pretrained(
            folder_of(self.model), local_files_only=True, backend="pil"
        )
