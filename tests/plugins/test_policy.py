"""Allow and deny lists by name, version and hash, before anything is imported."""

from __future__ import annotations

import sys

import pytest

from metarec_sdk.errors import ArgumentError, UnknownIdError
from metarec_sdk.plugins import PluginManager, Status

GOOD = """
import metarec_sdk

@metarec_sdk.hookimpl
def metarec_register_rules(register):
    register("it", "metarec_sdk.ranking.quota:Quota")
"""
OTHER = "0" * 64


def status(*, name: str = "acme", **arguments) -> tuple[Status, str]:
    (record,) = [record for record in PluginManager(**arguments).records if record.name == name]
    return record.status, record.error or ""


@pytest.fixture
def acme(install) -> str:
    """An installed plugin acme 1.2; gives the hash of its code."""
    install("acme", GOOD)
    return PluginManager(enabled=False).sha256("acme")


@pytest.mark.parametrize(
    ("enabled", "loads"),
    [
        (["acme"], True),
        (["acme==1.2"], True),
        (["acme == 1.2"], True),
        (["acme==1.3"], False),
        (["acme==1.3", "acme==1.2"], True),
        (["acme@sha256:{hash}"], True),
        (["acme==1.2@sha256:{hash}"], True),
        (["acme==1.3@sha256:{hash}"], False),
        ([f"acme@sha256:{OTHER}"], False),
        (["other==1.2"], False),
    ],
)
@pytest.mark.parametrize("way", ["argument", "environment"])
def test_allowed_by_version_and_hash(acme, monkeypatch, enabled, loads, way):
    entries = [entry.format(hash=acme) for entry in enabled]
    if way == "environment":
        monkeypatch.setenv("METAREC_PLUGINS", ",".join(entries))
    found, error = status(**({"enabled": entries} if way == "argument" else {}))
    assert found is (Status.LOADED if loads else Status.DISABLED)
    assert ("metarec_acme_for_test" in sys.modules) is loads
    assert loads or "allowed" in error


@pytest.mark.parametrize(
    ("disabled", "loads"),
    [("acme", False), ("acme==1.2", False), ("acme==9", True), ("acme@sha256:{hash}", False)],
)
def test_denied_by_version_and_hash(acme, disabled, loads):
    found, _ = status(enabled=True, disabled=[disabled.format(hash=acme)])
    assert found is (Status.LOADED if loads else Status.DISABLED)


def test_the_hash_follows_the_code(acme, install, tmp_path):
    (tmp_path / "metarec-acme" / "metarec_acme_for_test.py").write_text(GOOD + "# changed\n")
    found, error = status(enabled=[f"acme@sha256:{acme}"])
    assert found is Status.DISABLED
    assert PluginManager(enabled=False).sha256("acme") in error


def test_the_hash_of_a_file_and_of_an_object(tmp_path, plugin, stripes):
    (tmp_path / "mine.py").write_text(GOOD)
    (tmp_path / "same.py").write_text(GOOD)
    mine = plugin(metarec_register_clusterers=lambda register: register("it", stripes))
    manager = PluginManager({"one": tmp_path / "mine.py", "object": mine, "gone": "no_such_module"})
    assert len(manager.sha256("one")) == 64
    assert manager.sha256("object") is None
    assert manager.sha256("gone") is None
    with pytest.raises(UnknownIdError, match="'two'"):
        manager.sha256("two")
    denied = f"one@sha256:{manager.sha256('one')}"
    assert status(plugins={"one": tmp_path / "mine.py"}, disabled=[denied], name="one")[0] is Status.DISABLED


@pytest.mark.parametrize("entry", ["acme>=1", "acme@md5:00", "acme@sha256:12", "", "two words"])
def test_a_malformed_entry_is_told(entry):
    with pytest.raises(ArgumentError, match="NAME==VERSION"):
        PluginManager(enabled=[entry])


def test_two_files_of_one_name_are_two_plugins(tmp_path):
    for folder, kind in (("a", "rules"), ("b", "rerankers")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(
            f"import metarec_sdk\nclass It:\n    source = {folder!r}\n"
            "    def fit(self, items, vectors): pass\n"
            "    def rescore(self, histories, candidates, k): pass\n"
            "    def forbidden(self, histories, candidates): pass\n"
            f"@metarec_sdk.hookimpl\ndef metarec_register_{kind}(register):\n"
            "    register('it', f'{__name__}:It')\n"
        )
    one = PluginManager([tmp_path / "a" / "mine.py"], enabled=False)
    two = PluginManager([tmp_path / "b" / "mine.py"], enabled=False)
    assert one.create("rule", "mine/it").source == "a"
    assert two.create("reranker", "mine/it").source == "b"
