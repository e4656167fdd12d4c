"""Five families of sequence models, as backbones of metarec_sdk."""

from __future__ import annotations

import metarec_sdk
from metarec_sdk.plugins import Register


@metarec_sdk.hookimpl
def metarec_register_backbones(register: Register) -> None:
    """Offer the five; each module, and torch with it, is imported when somebody selects its backbone."""
    register("gru4rec", "metarec_sequence.gru4rec:GRU4Rec", summary="Recurrent network, full softmax")
    register("caser", "metarec_sequence.caser:Caser", summary="Convolutions over the last items")
    register("mlp", "metarec_sequence.mlp:PooledMLP", summary="Feed-forward network over a pooled history")
    register("bert4rec", "metarec_sequence.bert4rec:BERT4Rec", summary="Bidirectional, masked items")
    register("hstu", "metarec_sequence.hstu:HSTU", summary="Pointwise attention with position and time")
