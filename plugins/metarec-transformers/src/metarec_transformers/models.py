"""Models of Hugging Face transformers: a family with random weights, or a local folder with its own.

Nothing here asks the network for anything, and weights are read from safetensors alone.
"""

from __future__ import annotations

import inspect
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

import torch
import transformers
from torch import nn
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.utils import logging

from metarec_sdk.errors import ArgumentError, ArtefactError

_SPARE_POSITIONS = 2
"""RoBERTa and its kin count positions from behind the padding id."""

_ONE_AT_A_TIME = threading.RLock()
"""Torch's seed and the remarks of transformers belong to the process."""


def is_folder(model: str) -> bool:
    """Whether the name is a local folder rather than a family."""
    return Path(model).is_dir()


def family_config(family: str, *, width: int, layers: int, heads: int, positions: int) -> PretrainedConfig:
    """Configuration of a small model of a family ("bert", "gpt2", "llama" …) that reads ``positions``.

    Raises `ArgumentError` for a name that is neither a family nor a folder, and where the family can't be
    made in these sizes.
    """
    families = transformers.CONFIG_MAPPING
    if family not in families:
        close = get_close_matches(family, list(families.keys()), n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ArgumentError(f"model={family!r} is neither a local folder nor a family of transformers{hint}")
    if width % heads:
        raise ArgumentError(f"width must be a multiple of heads, got width={width} and heads={heads}")
    sizes = {
        "hidden_size": width,
        "embedding_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "head_dim": width // heads,
        "intermediate_size": 4 * width,
        "hidden_dim": 4 * width,
        "max_position_embeddings": positions + _SPARE_POSITIONS,
        "vocab_size": 2,
        "pad_token_id": 0,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    try:
        with _quiet():
            default = families[family]()
            known = {*default.to_dict(), *default.attribute_map}
            return families[family](**{name: size for name, size in sizes.items() if name in known})
    except Exception as error:
        raise ArgumentError(
            f"model={family!r} can't be made with width={width}, layers={layers}, heads={heads}: {error}"
        ) from error


def random_model(config: PretrainedConfig, seed: int) -> PreTrainedModel:
    """A model with its family's own random weights; torch's global seed is left alone."""
    with _quiet(), _seeded(seed):
        return _bare(AutoModel.from_config(config, dtype=torch.float32))


def given_model(folder: str) -> PreTrainedModel:
    """The model of a local folder with the weights that are there, all of them.

    Raises `ArtefactError` where the folder has no usable configuration, or lacks weights.
    """
    try:
        with _quiet(), _seeded(0):
            model, found = AutoModel.from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
            )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ArtefactError(f"model={folder!r} can't be read: {error}") from error
    missing = sorted(name for name in found["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise ArtefactError(f"model={folder!r} lacks {len(missing)} weights, the first {missing[0]!r}")
    return _bare(model)


def without_vocabulary(model: PreTrainedModel) -> PreTrainedModel:
    """The model for inputs that are vectors: its token embeddings, often most of its size, go."""
    model.set_input_embeddings(nn.Embedding(2, input_width(model)).requires_grad_(False))
    with torch.no_grad():
        model.get_input_embeddings().weight.zero_()
    model.config.vocab_size = 2
    return model


def input_width(model: PreTrainedModel) -> int:
    """Width of the vectors that stand for tokens."""
    return int(model.get_input_embeddings().weight.shape[1])


def config_to_json(config: PretrainedConfig) -> str:
    """Everything that `config_from_json` needs; no path."""
    values = config.to_dict()
    values.pop("_name_or_path", None)
    return json.dumps(values, sort_keys=True, default=str)


def config_from_json(text: str) -> PretrainedConfig:
    """Raises `ArtefactError` for what isn't a configuration of an installed family."""
    try:
        values = json.loads(text)
        with _quiet():
            return AutoConfig.for_model(values.pop("model_type"), **values)
    except Exception as error:
        raise ArtefactError(f"the state's configuration can't be used: {error}") from error


def causal_mask(length: int, like: torch.Tensor) -> torch.Tensor:
    """[1, 1, t, t], what is added to attention scores: 0 for a place and those before it, else -∞ nearly.

    Encoders and decoders alike take a mask of four axes as it is.
    """
    hidden = torch.full((length, length), torch.finfo(like.dtype).min, dtype=like.dtype, device=like.device)
    return hidden.triu(1)[None, None]


def run(model: PreTrainedModel, x: torch.Tensor, *, masked: bool) -> torch.Tensor:
    """[b, t, h] from vectors x [b, t, input width]; with a causal mask, or as the model was made."""
    mask = causal_mask(x.shape[1], x).expand(len(x), 1, -1, -1) if masked else None
    states: torch.Tensor = model(inputs_embeds=x, attention_mask=mask).last_hidden_state
    return states


def needs_mask(model: PreTrainedModel, name: str, positions: int) -> bool:
    """False for a model that reads from left to right by itself, True for one that does under a mask.

    Found out by changing the last of ``positions`` random vectors. Raises `ArgumentError` for a model that
    can't be run on so many vectors, or looks ahead in spite of a mask.
    """
    if "inputs_embeds" not in inspect.signature(model.forward).parameters or model.config.is_encoder_decoder:
        raise ArgumentError(
            f"model={name!r} is a {type(model).__name__}, which doesn't read a sequence of vectors; use an "
            f"encoder or a decoder, such as 'bert' or 'gpt2'"
        )
    reasons = []
    for masked in (False, True):
        try:
            if not _looks_ahead(model, positions, masked):
                return masked
            reasons.append("it looks ahead")
        except Exception as error:
            reasons.append(str(error))
    raise ArgumentError(
        f"model={name!r} can't read {positions} places (history_limit + 1) from left to right: as it is, "
        f"{reasons[0]}; under a causal mask, {reasons[1]}"
    )


@torch.no_grad()
def _looks_ahead(model: PreTrainedModel, positions: int, masked: bool) -> bool:
    x, other = torch.randn(2, 2, positions, input_width(model), generator=torch.Generator().manual_seed(0))
    other[:, :-1] = x[:, :-1]
    before, after = (run(model, vectors, masked=masked)[:, :-1] for vectors in (x, other))
    return not torch.allclose(before, after, rtol=1e-6, atol=1e-6)


def _bare(model: PreTrainedModel) -> PreTrainedModel:
    """Without what only a first token's state is for, and without a cache of keys."""
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    model.config.use_cache = False
    return model.eval()


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Progress bars and remarks of transformers are off within the block, for one thread at a time."""
    with _ONE_AT_A_TIME:
        verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        try:
            yield
        finally:
            logging.set_verbosity(verbosity)
            if bars:
                logging.enable_progress_bar()
