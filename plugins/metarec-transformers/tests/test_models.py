"""Families and local folders: which are read how, and whose weights are used."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from metarec_sdk.errors import ArgumentError, ArtefactError
from metarec_transformers import models

SIZES = {"width": 16, "layers": 1, "heads": 2, "positions": 9}


def weights(backbone):
    return {name: value for name, value in backbone.state().items() if name.startswith("body.")}


@pytest.mark.parametrize(
    ("family", "masked"),
    [
        ("bert", True),
        ("roberta", True),
        ("distilbert", True),
        ("electra", True),
        ("modernbert", True),
        ("gpt2", False),
        ("gpt_neox", False),
        ("llama", False),
        ("qwen2", False),
        ("opt", False),
    ],
)
def test_encoders_need_a_mask_and_decoders_do_not(family, masked):
    model = models.random_model(models.family_config(family, **SIZES), seed=1)
    assert models.needs_mask(model, family, 9) is masked
    x = torch.randn(2, 9, models.input_width(model), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        whole, part = (models.run(model, rows, masked=masked) for rows in (x, x[:, :4]))
    assert whole.shape == (2, 9, 16)
    torch.testing.assert_close(whole[:, :4], part, rtol=1e-4, atol=1e-5)


def test_a_configuration_survives_as_json_and_the_seed_decides_the_weights():
    config = models.family_config("llama", **SIZES)
    again = models.config_from_json(models.config_to_json(config))
    one, two, other = (
        models.random_model(each, seed).state_dict() for each, seed in ((config, 1), (again, 1), (config, 2))
    )
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)
    with pytest.raises(ArtefactError, match="configuration"):
        models.config_from_json('{"model_type": "nothing"}')


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("gpt-2", "did you mean 'gpt2'"),
        ("no/such/folder", "neither a local folder nor a family"),
        ("t5", "doesn't read a sequence of vectors"),
        ("deberta-v2", "left to right"),
    ],
)
def test_models_that_cannot_be_used_are_refused(create, planted, model, message):
    with pytest.raises(ArgumentError, match=message):
        create(model=model).fit(planted(), np.random.default_rng(0))


def test_a_family_is_made_in_sizes_that_fit(create, planted):
    with pytest.raises(ArgumentError, match="heads=3"):
        create(model="bert", heads=3).fit(planted(), np.random.default_rng(0))


def test_given_weights_are_used_and_stay_where_frozen(create, planted, folder):
    given = {
        f"body.{name}": value.numpy()
        for name, value in AutoModel.from_pretrained(folder).state_dict().items()
        if "word_embeddings" not in name and not name.startswith("pooler.")
    }
    backbone = create(model=str(folder), frozen=True)
    backbone.fit(planted(), np.random.default_rng(0))
    found = weights(backbone)
    assert set(found) - set(given) == {"body.embeddings.word_embeddings.weight"}
    for name, value in given.items():
        assert value.tobytes() == found[name].tobytes(), name
    assert backbone.record.losses[1] < backbone.record.losses[0]  # what is around them learns


def test_given_weights_are_tuned_otherwise(create, planted, folder):
    backbones = [create(model=str(folder), frozen=frozen) for frozen in (True, False)]
    for backbone in backbones:
        backbone.fit(planted(), np.random.default_rng(0))
    frozen, tuned = map(weights, backbones)
    moved = {name for name in frozen if not np.array_equal(frozen[name], tuned[name])}
    still = set(frozen) - moved
    assert still == {"body.embeddings.word_embeddings.weight"}
    assert max(np.abs(frozen[name] - tuned[name]).max() for name in moved) < 0.1  # from where they were


def test_a_random_model_may_be_frozen_too(create, planted):
    backbones = [create(frozen=True, epochs=epochs, holdout="none") for epochs in (1, 2)]
    for backbone in backbones:
        backbone.fit(planted(), np.random.default_rng(0))
    one, two = map(weights, backbones)
    assert {k: v.tobytes() for k, v in one.items()} == {k: v.tobytes() for k, v in two.items()}


def test_a_restored_backbone_needs_no_folder(create, planted, folder, ragged, tmp_path):
    elsewhere = tmp_path / "gone"
    folder_copy = AutoModel.from_pretrained(folder)
    folder_copy.save_pretrained(elsewhere)
    backbone = create(model=str(elsewhere))
    backbone.fit(planted(), np.random.default_rng(0))
    for file in elsewhere.iterdir():
        file.unlink()
    elsewhere.rmdir()
    fresh = create(model=str(elsewhere))
    fresh.restore(backbone.state())
    assert fresh.encode(ragged).tobytes() == backbone.encode(ragged).tobytes()


def test_folders_that_lack_something_are_refused(create, planted, folder, tmp_path):
    with pytest.raises(ArtefactError, match="can't be read"):
        create(model=str(tmp_path)).fit(planted(), np.random.default_rng(0))
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    tensors = load_file(folder / "model.safetensors")
    del tensors["encoder.layer.1.output.dense.weight"]
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ArtefactError, match=r"lacks 1 weights, the first 'encoder.layer.1.output"):
        create(model=str(tmp_path)).fit(planted(), np.random.default_rng(0))


def test_a_history_longer_than_the_given_model_reads_is_refused(create, planted, folder):
    with pytest.raises(ArgumentError, match="history_limit"):
        create(model=str(folder), history_limit=40).fit(planted(), np.random.default_rng(0))


def test_the_pretrained_encoder_reads_histories(create, planted, minilm):
    backbone = create(model=str(minilm), frozen=True, epochs=1, holdout="none", ids=False)
    backbone.fit(planted(16), np.random.default_rng(0))
    given = load_file(minilm / "model.safetensors")
    state = backbone.state()
    name = "encoder.layer.5.attention.self.query.weight"
    assert state[f"body.{name}"].tobytes() == given[name].numpy().tobytes()
    assert state["body.embeddings.word_embeddings.weight"].shape == (2, 384)
    assert len(np.unique(backbone.encode(planted(16).histories).round(6), axis=0)) > 8
