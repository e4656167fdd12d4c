"""Content encoders for metarec_sdk: texts, Gaussians of classes, images and sounds."""

from __future__ import annotations

import metarec_sdk
from metarec_sdk.plugins import Register


@metarec_sdk.hookimpl
def metarec_register_content_encoders(register: Register) -> None:
    """Offer the five encoders."""
    register("text", "metarec_content.text:Text", summary="TF-IDF of the texts, reduced by SVD")
    register("sentences", "metarec_content.sentences:Sentences", summary="Pretrained embeddings of the texts")
    register("gaussian", "metarec_content.gaussian:Gaussian", summary="Class posteriors of the numbers")
    register("image", "metarec_content.image:Image", summary="A local vision model on images")
    register("audio", "metarec_content.audio:Audio", summary="A local audio model on sounds")
