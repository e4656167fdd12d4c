import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metarec_sdk.errors import ArgumentError
from metarec_sdk.kernels.plan import CHUNK_ROWS, SURPLUS, _block_rows, plan_tasks

ids = st.lists(st.integers(-1, 6), max_size=80).map(lambda values: np.array(values, np.int64))


def covered(pieces, offsets, length, shift):
    """(segment, sorted place) of every row that a list of pieces covers; fails where a piece is empty."""
    found = []
    for segment, first in pieces.T.tolist():
        if segment == SURPLUS:
            continue
        end = min(first + length, int(offsets[segment + shift + 1]))
        assert int(offsets[segment + shift]) <= first < end
        found += [(segment, place) for place in range(first, end)]
    return found


@given(ids, st.sampled_from([16, 32]), st.booleans())
@settings(deadline=None, max_examples=60)
def test_order_segments_and_tiles_cover_every_row_once(tasks, block, presorted):
    tasks = np.sort(tasks) if presorted else tasks
    plan = plan_tasks(torch.from_numpy(tasks), 7, is_sorted=presorted, block_rows=block, lists=True)
    order = np.arange(len(tasks)) if plan.order is None else plan.order.numpy()
    np.testing.assert_array_equal(order, np.argsort(tasks, kind="stable"))
    counts = np.bincount(tasks + 1, minlength=8)
    np.testing.assert_array_equal(plan.offsets, np.concatenate([[0], np.cumsum(counts)]))
    assert plan.tiles.shape[1] == -(-len(tasks) // block) + min(8, len(tasks))
    expected = [(int(tasks[row]), place) for place, row in enumerate(order)]
    assert sorted(covered(plan.tiles, plan.offsets, block, 1)) == sorted(expected)
    with_task = [entry for entry in expected if entry[0] >= 0]
    assert sorted(covered(plan.chunks, plan.offsets[1:], CHUNK_ROWS, 0)) == sorted(with_task)


@given(ids)
@settings(deadline=None, max_examples=60)
def test_the_grouping_of_a_cpu_holds_every_row_once_and_parts_are_tasks(tasks):
    grouping = plan_tasks(torch.from_numpy(tasks), 7).grouping
    places = np.arange(len(tasks)) if grouping.places is None else grouping.places.numpy()
    assert len(set(places)) == len(tasks)
    by_place = np.full(grouping.n_places, -2)
    by_place[places] = tasks
    assert (by_place[grouping.n_with_task :] == -1).all()
    assert (tasks < 0).sum() == grouping.n_places - grouping.n_with_task
    for part in grouping.parts:
        inside = np.arange(7) if part.tasks is None else part.tasks.numpy()
        expected = np.repeat(inside, part.rows_each or np.diff([0, *part.bounds]))
        found = by_place[part.start : part.stop]
        assert ((found == expected) | (found == -2)).all()
    rows = torch.arange(len(tasks), dtype=torch.float32)[:, None] + 1
    assert torch.equal(grouping.unsort(grouping.sort(rows)), rows)
    assert grouping.sort(rows).sum() == rows.sum()


def test_each_way_of_grouping_is_taken_where_it_is_meant():
    def grouping(tasks, n_tasks):
        return plan_tasks(torch.from_numpy(tasks), n_tasks).grouping

    rng = np.random.default_rng(0)
    few = grouping(rng.integers(0, 16, 64), 16)
    assert [part.rows_each > 0 for part in few.parts] == [True]
    assert few.n_places > 64, "padded"
    long = grouping(np.sort(rng.integers(0, 16, 20_000)), 16)
    assert [part.rows_each for part in long.parts] == [0]
    many = grouping(rng.integers(0, 4096, 8192), 4096)
    assert len(many.parts) > 3
    assert many.n_places == 8192
    equal = plan_tasks(torch.arange(300).repeat_interleave(7), 300, is_sorted=True).grouping
    assert (equal.places, len(equal.parts)) == (None, 1)


@pytest.mark.parametrize(
    ("tasks", "n_tasks", "message"),
    [
        ([0, 3], 3, "got 0 … 3"),
        ([-2, 0], 3, "got -2 … 0"),
        ([0.5], 3, "int32 or int64"),
        ([[0]], 3, "int32 or int64"),
        ([-1], 0, "at least 1"),
    ],
)
def test_ids_that_are_not_tasks_raise(tasks, n_tasks, message):
    with pytest.raises(ArgumentError, match=message):
        plan_tasks(torch.tensor(tasks), n_tasks)


def test_many_long_tasks_have_places_of_their_own_in_the_workspace():
    """The rule by which two kernels find a chunk's place: no two chunks of long tasks share one."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        lengths = rng.choice([0, 1, 511, 512, 513, 1025, 3000], 12)
        tasks = np.repeat(np.arange(12), lengths)
        plan = plan_tasks(torch.from_numpy(tasks), 12, is_sorted=True, lists=True)
        places = []
        for task, begin in plan.chunks.T.tolist():
            first = int(plan.offsets[task + 1])
            if task >= 0 and lengths[task] > CHUNK_ROWS:
                places.append(begin // CHUNK_ROWS * 2 + (begin == first))
        assert len(set(places)) == len(places)
        assert max(places, default=-1) < 2 * -(-len(tasks) // CHUNK_ROWS)


def test_tiles_have_the_length_that_was_measured_to_be_faster():
    """A card on which the rule of `_block_rows` loses needs a table of its own: then this fails."""
    measured: dict[tuple, dict[int, float]] = {}
    with (Path(__file__).parents[3] / "benches/results/adapters_gpu.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["formulation"].startswith("ours, tiles of ") and row["mix"] == "uniform":
                size = (
                    int(row["rows"]),
                    int(row["tasks"]),
                    row["width"],
                    row["rank"],
                    row["dtype"],
                    row["card"],
                )
                block = int(row["formulation"].removeprefix("ours, tiles of "))
                measured.setdefault(size, {})[block] = float(row["median_us"])
    assert len(measured) >= 5
    for (n, n_tasks, *_), times in measured.items():
        assert set(times) == {16, 64}
        assert _block_rows(n, n_tasks) == min(times, key=times.get), (n, n_tasks, times)
