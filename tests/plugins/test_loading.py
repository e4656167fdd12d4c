"""Loading one plugin is all or nothing, and pluggy's silent traps are reported."""

from __future__ import annotations

from pathlib import Path

import pytest

import metarec_sdk
from metarec_sdk.errors import ArgumentError, PluginError
from metarec_sdk.plugins import PluginManager, Status, hookspecs
from metarec_sdk.plugins.candidates import given
from metarec_sdk.plugins.markers import hookspec


def outcome(plugin) -> tuple[Status, str]:
    """Status and error of the only plugin that isn't built in."""
    record = PluginManager({"acme": plugin}, enabled=False).records[1]
    return record.status, record.error or ""


def test_registration_is_transactional(plugin, stripes):
    """A hook that fails after others succeeded leaves nothing behind."""

    def fails_half_way(register):
        register("heads-up", stripes)
        raise OSError("disk on fire")

    broken = plugin(
        metarec_register_backbones=lambda register: register("fine", stripes),
        metarec_register_heads=fails_half_way,
        metarec_batch_ranked=lambda result: None,
    )
    before = PluginManager(enabled=False)
    after = PluginManager({"acme": broken}, enabled=False)

    assert after.records[1].status is Status.FAILED
    assert after.records[1].error == "OSError: disk on fire"
    assert after.components() == before.components()
    assert not after.observes_batches


@pytest.mark.parametrize(
    ("register_call", "message"),
    [
        (lambda register: register("kMeans", dict), "lower-case words"),
        (lambda register: register("acme/stripes", dict), "prefix 'acme/' is added"),
        (lambda register: register(7, dict), "lower-case words"),
        (lambda register: (register("a", dict), register("a", list)), "registered twice"),
        (lambda register: register("a", "module.attribute"), "module:attribute"),
        (lambda register: register("a", 7), "got int"),
        (lambda register: register("a", dict, summary="two\nlines"), "one line"),
        (lambda register: register("a", dict, sumary=""), "sumary"),
    ],
)
def test_a_malformed_registration_fails_the_plugin_and_says_why(plugin, register_call, message):
    status, error = outcome(plugin(metarec_register_clusterers=register_call))
    assert status is Status.FAILED
    assert message in error


def test_a_bare_name_cannot_be_shadowed(plugin, stripes):
    manager = PluginManager(
        {"acme": plugin(metarec_register_clusterers=lambda register: register("kmeans", stripes))},
        enabled=False,
    )
    assert manager.find("clusterer", "kmeans").plugin == "metarec"
    assert manager.find("clusterer", "acme/kmeans").plugin == "acme"


def test_one_name_may_serve_two_kinds(plugin, stripes):
    manager = PluginManager(
        {
            "acme": plugin(
                metarec_register_clusterers=lambda register: register("stripes", stripes),
                metarec_register_heads=lambda register: register("stripes", stripes),
            )
        },
        enabled=False,
    )
    assert [record.kind for record in manager.components() if record.name == "acme/stripes"] == [
        "clusterer",
        "head",
    ]


def test_an_unknown_hook_is_reported_with_the_closest_name(plugin):
    status, error = outcome(plugin(metarec_register_clusterer=lambda register: None))
    assert status is Status.INCOMPATIBLE
    assert "Did you mean 'metarec_register_clusterers'?" in error


def test_an_optional_hook_of_a_newer_version_is_skipped(plugin, stripes):
    acme = plugin(metarec_register_clusterers=lambda register: register("stripes", stripes))
    acme.metarec_register_oracles = metarec_sdk.hookimpl(optionalhook=True)(lambda register: 1 / 0)
    assert outcome(acme) == (Status.LOADED, "")


def test_an_argument_that_the_hook_does_not_have_is_incompatible(plugin):
    status, error = outcome(plugin(metarec_batch_ranked=lambda result, propensity: None))
    assert status is Status.INCOMPATIBLE
    assert "propensity" in error


def test_a_default_that_pluggy_would_never_fill_is_refused(plugin):
    status, error = outcome(plugin(metarec_fit_finished=lambda report=None: None))
    assert status is Status.FAILED
    assert "remove the default" in error


