"""The text encoder against the pretrained package's own way of using the model."""

import numpy as np
import polars as pl
import pytest

from metarec_sdk.errors import ArgumentError, ArtefactError, ColumnError
from metarec_transformers.text import TextContent, item_texts

ITEMS = pl.DataFrame(
    {
        "item_id": [1, 2, 3, 4, 5],
        "title": ["A red running shoe for men", "Jogging trainers, scarlet", "Chocolate cake", None, "  "],
        "tags": [["sport"], ["sport", "shoes"], ["food"], None, []],
        "price": [1.0, 2.0, 3.0, 4.0, 5.0],
    }
)


@pytest.fixture(scope="module")
def vectors(minilm):
    return TextContent(model=str(minilm), columns=["title"], device="cpu").encode(ITEMS)


def test_vectors_are_those_of_the_package(minilm, vectors):
    """The mean of the token states by plain transformers, sentence by sentence, scaled to length 1."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(minilm), AutoModel.from_pretrained(minilm)
    for row in range(3):
        tokens = tokenizer(ITEMS["title"][row], return_tensors="pt")
        with torch.no_grad():
            mean = model.eval()(**tokens).last_hidden_state[0].mean(0).numpy()
        np.testing.assert_allclose(vectors[row], mean / np.linalg.norm(mean), atol=1e-5)


def test_vectors_are_those_of_sentence_transformers(minilm, vectors):
    package = pytest.importorskip("sentence_transformers")
    model = package.SentenceTransformer(str(minilm), device="cpu", local_files_only=True)
    expected = model.encode(ITEMS["title"][:3].to_list(), show_progress_bar=False)
    np.testing.assert_allclose(vectors[:3], expected, atol=1e-5)


def test_alike_texts_are_near_and_items_without_text_are_zero(vectors):
    assert (vectors.shape, vectors.dtype) == ((5, 384), np.float32)
    likeness = vectors @ vectors.T
    assert likeness[0, 1] > 0.4 > 0.2 > likeness[0, 2]
    np.testing.assert_allclose(np.diag(likeness)[:3], 1.0, atol=1e-5)
    np.testing.assert_array_equal(vectors[3:], 0.0)


def test_texts_are_the_columns_in_order():
    assert item_texts(ITEMS, None) == [
        "A red running shoe for men. sport",
        "Jogging trainers, scarlet. sport, shoes",
        "Chocolate cake. food",
        "",
        ".",
    ]
    assert item_texts(ITEMS, ["tags"])[1] == "sport, shoes"
    assert item_texts(ITEMS.select("item_id", "price"), None) == [""] * 5
    with pytest.raises(ColumnError, match="titel"):
        item_texts(ITEMS, ["titel"])
    with pytest.raises(ArgumentError, match="price"):
        item_texts(ITEMS, ["price"])


def test_nothing_is_downloaded_and_folders_are_checked(folder, tmp_path):
    for model in ("sentence-transformers/all-MiniLM-L6-v2", ""):
        with pytest.raises(ArgumentError, match="isn't a local folder"):
            TextContent(model=model).encode(ITEMS)
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(ArtefactError, match="tokenizer"):
        TextContent(model=str(tmp_path), device="cpu").encode(ITEMS)
    with pytest.raises(ArgumentError, match="length"):
        TextContent(length=0)


def test_a_text_is_read_as_far_as_its_length(folder):
    short, long = (TextContent(model=str(folder), length=length, device="cpu") for length in (5, 16))
    items = pl.DataFrame({"item_id": [1, 2], "title": ["abcdefg", "abcdehijk"]})
    rows = short.encode(items)
    np.testing.assert_allclose(rows[0], rows[1], atol=1e-6)
    assert np.abs(np.subtract(*long.encode(items))).max() > 1e-3
