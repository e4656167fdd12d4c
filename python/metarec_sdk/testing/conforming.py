"""Checks of the level *conforms* that are the same for every kind."""

from __future__ import annotations

import random
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from metarec_sdk.plugins.boundary import RESULTS
from metarec_sdk.plugins.read_only import content, read_only
from metarec_sdk.testing.arrays import changed_in_place, owned, round_trip, strided
from metarec_sdk.testing.cases import Answers, Inputs
from metarec_sdk.testing.check import Level, Skip, check
from metarec_sdk.testing.samples import world
from metarec_sdk.testing.subject import Subject

CONFORMS = Level.CONFORMS
FIT_SECONDS = 60.0
"""A fit on the 48 people of the sample may take this long."""
ASK_SECONDS = 2.0
"""A batch of 256 rows may take this long."""
ASK_MIB = 256.0
"""A batch of 256 rows may take this much memory at its peak."""


def _checked(subject: Subject, component: Any, inputs: Inputs) -> Answers:
    answers = subject.ask(component, inputs)
    for method, answer in answers.items():
        RESULTS[subject.kind, method](component, inputs, answer, True)
    return answers


@check(CONFORMS, but=("content", "meta_learner"))
def fits_in_time(subject: Subject) -> None:
    """A fit on 48 people and 30 items ends within a minute."""
    started = time.perf_counter()
    subject.fitted()
    seconds = time.perf_counter() - started
    assert seconds <= FIT_SECONDS, f"it takes {seconds:.0f} s"


@check(CONFORMS)
def results_have_their_form(subject: Subject) -> None:
    """Every result has the dtype, shape and range of its protocol, and is finite."""
    _checked(subject, subject.ready, subject.inputs)


@check(CONFORMS, but=("meta_learner",))
def empty_batch(subject: Subject) -> None:
    """No rows in, no rows out."""
    _checked(subject, subject.ready, subject.take(slice(0, 0)))


@check(CONFORMS, but=("meta_learner",))
def one_row(subject: Subject) -> None:
    """Each row can be asked about by itself."""
    for row in range(min(5, subject.n_rows)):
        _checked(subject, subject.ready, subject.take(slice(row, row + 1)))


@check(CONFORMS, but=("meta_learner", "content"))
def rows_are_independent(subject: Subject) -> None:
    """What a row gets doesn't depend on the other rows of the batch; events, not on those of other people."""
    rows = subject.case.rows
    assert rows is not None
    whole = rows(subject.inputs, subject.ask(subject.ready))
    for half in (0, 1):
        order = np.arange(subject.n_rows)[half::2]
        chosen = subject.take(order)
        for row, alone in zip(order, rows(chosen, subject.ask(subject.ready, chosen))):
            np.testing.assert_allclose(
                np.asarray(alone, np.float64),
                np.asarray(whole[row], np.float64),
                rtol=1e-3,
                atol=1e-4,
                err_msg=f"row {row} differs when fewer rows are asked about",
            )


@check(CONFORMS)
def read_only_arguments(subject: Subject) -> None:
    """Read-only arrays are enough."""
    component = subject.new()
    if subject.case.fit is not None:
        subject.case.fit(component, read_only(world()), np.random.default_rng(11))
    subject.ask(component, tuple(read_only(value) for value in subject.inputs))


@check(CONFORMS, but=("meta_learner",))
def strided_arguments(subject: Subject) -> None:
    """Arrays that aren't contiguous give the same answer, or are refused with a `ValueError`."""
    expected = content(subject.ask(subject.ready))
    try:
        got = content(subject.ask(subject.ready, tuple(strided(value) for value in subject.inputs)))
    except ValueError:
        return
    assert got == expected, "the answer to a strided view differs from that to its copy"


@check(CONFORMS, but=("meta_learner",))
def arguments_unchanged(subject: Subject) -> None:
    """What it is given is as it was, after a fit and after a question."""
    before = content(world())
    inputs = tuple(owned(value) for value in subject.inputs)
    expected = content(inputs)
    component = subject.new()
    given = owned(world())
    if subject.case.fit is not None:
        subject.case.fit(component, given, np.random.default_rng(11))
    assert content(given) == before, "fit changed its arguments"
    subject.ask(component, inputs)
    assert content(inputs) == expected, "a question changed its arguments"


@check(CONFORMS)
def same_question_same_answer(subject: Subject) -> None:
    """The same question gets the same bytes again."""
    assert content(subject.ask(subject.ready)) == content(subject.ask(subject.ready))


@check(CONFORMS)
def same_seed_same_bytes(subject: Subject) -> None:
    """Two fits with one seed give the same answers, whatever the global random state."""
    np.random.seed(1)  # noqa: NPY002 - it mustn't matter
    random.seed(1)
    one = content(subject.ask(subject.fitted(seed=5)))
    np.random.seed(2)  # noqa: NPY002
    random.seed(2)
    assert one == content(subject.ask(subject.fitted(seed=5))), "draw from the rng that fit is given"


@check(CONFORMS)
def global_random_state_unchanged(subject: Subject) -> None:
    """Fit and questions leave the states of random and numpy.random alone."""

    def state() -> tuple[Any, ...]:
        return random.getstate(), np.random.get_state(legacy=False)["state"]["key"].tobytes()  # noqa: NPY002

    np.random.seed(3)  # noqa: NPY002 - a state that a draw is sure to change
    before = state()
    subject.ask(subject.fitted())
    assert state() == before, "draw from the rng that fit is given"


