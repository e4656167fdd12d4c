"""Installed distributions: found by metadata, allowed before they are imported, isolated when broken."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from metarec_sdk.errors import PluginError
from metarec_sdk.plugins import PluginManager, Status

GOOD = """
    import numpy as np
    import metarec_sdk

    class Stripes:
        column = None
        def fit(self, x, rng): pass
        def assign(self, x): return np.zeros(len(x), np.int32)
        def state(self): return {}
        def restore(self, state): pass

    @metarec_sdk.hookimpl
    def metarec_register_clusterers(register):
        register("stripes", Stripes, summary="Every user in task 0")
"""


def record(manager: PluginManager, name: str):
    (found,) = [record for record in manager.records if record.name == name]
    return found


def test_an_installed_plugin_is_found_and_its_component_built(install):
    install("acme", GOOD)
    manager = PluginManager()

    found = record(manager, "acme")
    assert (found.distribution, found.version, found.status) == ("metarec-acme", "1.2", Status.LOADED)
    assert found.components == ("clusterer acme/stripes",)
    assert 0 < found.import_seconds < 10
    assert manager.create("clusterer", "acme/stripes").assign(np.zeros((3, 1))).tolist() == [0, 0, 0]
    assert manager.find("clusterer", "acme/stripes").origin() == {
        "component": "acme/stripes",
        "plugin": "acme",
        "distribution": "metarec-acme",
        "version": "1.2",
    }


@pytest.mark.parametrize("value", ["off", "other", "other, another", "-acme", "acme,-acme"])
def test_a_plugin_that_is_not_allowed_is_not_imported(install, monkeypatch, value):
    install("acme", GOOD)
    monkeypatch.setenv("METAREC_PLUGINS", value)
    manager = PluginManager()

    assert record(manager, "acme").status is Status.DISABLED
    assert f"METAREC_PLUGINS={value}" in record(manager, "acme").error
    assert "metarec_acme_for_test" not in sys.modules
    with pytest.raises(PluginError, match=r"metarec-acme 1\.2 is disabled.*METAREC_PLUGINS"):
        manager.find("clusterer", "acme/stripes")
    assert manager.find("clusterer", "kmeans").plugin == "metarec"


@pytest.mark.parametrize(
    ("environment", "arguments", "status"),
    [
        ("acme", {}, Status.LOADED),
        ("-other", {}, Status.LOADED),
        ("off", {"enabled": ["acme"]}, Status.LOADED),
        ("off", {"enabled": True}, Status.LOADED),
        ("", {"enabled": False}, Status.DISABLED),
        ("", {"enabled": []}, Status.DISABLED),
        ("acme", {"disabled": ["acme"]}, Status.DISABLED),
        ("", {"enabled": True, "disabled": ["acme"]}, Status.DISABLED),
    ],
)
def test_arguments_go_before_the_environment(install, monkeypatch, environment, arguments, status):
    install("acme", GOOD)
    monkeypatch.setenv("METAREC_PLUGINS", environment)
    assert record(PluginManager(**arguments), "acme").status is status


def test_a_plugin_that_fails_on_import_is_a_record_and_the_rest_works(install):
    install("acme", GOOD)
    install("broken", "import module_that_is_not_there")
    install("leaver", "import sys; sys.exit(3)")
    manager = PluginManager()

    assert record(manager, "broken").status is Status.FAILED
    assert "ModuleNotFoundError" in record(manager, "broken").error
    assert record(manager, "leaver").status is Status.FAILED
    assert record(manager, "acme").status is Status.LOADED
    with pytest.raises(PluginError, match=r"metarec-broken 1\.2 is failed.*module_that_is_not_there"):
        manager.find("clusterer", "broken/thing")


def test_strict_raises_what_the_plugin_raised(install, monkeypatch):
    install("broken", "raise KeyError('from the plugin')")
    monkeypatch.setenv("METAREC_STRICT", "1")
    with pytest.raises(KeyError, match="from the plugin") as caught:
        PluginManager()
    assert "metarec-broken 1.2" in caught.value.__notes__[0]
    monkeypatch.setenv("METAREC_STRICT", "0")
    assert record(PluginManager(), "broken").status is Status.FAILED


def test_two_distributions_of_one_name_are_both_named_and_neither_wins(install):
    install("acme", GOOD)
    install("acme", GOOD, distribution="acme-for-metarec", version="0.3")
    manager = PluginManager()

    records = [record for record in manager.records if record.name == "acme"]
    assert [record.status for record in records] == [Status.DUPLICATE] * 2
    with pytest.raises(PluginError) as caught:
        manager.find("clusterer", "acme/stripes")
    assert "metarec-acme 1.2" in str(caught.value)
    assert "acme-for-metarec 0.3" in str(caught.value)


def test_what_the_caller_gives_goes_before_what_is_installed(install, plugin, stripes):
    install("acme", GOOD)
    mine = plugin(metarec_register_clusterers=lambda register: register("stripes", stripes))
    manager = PluginManager({"acme": mine})

    assert {record.status for record in manager.records if record.name == "acme"} == {
        Status.LOADED,
        Status.DUPLICATE,
    }
    assert manager.find("clusterer", "acme/stripes").distribution is None


def test_a_plugin_for_another_major_version_is_incompatible_and_not_imported(install):
    install("acme", GOOD, group="metarec_sdk.v2")
    found = record(PluginManager(), "acme")
    assert found.status is Status.INCOMPATIBLE
    assert "metarec_sdk 2" in found.error
    assert "metarec_acme_for_test" not in sys.modules


@pytest.mark.parametrize(("name", "status"), [("metarec", Status.DUPLICATE), ("Acme Inc", Status.FAILED)])
def test_the_name_of_the_built_ins_and_malformed_names_are_refused(install, name, status):
    install(name, GOOD, distribution="metarec-acme")
    manager = PluginManager()
    assert [record.status for record in manager.records].count(status) == 1
    assert "metarec_acme_for_test" not in sys.modules
    assert manager.find("clusterer", "kmeans").distribution == "metarec-sdk"
