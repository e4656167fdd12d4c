"""Selecting and building a component by name, and every way in which that goes wrong."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from metarec_sdk.adapters.checks import require_torch
from metarec_sdk.backbones import sasrec
from metarec_sdk.errors import (
    ArgumentError,
    MissingDependencyError,
    NotFittedError,
    PluginError,
    UnknownIdError,
)
from metarec_sdk.plugins import KINDS, PluginManager
from metarec_sdk.plugins.kinds import members
from metarec_sdk.types import Clusterer, Head


def manager_with(plugin, target, kind: str = "clusterer") -> PluginManager:
    hook = {KINDS[kind].hook: lambda register: register("stripes", target)}
    return PluginManager({"acme": plugin(**hook)}, enabled=False, strict=True)


def test_parameters_reach_the_factory(plugin, stripes):
    manager = manager_with(plugin, stripes)
    component = manager.create("clusterer", "acme/stripes", {"n_tasks": 3})
    assert component.assign(np.zeros((4, 1))).tolist() == [0, 1, 2, 0]
    assert component.n_tasks == 3


def test_a_built_component_is_of_its_protocol_and_its_class(plugin, stripes):
    component = manager_with(plugin, stripes).create("clusterer", "acme/stripes")
    assert isinstance(component, Clusterer)
    assert isinstance(component, stripes)
    assert not isinstance(component, Head)
    component.restore({"n_tasks": np.array([5])})
    component.fit(np.zeros((7, 1)), np.random.default_rng(0))
    assert (component.n_tasks, component.seen) == (5, 7)


def test_a_misspelt_parameter_is_an_argument_error(plugin, stripes):
    manager = manager_with(plugin, stripes)
    with pytest.raises(
        ArgumentError, match=r"'acme/stripes'.*it takes \['n_tasks'\].*Did you mean 'n_tasks'"
    ):
        manager.create("clusterer", "acme/stripes", {"n_task": 3})


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("clusterer", "kmean", "Did you mean 'kmeans'"),
        ("clusterer", "stripes", "Did you mean 'acme/stripes'"),
        ("clusterer", "acme/strips", "Did you mean 'acme/stripes'"),
        ("clusterer", "natpar", "'natpar' is a head, not a clusterer"),
        ("head", "zzz", r"there are \['natpar', 'ridge'\]"),
    ],
)
def test_an_unknown_name_gives_close_matches(plugin, stripes, kind, name, message):
    with pytest.raises(UnknownIdError, match=message):
        manager_with(plugin, stripes).create(kind, name)


def test_a_missing_plugin_names_the_distribution_to_install():
    manager = PluginManager(enabled=False)
    with pytest.raises(PluginError, match="pip install metarec-acme"):
        manager.create("clusterer", "acme/stripes")
    with pytest.raises(PluginError, match=r"pip install acme-suite$"):
        manager.find("clusterer", "acme/stripes", distribution="acme-suite")


def test_an_unknown_kind_lists_the_kinds():
    with pytest.raises(ArgumentError, match="'backbone', 'clusterer'"):
        PluginManager(enabled=False).create("oracle", "kmeans")


def test_a_component_that_breaks_its_protocol_is_refused_with_what_it_lacks(plugin):
    manager = manager_with(plugin, dict)
    with pytest.raises(PluginError, match=r"without state, .*, assign.*protocols\.Clusterer"):
        manager.create("clusterer", "acme/stripes")


def test_an_attribute_where_a_method_belongs_is_refused(plugin, stripes):
    flat = type("Flat", (stripes,), {"assign": 7})
    with pytest.raises(PluginError, match="assign must be methods of Flat"):
        manager_with(plugin, flat).create("clusterer", "acme/stripes")


@pytest.mark.parametrize("target", ["metarec_sdk.nowhere:Thing", "metarec_sdk.types:Thing"])
def test_a_string_target_is_imported_only_when_selected(plugin, target):
    manager = manager_with(plugin, target)
    with pytest.raises((ModuleNotFoundError, PluginError)) as caught:
        manager.create("clusterer", "acme/stripes")
    assert "acme" in "".join([str(caught.value), *getattr(caught.value, "__notes__", [])])


def test_a_missing_optional_package_gives_the_command_that_installs_it(plugin, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it weren't installed
    (tmp_path / "stripes_in_torch.py").write_text("import torch")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(MissingDependencyError, match=r"metarec-sdk\[torch\]") as caught:
        manager_with(plugin, "stripes_in_torch:Stripes").create("clusterer", "acme/stripes")
    assert "plugin acme" in caught.value.__cause__.__notes__[0]


def test_what_needs_torch_names_what_does_without(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr("metarec_sdk.adapters.checks.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"\[torch\]', or choose meta_learner='none'$"):
        require_torch("a meta-learner")
    with pytest.raises(MissingDependencyError, match=r"\[torch\]', or choose backbone='factors'$"):
        sasrec._require_torch()


def test_a_missing_package_of_the_plugin_s_own_keeps_its_type(plugin, tmp_path, monkeypatch):
    (tmp_path / "stripes_in_fortran.py").write_text("import fortran_for_stripes")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="fortran_for_stripes") as caught:
        manager_with(plugin, "stripes_in_fortran:Stripes").create("clusterer", "acme/stripes")
    assert "plugin acme" in caught.value.__notes__[0]


def test_a_property_that_needs_a_fit_first_does_not_run_at_construction(plugin, stripes):
    class Unfitted(stripes):
        @property
        def centres(self):
            raise NotFittedError("fit first")

        @classmethod
        def pair(cls):
            return cls(2)

    component = manager_with(plugin, Unfitted).create("clusterer", "acme/stripes")
    with pytest.raises(NotFittedError):
        _ = component.centres
    assert component.pair().n_tasks == 2


def test_members_of_a_protocol_include_inherited_and_annotated_ones():
    assert members(Clusterer) == ["state", "restore", "column", "fit", "assign"]


class Raising:
    """A frozen, slotted clusterer whose methods raise."""

    __slots__ = ()
    column = None

    def fit(self, x, rng):
        raise ZeroDivisionError("no tasks")

    def assign(self, x):
        raise FloatingPointError("nan")

    def state(self):
        return {}

    def restore(self, state):
        raise KeyError("n_tasks")


@pytest.mark.parametrize(
    ("call", "arguments", "error"),
    [
        ("fit", (None, None), ZeroDivisionError),
        ("assign", (None,), FloatingPointError),
        ("restore", ({},), KeyError),
    ],
)
def test_run_time_errors_keep_their_type_and_name_the_plugin(plugin, call, arguments, error):
    component = manager_with(plugin, Raising).create("clusterer", "acme/stripes")
    with pytest.raises(error) as caught:
        getattr(component, call)(*arguments)
    (note,) = caught.value.__notes__
    assert note == f"raised by plugin acme: clusterer 'acme/stripes', {call}()"


def test_an_error_in_construction_is_noted(plugin):
    def factory(size: int = 2):
        raise ValueError("size")

    with pytest.raises(ValueError, match="size") as caught:
        manager_with(plugin, factory).create("clusterer", "acme/stripes")
    assert caught.value.__notes__ == ["raised by plugin acme: clusterer 'acme/stripes', construction"]
