"""Updating: immutable generations on disk, published, loaded and rolled back as wholes."""

from metarec_sdk.updating.generation_store import Generation, GenerationStore, LoadedGeneration
from metarec_sdk.updating.manifest import ComponentRecord, Manifest
from metarec_sdk.updating.model_folder import EVENTS, save_model_folder

__all__ = [
    "EVENTS",
    "ComponentRecord",
    "Generation",
    "GenerationStore",
    "LoadedGeneration",
    "Manifest",
    "save_model_folder",
]
