"""Which gates the final members are served with."""

import numpy as np

from metarec_sdk.recommender.decisions import Decisions, undecided
from metarec_sdk.recommender.gates import Gates
from metarec_sdk.recommender.personalise import NOTHING
from metarec_sdk.recommender.popularity import BANDS
from metarec_sdk.types import MetaFit

LEARNED = MetaFit({}, {"psi_out": np.ones((3, 2), np.float32)}, [], {})


def gates(level: float) -> Gates:
    scale = np.ones((len(BANDS), 5))
    return Gates(np.full((len(BANDS), 5), level), np.zeros(5), scale, np.full(len(BANDS), -1, np.int32))


def test_gates_follow_what_the_final_members_learned():
    form = np.zeros(len(BANDS), np.int32)
    decided = Decisions(1, LEARNED, ["symmetric"] * len(BANDS), form, gates(1.0), "all-time", gates(2.0))
    assert decided.gates_for(LEARNED) is decided.gates
    assert decided.gates_for(NOTHING) is decided.plain_gates
    plain = Decisions(1, NOTHING, ["symmetric"] * len(BANDS), form, gates(1.0), "all-time")
    assert plain.gates_for(NOTHING) is plain.gates
    assert undecided().gates_for(NOTHING) is not None
