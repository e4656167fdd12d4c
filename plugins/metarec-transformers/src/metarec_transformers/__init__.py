"""Encoders and decoders of Hugging Face transformers, as components of metarec_sdk."""

from __future__ import annotations

import metarec_sdk
from metarec_sdk.plugins import Register


@metarec_sdk.hookimpl
def metarec_register_backbones(register: Register) -> None:
    """Offer the backbone; torch and transformers are imported when somebody selects it."""
    register(
        "history",
        "metarec_transformers.backbone:HistoryTransformer",
        summary="BERT, GPT-2, Llama … over the items of a history, which their content describes",
    )


@metarec_sdk.hookimpl
def metarec_register_content_encoders(register: Register) -> None:
    """Offer the text encoder."""
    register(
        "text",
        "metarec_transformers.text:TextContent",
        summary="Mean token state of the items' texts, by a model in a local folder",
    )