def test_wrappers_are_refused():
    class Wrapping:
        @metarec_sdk.hookimpl(wrapper=True)
        def metarec_fit_finished(self, report):
            yield

    assert outcome(Wrapping())[0] is Status.FAILED


def test_a_plugin_without_a_hook_is_refused():
    def metarec_register_heads(register):
        """Without the marker."""

    status, error = outcome(type("Unmarked", (), {"metarec_register_heads": metarec_register_heads})())
    assert status is Status.FAILED
    assert "hookimpl" in error


def test_strict_raises_a_breach_of_the_contract(plugin):
    with pytest.raises(PluginError, match="lower-case"):
        PluginManager(
            {"acme": plugin(metarec_register_heads=lambda register: register("A", dict))},
            enabled=False,
            strict=True,
        )


def test_a_file_is_a_plugin(tmp_path: Path):
    path = tmp_path / "my_stripes.py"
    path.write_text(
        "import metarec_sdk\n"
        "__version__ = '0.9'\n"
        "@metarec_sdk.hookimpl\n"
        "def metarec_register_heads(register):\n"
        "    register('dict', dict, summary='Not a head')\n"
    )
    record = PluginManager([path], enabled=False).records[1]
    assert (record.name, record.version, record.components) == (
        "my-stripes",
        "0.9",
        ("head my-stripes/dict",),
    )
    assert [candidate.name for candidate in given([str(path)])] == ["my-stripes"]


def test_a_missing_file_is_a_failed_plugin(tmp_path: Path):
    record = PluginManager([tmp_path / "nowhere.py"], enabled=False).records[1]
    assert record.status is Status.FAILED
    assert "not a file" in record.error


def test_two_given_plugins_of_one_name_are_duplicates(plugin, stripes):
    one = plugin(metarec_register_heads=lambda register: register("a", stripes))
    two = plugin(metarec_register_heads=lambda register: register("b", stripes))
    statuses = [record.status for record in PluginManager([one, two], entry_points=()).records]
    assert statuses == [Status.LOADED, Status.DUPLICATE, Status.DUPLICATE]


def test_a_given_plugin_can_be_disabled_by_name(plugin, stripes):
    one = plugin(metarec_register_heads=lambda register: register("a", stripes))
    manager = PluginManager({"acme": one}, disabled=["acme"])
    assert manager.records[1].status is Status.DISABLED


@pytest.mark.parametrize("plugins", ["module", Path("a.py"), metarec_sdk, [dict]])
def test_arguments_of_the_wrong_form(plugins):
    with pytest.raises(ArgumentError, match="plugins="):
        PluginManager(plugins, enabled=False)


def test_one_name_as_a_string_is_not_a_list_of_letters():
    with pytest.raises(ArgumentError, match="list of plugin names"):
        PluginManager(enabled="acme")


def test_a_hook_and_an_argument_that_are_to_go_warn_at_load(plugin, stripes, monkeypatch):
    @hookspec(warn_on_impl=DeprecationWarning("this hook goes with version 2"))
    def metarec_register_clusterers(register):
        """To go."""

    @hookspec(warn_on_impl_args={"elapsed_ns": DeprecationWarning("elapsed_ns goes with version 2")})
    def metarec_batch_ranked(request, result, elapsed_ns):
        """With an argument to go."""

    for hook in (metarec_register_clusterers, metarec_batch_ranked):
        monkeypatch.setattr(hookspecs, hook.__name__, hook)
    acme = plugin(
        metarec_register_clusterers=lambda register: register("stripes", stripes),
        metarec_batch_ranked=lambda elapsed_ns: None,
    )
    with pytest.warns(DeprecationWarning, match="goes with version 2") as told:
        manager = PluginManager({"acme": acme}, enabled=False, strict=True)
    texts = {str(warning.message) for warning in told}
    assert texts == {"this hook goes with version 2", "elapsed_ns goes with version 2"}
    assert manager.find("clusterer", "acme/stripes").plugin == "acme"
