"""What a component returns is checked where it enters the host, and what it is given can't be changed."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from metarec_sdk.errors import PluginError
from metarec_sdk.plugins.boundary import RESULTS
from metarec_sdk.plugins.fallback import Failures, answered
from metarec_sdk.plugins.guard import Watch, guarded
from metarec_sdk.plugins.kinds import KINDS, members
from metarec_sdk.plugins.read_only import read_only
from metarec_sdk.plugins.records import ComponentRecord
from metarec_sdk.types import Histories, Memberships, MetaFit, TopK

TWO = Histories.from_lists([[0, 1], []])
LISTS = TopK(np.array([0, 2, 2]), np.array([0, 1]), np.array([1.0, 0.5], np.float32))
EVENTS = pl.DataFrame({"user_id": ["a", "a", "b"], "event_type": ["view"] * 3})


def component(kind: str, method: str, result, *, strict: bool = False):
    """A guarded component whose method gives ``result``, or what ``result`` makes of its arguments."""
    answer = result if callable(result) else (lambda *_: result)
    record = ComponentRecord(kind, "acme/it", dict, "", "acme", "metarec-acme", "1.2")
    made = SimpleNamespace(**{method: answer})
    if method in ("encode", "query"):
        made.item_matrix = lambda: np.zeros((3, 4), np.float32)
    return guarded(made, Watch(record, strict, Failures()))


def f32(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


def with_value(array: np.ndarray, value: float) -> np.ndarray:
    array.flat[0] = value
    return array


CSR = (np.array([0, 1, 1]), np.array([0], np.int32), f32(1))

REFUSED = [
    ("backbone", "encode", (TWO,), f32(3, 4), "float32.3, 4.; it must be float32.2"),
    ("backbone", "encode", (TWO,), np.zeros((2, 4)), "float64"),
    ("backbone", "encode", (TWO,), [[0.0]], "is a list"),
    ("backbone", "encode", (TWO,), with_value(f32(2, 4), np.nan), r"\[0, 0\] is nan"),
    ("backbone", "item_matrix", (), with_value(f32(2, 4), np.inf), r"\[0, 0\] is inf"),
    ("backbone", "item_matrix", (), np.asfortranarray(f32(2, 4)), "C-contiguous"),
    ("head", "query", (TWO,), f32(2), "float32.2.; it must be"),
    ("clusterer", "assign", (f32(2, 1),), np.zeros(2, np.int64), "int64"),
    ("clusterer", "assign", (f32(2, 1),), np.full(2, -2, np.int32), "holds -2"),
    ("clusterer", "memberships", (f32(2, 1),), None, "must be Memberships"),
    ("clusterer", "memberships", (f32(2, 1),), Memberships(np.zeros((2, 2), np.int32), f32(2, 2)), "sum 1"),
    ("meta_learner", "fit", (), {}, "must be a MetaFit"),
    ("meta_learner", "fit", (), MetaFit({"a": with_value(f32(2), np.nan)}, {}, [], {}), "a.0. is nan"),
    ("meta_learner", "fit", (), MetaFit({}, {"a": [1]}, [], {}), "a is a list"),
    ("item_item", "boosts", (TWO,), None, "tuple"),
    ("item_item", "boosts", (TWO,), (CSR[0][:2], *CSR[1:]), "must be int64.3"),
    ("item_item", "boosts", (TWO,), (np.array([0, 2, 1]), *CSR[1:]), "rise from 0"),
    ("item_item", "boosts", (TWO,), (CSR[0], np.array([-1], np.int32), CSR[2]), "holds -1"),
    ("feedback", "weigh", (EVENTS,), f32(3), "tuple"),
    ("feedback", "weigh", (EVENTS,), (f32(3), f32(3) - 1), "holds -1"),
    ("feedback", "weigh", (EVENTS,), (f32(2), f32(3)), "must be float32.3"),
    ("behaviour", "features", (EVENTS,), f32(3, 2), "must be float32.2"),
    ("behaviour", "log_likelihood", (EVENTS,), f32(2), "must be float64.2"),
    ("content", "encode", (EVENTS,), f32(2, 2), "must be float32.3"),
    ("reranker", "rescore", (TWO, LISTS, 2), f32(3), "must be float32.2"),
    ("reranker", "rescore", (TWO, LISTS, 2), with_value(f32(2), np.nan), "NaN"),
    ("reranker", "rescore", (TWO, LISTS, 2), with_value(f32(2), np.inf), "inf"),
    ("rule", "forbidden", (TWO, LISTS), f32(2), "must be bool.2"),
]


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(("kind", "method", "arguments", "result", "message"), REFUSED)
def test_a_wrong_result_is_refused_and_the_plugin_named(kind, method, arguments, result, message, strict):
    with pytest.raises(PluginError, match=message) as caught:
        getattr(component(kind, method, result, strict=strict), method)(*arguments)
    assert caught.value.__notes__ == [
        f"raised by plugin acme 1.2 (distribution metarec-acme): {kind} 'acme/it', {method}()"
    ]


ACCEPTED = [
    ("backbone", "encode", (TWO,), f32(2, 4)),
    ("backbone", "encode", (TWO,), np.full((2, 4), 3e38, np.float32)),  # finite, though the sum isn't
    ("backbone", "item_matrix", (), f32(3, 4)),
    ("clusterer", "assign", (f32(2, 1),), np.array([-1, 3], np.int32)),
    ("clusterer", "memberships", (f32(2, 1),), Memberships.parent(2)),
    ("meta_learner", "fit", (), MetaFit({"a": f32(2)}, {"b": np.zeros(1, np.int64)}, [], {})),
    ("head", "query", (TWO,), f32(2, 4)),
    ("item_item", "boosts", (TWO,), CSR),
    ("feedback", "weigh", (EVENTS,), (f32(3), f32(3))),
    ("behaviour", "features", (EVENTS,), f32(2, 0)),
    ("behaviour", "log_likelihood", (EVENTS,), np.zeros(2)),
    ("content", "encode", (EVENTS,), f32(3, 1)),
    ("reranker", "rescore", (TWO, LISTS, 2), with_value(f32(2), -np.inf)),
    ("rule", "forbidden", (TWO, LISTS), np.array([True, False])),
]


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(("kind", "method", "arguments", "result"), ACCEPTED)
def test_a_right_result_comes_through_unchanged(kind, method, arguments, result, strict):
    assert getattr(component(kind, method, result, strict=strict), method)(*arguments) is result


def test_every_method_of_every_kind_is_checked():
    wanted = {(kind.name, name) for kind in KINDS.values() for name in members(kind.protocol)}
    wanted -= {(kind, name) for kind, name in wanted if name in ("state", "restore", "column")}
    assert set(RESULTS) == wanted | {("clusterer", "memberships")}


def test_arguments_are_read_only():
    def overwrites(histories):
        histories.items[:] = 0
        return f32(2, 4)

    with pytest.raises(ValueError, match="read-only"):
        component("backbone", "encode", overwrites).encode(TWO)
    assert TWO.items.tolist() == [0, 1]
    TWO.items[0] = 0  # the host's own array stays writeable


def test_strict_mode_sees_a_change_behind_the_read_only_view():
    def overwrites(x):
        x.base[:] = 7
        return np.zeros(len(x), np.int32)

    x = f32(2, 1)
    with pytest.raises(PluginError, match="changed its arguments"):
        component("clusterer", "assign", overwrites, strict=True).assign(x)


def test_strict_mode_compares_the_width_with_the_item_matrix():
    made = component("backbone", "encode", f32(2, 5), strict=True)
    with pytest.raises(PluginError, match=r"must be float32\[2, 4\]"):
        made.encode(TWO)


def test_while_serving_the_rest_answers_and_the_failure_is_counted(caplog):
    made = component("backbone", "encode", lambda _: 1 // 0)
    for _ in range(3):
        assert answered(made, lambda: made.encode(TWO), lambda: "the rest") == "the rest"
    failures = made._watch.failures
    assert failures.count["acme"] == 3
    assert failures.last["acme"].startswith("backbone 'acme/it': ZeroDivisionError")
    assert len(caplog.records) == 1


def test_strict_mode_and_built_ins_fail_aloud():
    made = component("backbone", "encode", lambda _: 1 // 0, strict=True)
    with pytest.raises(ZeroDivisionError):
        answered(made, lambda: made.encode(TWO), lambda: "the rest")
    with pytest.raises(ZeroDivisionError):
        answered(object(), lambda: 1 // 0, lambda: "the rest")


@pytest.mark.parametrize(("kind", "method"), [("backbone", "encode"), ("backbone", "fit")])
def test_a_component_that_exits_does_not_end_the_host(kind, method):
    def leave(*_):
        raise SystemExit(3)

    made = component(kind, method, leave)
    with pytest.raises(PluginError, match=r"called sys\.exit\(\)") as caught:
        getattr(made, method)(TWO)
    assert "plugin acme 1.2" in caught.value.__notes__[0]
    assert answered(made, lambda: getattr(made, method)(TWO), lambda: "the others") == "the others"
    assert made._watch.failures.count["acme"] == 1


def test_an_object_without_an_array_to_protect_is_handed_over_itself():
    @dataclass
    class Plain:
        name: str
        inner: tuple[int, ...] = ()

    locked = np.zeros(2)
    locked.setflags(write=False)
    for value in (Plain("a"), Memberships, read_only(TWO), locked):
        assert read_only(value) is value
    assert read_only((TWO, 1))[0] is not TWO


@pytest.mark.parametrize("rest", [-np.inf, 3e38, -3e38, 0.0])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_one_bad_score_among_others_is_refused(bad, rest):
    lists = TopK(np.array([0, 100]), np.arange(100), np.zeros(100, np.float32))
    for place in (0, 50, 99):
        scores = np.full(100, rest, np.float32)
        assert component("reranker", "rescore", scores).rescore(TWO, lists, 5) is scores
        scores[place] = bad
        with pytest.raises(PluginError, match=r"NaN or \+inf"):
            component("reranker", "rescore", scores).rescore(TWO, lists, 5)
