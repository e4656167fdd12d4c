"""``--param kind.name=value`` and what JSON output makes of values that JSON doesn't have."""

from __future__ import annotations

import datetime

import numpy as np
import pytest

from metarec_sdk.cli.output import cell, plain
from metarec_sdk.cli.parameters import parse, parse_by_component
from metarec_sdk.errors import ArgumentError


def test_values_are_json_where_they_can_be_read_as_such():
    assert parse(
        [
            "clusterer.n_tasks=4",
            "clusterer.softness=0.5",
            "backbone.init=weights=a.safetensors",
            "head.on=true",
        ]
    ) == {
        "clusterer": {"n_tasks": 4, "softness": 0.5},
        "backbone": {"init": "weights=a.safetensors"},
        "head": {"on": True},
    }


def test_a_kind_may_be_written_with_a_hyphen():
    assert parse(["meta-learner.rank=2"]) == {"meta_learner": {"rank": 2}}


@pytest.mark.parametrize("text", ["n_tasks=4", "clusterer.n_tasks", "oracle.n=4", "clusterer.=4", ""])
def test_another_form_is_refused_with_an_example(text):
    with pytest.raises(ArgumentError, match=r"clusterer\.n_tasks=4"):
        parse([text])


def test_parameters_of_components():
    texts = ["acme/two-words.column=genres", 'acme/b.limits={"a.b": 2}', "acme/two-words.n-tasks=3"]
    assert parse_by_component(texts, {"acme/two-words", "acme/b"}) == {
        "acme/two-words": {"column": "genres", "n_tasks": 3},
        "acme/b": {"limits": {"a.b": 2}},
    }


@pytest.mark.parametrize("text", ["column=a", "acme/c.column=a", "acme/b=1", "acme/b.column"])
def test_another_form_or_component_is_refused(text):
    with pytest.raises(ArgumentError, match="among acme/a, acme/b"):
        parse_by_component([text], {"acme/b", "acme/a"})


def test_plain_values():
    given = {
        1: np.float32(0.5),
        "a": np.array([1, 2]),
        "nan": float("nan"),
        "inf": np.float64("inf"),
        "t": (datetime.date(2024, 5, 1), None, True),
    }
    assert plain(given) == {"1": 0.5, "a": [1, 2], "nan": None, "inf": None, "t": ["2024-05-01", None, True]}


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0.123456, "0.1235"), ([], "–"), (["a", 1], "a, 1"), (True, "True")]
)
def test_cells(value, text):
    assert cell(value) == text
