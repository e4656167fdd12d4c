"""Observers hear of fits and batches, and can neither break nor change them."""

from __future__ import annotations

import numpy as np
import pytest

from metarec_sdk.plugins import PluginManager, RankRequest
from metarec_sdk.types import Histories, TopK

REQUEST = RankRequest(Histories.from_lists([[1, 2], []]), k=1, generation="g1")


def result() -> TopK:
    return TopK(np.array([0, 1, 2]), np.array([4, 5]), np.array([1.0, 0.5], np.float32))


def test_each_observer_gets_the_arguments_that_it_asks_for(plugin):
    heard: list[object] = []
    one = plugin(metarec_batch_ranked=lambda elapsed_ns: heard.append(elapsed_ns))
    two = plugin(
        metarec_batch_ranked=lambda request, result: heard.append(
            (request.k, request.generation, len(result))
        ),
        metarec_fit_finished=lambda report: heard.append(report),
    )
    manager = PluginManager({"one": one, "two": two}, enabled=False)
    assert manager.observes_batches
    manager.batch_ranked(REQUEST, result(), 42)
    manager.fit_finished("report")
    assert heard == [42, (1, "g1", 2), "report"]


def test_without_observers_there_is_nothing_to_tell():
    manager = PluginManager(enabled=False)
    assert not manager.observes_batches
    manager.batch_ranked(REQUEST, result(), 1)


def test_a_failing_observer_is_recorded_and_the_others_are_called(plugin, caplog):
    heard: list[int] = []

    def fails(result):
        raise RuntimeError("observer broke")

    manager = PluginManager(
        {
            "bad": plugin(metarec_batch_ranked=fails),
            "good": plugin(metarec_batch_ranked=lambda elapsed_ns: heard.append(elapsed_ns)),
        },
        enabled=False,
    )
    manager.batch_ranked(REQUEST, result(), 1)
    manager.batch_ranked(REQUEST, result(), 2)

    assert heard == [1, 2]
    bad = next(record for record in manager.records if record.name == "bad")
    assert bad.failures == 2
    assert bad.last_failure == "metarec_batch_ranked: RuntimeError: observer broke"
    assert len(caplog.records) == 1


def test_strict_lets_an_observer_raise(plugin):
    manager = PluginManager(
        {"bad": plugin(metarec_fit_finished=lambda report: 1 // 0)}, enabled=False, strict=True
    )
    with pytest.raises(ZeroDivisionError) as caught:
        manager.fit_finished(None)
    assert "plugin bad" in caught.value.__notes__[0]


def test_an_observer_cannot_change_a_result(plugin):
    def overwrite(request, result):
        result.items[:] = 0

    def overwrite_request(request):
        request.histories.items[:] = 0

    manager = PluginManager(
        {
            "one": plugin(metarec_batch_ranked=overwrite),
            "two": plugin(metarec_batch_ranked=overwrite_request),
        },
        entry_points=(),
    )
    ranked = result()
    manager.batch_ranked(REQUEST, ranked, 1)
    assert ranked.items.tolist() == [4, 5]
    assert REQUEST.histories.items.tolist() == [1, 2]
    assert [record.failures for record in manager.records] == [0, 1, 1]
    ranked.items[:] = 3  # the host's own array stays writeable
