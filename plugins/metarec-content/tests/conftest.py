"""Small models with random weights, and encoders by name."""

import json

import numpy as np
import pytest
import torch
import transformers

from metarec_sdk import PluginManager


@pytest.fixture
def encoder():
    """``encoder("text", **params)``: a new one, as the recommender builds it."""
    manager = PluginManager(enabled=["content"], strict=True)
    return lambda name, **params: manager.create("content", f"content/{name}", params)


@pytest.fixture(scope="session")
def vit(tmp_path_factory):
    """A vision transformer of 16 for images of 32 by 32."""
    config = transformers.ViTConfig(**SMALL, image_size=32, patch_size=8)
    return saved_vision(tmp_path_factory.mktemp("vit"), transformers.ViTModel(config), "ViTImageProcessor")


@pytest.fixture(scope="session")
def convnext(tmp_path_factory):
    """A convolutional network of 16."""
    config = transformers.ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2)
    model = transformers.ConvNextModel(config)
    return saved_vision(tmp_path_factory.mktemp("convnext"), model, "ViTImageProcessor")


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """Two towers that meet in 12."""
    vision = transformers.CLIPVisionConfig(**SMALL, image_size=32, patch_size=8)
    text = transformers.CLIPTextConfig(**SMALL, vocab_size=50)
    config = transformers.CLIPConfig(
        text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=12
    )
    return saved_vision(tmp_path_factory.mktemp("clip"), transformers.CLIPModel(config), "ViTImageProcessor")


@pytest.fixture(scope="session")
def wav2vec2(tmp_path_factory):
    """A speech model of 16 at 16 kHz."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("wav2vec2")
    config = transformers.Wav2Vec2Config(
        **SMALL,
        conv_dim=(16, 16),
        conv_kernel=(10, 3),
        conv_stride=(5, 4),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
    )
    transformers.Wav2Vec2Model(config).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def ast(tmp_path_factory):
    """A spectrogram transformer of 16."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("ast")
    transformers.ASTModel(transformers.ASTConfig(**SMALL, max_length=64, num_mel_bins=32)).save_pretrained(
        folder
    )
    transformers.ASTFeatureExtractor(max_length=64, num_mel_bins=32).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def bert(tmp_path_factory):
    """A sentence model of 16 that knows ten words."""
    sentence_transformers = pytest.importorskip("sentence_transformers")
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "blue", "shoe", "hat", "warm"]
    (folder / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    transformers.BertModel(transformers.BertConfig(**SMALL, vocab_size=len(words))).save_pretrained(folder)
    body = Transformer(str(folder))
    model = sentence_transformers.SentenceTransformer(modules=[body, Pooling(16)], device="cpu")
    model.save(str(folder / "whole"))
    return str(folder / "whole")


SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def saved_vision(folder, model, processor):
    torch.manual_seed(0)
    for weights in model.parameters():
        torch.nn.init.normal_(weights, std=0.3)
    model.save_pretrained(folder)
    steps = {
        "image_processor_type": processor,
        "do_resize": True,
        "size": {"height": 32, "width": 32},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(steps))
    return str(folder)


@pytest.fixture
def rng():
    return np.random.default_rng(0)
