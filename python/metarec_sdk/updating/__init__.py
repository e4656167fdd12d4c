"""Updating: immutable generations on disk, published, loaded and rolled back as wholes."""

from metarec_sdk.updating.generation_store import Generation, GenerationStore, LoadedGeneration
from metarec_sdk.updating.manifest import ComponentRecord, Manifest

__all__ = [
    "ComponentRecord",
    "Generation",
    "GenerationStore",
    "LoadedGeneration",
    "Manifest",
]
