"""``content/audio``: what an audio model hears in the items' sounds."""

from __future__ import annotations

import io
from functools import cached_property
from math import gcd
from typing import Any

from metarec_content.pretrained import PretrainedFiles
from metarec_content.weights import folder_of, module
from metarec_sdk.errors import ArgumentError


class Audio(PretrainedFiles):
    """An audio model of transformers from a local folder, for example Wav2Vec2, HuBERT, AST or CLAP."""

    extra = "audio"
    projection = "get_audio_features"
    libraries = ("soundfile", "scipy")

    def __init__(
        self,
        *,
        model: str | None = None,
        column: str = "audio",
        root: str = ".",
        seconds: float = 30.0,
        device: str = "cpu",
        cache: bool | str = False,
        cache_mib: int = 1024,
    ) -> None:
        """Choose the model; it is loaded when a sound isn't in the cache.

        Args:
            model: needed, folder that ``save_pretrained`` wrote: the model and its feature extractor.
            column: column of paths, or of the files' bytes: WAV, FLAC, OGG or MP3. Channels are averaged.
            root: folder of relative paths.
            seconds: > 0, as much is heard from the start.
            device: of torch.
            cache: see `metarec_content.cache.VectorCache.at`.
            cache_mib: the cache holds no more than these MiB of vectors.
        """
        if not seconds > 0:
            raise ArgumentError(f"seconds must be > 0, got {seconds}")
        super().__init__(model, column, root, device, cache, cache_mib)
        self.seconds = seconds

    def _parameters(self) -> dict[str, Any]:
        return {"seconds": self.seconds}

    def _read(self, content: bytes) -> Any:
        from scipy.signal import resample_poly

        soundfile = module("soundfile", "soundfile", self.extra)
        with soundfile.SoundFile(io.BytesIO(content)) as sound:
            own = sound.samplerate
            wave = sound.read(int(self.seconds * own), dtype="float32", always_2d=True).mean(axis=1)
        if not len(wave):
            raise ValueError("it has no samples")
        wanted = int(self._extractor.sampling_rate)
        shared = gcd(wanted, own)
        wave = resample_poly(wave, wanted // shared, own // shared) if wanted != own else wave
        return self._extractor(wave, sampling_rate=wanted, return_tensors="pt")

    @cached_property
    def _extractor(self) -> Any:
        transformers = module("transformers", "transformers", self.extra)
        return transformers.AutoFeatureExtractor.from_pretrained(folder_of(self.model), local_files_only=True)