@check(CONFORMS, but=("meta_learner",))
def instances_are_independent(subject: Subject) -> None:
    """Another instance that is fitted or asked changes nothing in the first."""
    expected = content(subject.ask(subject.ready))
    other = subject.fitted(seed=99)
    subject.ask(other, subject.take(slice(0, 2)))
    assert content(subject.ask(subject.ready)) == expected, "instances share state"


@check(CONFORMS, but=("meta_learner", "content"))
def fitting_again_starts_anew(subject: Subject) -> None:
    """A second fit on the same data gives what the first gave."""
    fit = subject.case.fit
    assert fit is not None
    component = subject.fitted(seed=5)
    expected = content(subject.ask(component))
    fit(component, world(), np.random.default_rng(5))
    assert content(subject.ask(component)) == expected, "the second fit builds on the first"


@check(CONFORMS, but=("meta_learner", "content"))
def unfitted_refused(subject: Subject) -> None:
    """A question before a fit raises."""
    component = subject.new()
    try:
        subject.ask(component)
    except Exception:
        return
    if content(subject.ask(component)) != content(subject.ask(subject.ready)):
        raise AssertionError("it answers before it is fitted; raise metarec_sdk.NotFittedError")


@check(CONFORMS)
def results_are_owned(subject: Subject) -> None:
    """Writing into a result changes no later answer; only an item matrix may be lent."""
    component = subject.fitted()
    first = subject.ask(component)
    expected = content(first)
    changed_in_place({method: answer for method, answer in first.items() if method != "item_matrix"})
    assert content(subject.ask(component)) == expected, "return a copy, not what you keep"


@check(CONFORMS, but=("meta_learner",))
def threads_agree(subject: Subject) -> None:
    """Two threads that ask at once get the answers of one."""
    expected = content(subject.ask(subject.ready))
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: content(subject.ask(subject.ready)), range(6)))
    assert all(answer == expected for answer in answers), "answers differ when two threads ask at once"


@check(CONFORMS, but=("content", "reranker", "rule"))
def state_is_arrays(subject: Subject) -> None:
    """The state is a dict of named NumPy arrays of numbers or booleans."""
    component = subject.ready if subject.case.fit else _learned(subject)
    for name, value in subject.state(component).items():
        assert isinstance(name, str), f"the name {name!r} is no text"
        assert isinstance(value, np.ndarray), f"{name} is a {type(value).__name__}, no NumPy array"
        assert value.dtype.kind in "iufb", f"{name} has dtype {value.dtype}; store text as its bytes (uint8)"


@check(CONFORMS, but=("content", "reranker", "rule"))
def state_comes_back(subject: Subject) -> None:
    """A new component that takes the state from a file gives the same answers."""
    component = subject.ready if subject.case.fit else _learned(subject)
    state = round_trip(subject.state(component))
    again = subject.new()
    again.restore(state)
    assert content(subject.ask(again)) == content(subject.ask(component)), "restore doesn't bring it all back"


@check(CONFORMS, but=("content", "reranker", "rule", "meta_learner"))
def state_outlives_a_fit(subject: Subject) -> None:
    """The state that was given out stays as it is when the component is fitted again."""
    fit = subject.case.fit
    assert fit is not None
    component = subject.fitted(seed=5)
    state = subject.state(component)
    before = content(state)
    given = world()
    smaller = replace(
        given,
        log=given.log.take(slice(0, 20)),
        events=given.events.filter(pl.col("user_id").is_in(given.users["user_id"].head(20).to_list())),
        features=given.features[8:],
        codes=given.codes[8:],
    )
    fit(component, smaller, np.random.default_rng(6))
    assert content(state) == before, "fit writes into arrays that state has given out; make new ones"


@check(CONFORMS, but=("content", "reranker", "rule"))
def damaged_state_refused(subject: Subject) -> None:
    """A state that lacks its arrays is refused by `restore`, not found out later."""
    component = subject.ready if subject.case.fit else _learned(subject)
    if not subject.state(component):
        raise Skip("its state is empty")
    try:
        subject.new().restore({})
    except Exception:
        return
    raise AssertionError("restore({}) passes; raise metarec_sdk.ArtefactError")


@check(CONFORMS, but=("meta_learner",))
def answers_in_time(subject: Subject) -> None:
    """A batch of 256 rows is answered within two seconds."""
    _, seconds = _timed(lambda: subject.ask(subject.ready, _batch(subject)))
    assert seconds <= ASK_SECONDS, f"256 rows take {seconds:.1f} s"


@check(CONFORMS, but=("meta_learner",))
def answers_in_memory(subject: Subject) -> None:
    """A batch of 256 rows takes at most 256 MiB at its peak."""
    component, inputs = subject.ready, _batch(subject)
    tracemalloc.start()
    try:
        subject.ask(component, inputs)
        peak = tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()
    assert peak <= ASK_MIB, f"256 rows take {peak:.0f} MiB"


def _batch(subject: Subject) -> Inputs:
    if subject.kind in ("content", "behaviour", "feedback"):  # frames, whose rows mustn't repeat
        return subject.inputs
    return subject.take(np.arange(256) % subject.n_rows)


def _learned(subject: Subject) -> Any:
    component = subject.new()
    subject.ask(component)
    return component


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    result = call()
    return result, time.perf_counter() - started
