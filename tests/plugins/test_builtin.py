"""The built-ins go through the same hooks as everybody's components."""

from __future__ import annotations

import inspect
import json

import pytest

import metarec_sdk
from metarec_sdk.plugins import KINDS, PluginManager
from metarec_sdk.plugins.loader import OBSERVATION_HOOKS

EXPECTED = {
    "backbone": ["sasrec", "factors"],
    "clusterer": ["kmeans", "column", "none"],
    "meta_learner": ["closed-form", "reptile", "maml", "fomaml", "anil", "none"],
    "head": ["natpar", "ridge"],
    "item_item": ["item-knn"],
    "feedback": ["linear"],
    "behaviour": ["counts"],
    "content": ["table"],
    "reranker": ["mmr"],
    "rule": ["quota"],
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_built_in_names(kind):
    manager = PluginManager(enabled=False)
    records = manager.components(kind)
    assert [record.name for record in records] == EXPECTED[kind]
    assert all(record.summary and record.plugin == "metarec" for record in records)
    json.dumps([record.to_dict() for record in records] + [record.to_dict() for record in manager.records])


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, names in EXPECTED.items() for name in names]
)
def test_every_built_in_can_be_built_without_parameters_and_follows_its_protocol(kind, name):
    component = PluginManager(enabled=False).create(kind, name)
    assert isinstance(component, KINDS[kind].protocol)


def test_every_hook_has_a_documented_spec():
    from metarec_sdk.plugins import hookspecs

    hooks = [name for name in vars(hookspecs) if name.startswith("metarec_")]
    assert set(hooks) == {kind.hook for kind in KINDS.values()} | set(OBSERVATION_HOOKS)
    assert (len(KINDS), len(OBSERVATION_HOOKS)) == (10, 2)
    assert all(getattr(hookspecs, name).__doc__ for name in hooks)


def test_every_kind_is_selected_by_an_argument_of_the_recommender():
    arguments = inspect.signature(metarec_sdk.Recommender).parameters
    assert set(KINDS) <= set(arguments)
