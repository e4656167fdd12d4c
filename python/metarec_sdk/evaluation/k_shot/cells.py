"""Results of one job as a file: per-user metrics of every case, time and memory."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from metarec_sdk.evaluation.contest import Contest
from metarec_sdk.evaluation.judging import CaseScores
from metarec_sdk.evaluation.scores import CaseBoard, MethodScores

_DIGITS = 6


def board_to_dict(board: CaseBoard) -> dict[str, Any]:
    """JSON-able."""
    protocol, order, k = board.key
    return {
        "protocol": protocol,
        "order": order,
        "k": k,
        "n_users": board.n_users,
        "catalogue_size": board.catalogue_size,
        "unknown_share": board.unknown_share,
        "protocol_hash": board.protocol_hash,
        "methods": [_method_to_dict(method) for method in board.methods.values()],
    }


def board_from_dict(content: dict[str, Any]) -> CaseBoard:
    """What `board_to_dict` gave."""
    board = CaseBoard(
        (content["protocol"], content["order"], content["k"]),
        content["n_users"],
        content["catalogue_size"],
        content["unknown_share"],
        content["protocol_hash"],
    )
    for method in content["methods"]:
        scores = [_scores_from_dict(each) for each in method["seeds"]]
        board.methods[method["method"]] = MethodScores(
            method["method"],
            method["kind"],
            scores,
            method["fit_seconds"],
            method["settings"],
            method["validation_ndcg"],
        )
    return board


def write_cell(path: Path, contest: Contest, facts: dict[str, Any]) -> None:
    """Write a job's boards and facts, whole or not at all."""
    content = {**facts, "cases": [board_to_dict(board) for board in contest.boards.values()]}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    with partial.open("w", encoding="utf-8") as file:
        json.dump(content, file, allow_nan=False, separators=(",", ":"))
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def read_cell(path: Path) -> dict[str, Any]:
    """Facts, and ``cases`` as `CaseBoard` objects."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content | {"cases": [board_from_dict(each) for each in content["cases"]]}


def _method_to_dict(method: MethodScores) -> dict[str, Any]:
    return {
        "method": method.method,
        "kind": method.kind,
        "fit_seconds": method.fit_seconds,
        "settings": None if method.settings is None else dict(method.settings),
        "validation_ndcg": method.validation_ndcg,
        "seeds": [
            {
                "values": _rounded(scores.values),
                "by_stratum": _rounded(scores.by_stratum),
                "covered": int(scores.covered.sum()),
                "seconds": scores.seconds,
            }
            for scores in method.seeds
        ],
    }


def _scores_from_dict(content: dict[str, Any]) -> CaseScores:
    return CaseScores(
        np.array(content["values"], np.float64),
        np.array(content["by_stratum"], np.float64),
        np.ones(content["covered"], np.bool_),
        content["seconds"],
    )


def _rounded(values: np.ndarray[Any, np.dtype[np.float64]]) -> list[list[float | None]]:
    return [[None if np.isnan(value) else round(value, _DIGITS) for value in row] for row in values.tolist()]
