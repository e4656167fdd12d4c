"""Floors and aims, and what they are held against.

The source is a prototype of the same method, measured in one process with its peers on 2 cores of a Zen 4
with AVX-512 and VNNI, where int8 multiply-adds are four times as fast as fp32 ones. Without VNNI they are
less than three times as fast: there a missed floor says as much about the machine as about the code.
"""

from __future__ import annotations

from dataclasses import dataclass

SET_ON = "Zen 4 with AVX-512 and VNNI, 2 cores"


@dataclass(frozen=True, slots=True)
class Target:
    """A floor and an aim for the cells whose name matches."""

    cells: str
    """A regular expression that the whole name of a cell matches."""
    against: str
    """"best exact", the name of a contender, "own" (ours without the filter), "read" (reading the int8 items
    once) or "int8" (this machine's rate of int8 multiply-adds)."""
    floor: float
    aim: float
    ours: str = "metarec"
    """Our contender."""
    unit: str = "×"
    """"×" ours is so many times faster; "cost" so many times slower; "overhead" and "ceiling" in percent."""

    @property
    def larger_is_better(self) -> bool:
        return self.unit in {"×", "ceiling"}

    def reached(self, value: float, bound: float) -> bool:
        """Whether a value is on the right side of the floor or of the aim."""
        return value >= bound if self.larger_is_better else value <= bound


def _of_widths(
    name: str, against: str, pairs: dict[int, tuple[float, float]], unit: str = "×"
) -> list[Target]:
    return [
        Target(name.format(d=width), against, floor, aim, unit=unit) for width, (floor, aim) in pairs.items()
    ]


TARGETS: list[Target] = [
    *_of_widths("batch1024/100k/d{d}/k10/mixture", "best exact", {64: (6, 12), 128: (3.2, 6), 256: (3.5, 5)}),
    *(
        Target(r"batch1024/100k/d\d+/k10/mixture", peer, floor, aim)
        for peer, floor, aim in (("torch", 7, 15), ("numpy", 20, 60), ("implicit", 5, 10))
    ),
    *_of_widths("batch1024/100k/d{d}/k100/mixture", "best exact", {64: (4, 8), 128: (2.3, 4.5)}),
    Target(r"batch1024/1M/d\d+/k10/mixture", "best exact", 7, 15),
    Target(r"batch1024/10k/d\d+/k10/mixture", "best exact", 3, 5),
    Target(r"batch1024/10k/d\d+/k100/mixture", "best exact", 2.2, 4),
    Target(r"batch32/10k/d\d+/k10/mixture", "best exact", 5, 8),
    Target(r"batch32/100k/d\d+/k10/mixture", "best exact", 7, 12),
    Target(r"batch32/1M/d\d+/k10/mixture", "best exact", 9, 18),
    Target(r"cold/1M/d128/k10/mixture/1-thread", "faiss flat", 3, 8, ours="metarec int8"),
    Target(r"cold/1M/d128/k10/mixture/1-thread", "faiss flat", 4, 8, ours="metarec int4"),
    Target(r"cold/1M/d128/k10/mixture/1-thread", "read", 1.35, 1.15, ours="metarec int8", unit="cost"),
    Target(r"warm/10k/d\d+/k10/mixture", "best exact", 2, 3),
    Target(r"warm/100k/d\d+/k10/mixture", "best exact", 5, 10),
    Target(r"seen1024/(100k|1M)/d64/k10/mixture", "own", 10, 5, ours="metarec seen", unit="overhead"),
    Target(r"seen1024/10k/d64/k10/mixture", "implicit seen", 4, 10, ours="metarec seen"),
    Target(r"seen1024/100k/d64/k10/mixture", "implicit seen", 5, 12, ours="metarec seen"),
    Target(r"seen1024/1M/d64/k10/mixture", "implicit seen", 7, 18, ours="metarec seen"),
    *_of_widths(
        "batch1024/100k/d{d}/k10/mixture",
        "int8",
        {64: (55, 75), 128: (60, 85), 256: (65, 88)},
        unit="ceiling",
    ),
    Target(r"approximate1024/100k/d64/k10/mixture", "faiss HNSW", 2.5, 4),
    Target(r"approximate1/100k/d64/k10/mixture", "faiss HNSW", 1.5, 2),
    Target(r"build/1M/d128/mixture", "numpy copy", 3, 1.5, unit="cost"),
]
