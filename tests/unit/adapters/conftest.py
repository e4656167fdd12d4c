"""A small world in which tasks differ or don't, and backbones and heads to learn it with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from metarec_sdk.types import Episodes, Float32, Histories, Memberships

GROUPS, PER_GROUP, WIDTH = 4, 8, 6
N_ITEMS = GROUPS * PER_GROUP


@pytest.fixture(autouse=True)
def _one_torch_thread():
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass
class World:
    """Items come in groups; a user's support is from one group x. Users of task 0 go on with x, users of task
    1 with the other group of the pair (swapped preferences) where the tasks differ, else with x as well."""

    episodes: Episodes
    memberships: Memberships
    task: np.ndarray


def make_world(
    n_users: int = 300, *, seed: int = 0, differ: bool = True, sizes: tuple[float, ...] = (0.5, 0.5)
) -> World:
    rng = np.random.default_rng(seed)
    task = rng.choice(len(sizes), n_users, p=np.array(sizes) / sum(sizes))
    group = rng.integers(0, GROUPS, n_users)
    supports, queries = [], []
    for u in range(n_users):
        support = rng.choice(PER_GROUP, rng.choice([0, 1, 2, 3]), replace=False) + group[u] * PER_GROUP
        wanted = group[u] ^ 1 if differ and task[u] == 1 else group[u]
        pool = np.setdiff1d(wanted * PER_GROUP + np.arange(PER_GROUP), support)
        supports.append(support.tolist())
        queries.append(rng.choice(pool, 3, replace=False).tolist())
    memberships = Memberships.parent(n_users)
    memberships.tasks[:, 0] = task
    users = np.arange(n_users, dtype=np.int32)
    return World(
        Episodes(Histories.from_lists(supports), Histories.from_lists(queries), users), memberships, task
    )


class MeanBackbone:
    """Not adaptable: a history is the mean of its items' rows."""

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        centres = np.repeat(rng.normal(size=(GROUPS, WIDTH)), PER_GROUP, axis=0)
        self.items = (centres + 0.3 * rng.normal(size=(N_ITEMS, WIDTH))).astype(np.float32)

    def fit(self, log, rng, progress=None) -> None: ...

    def item_matrix(self) -> Float32:
        return self.items

    def encode(self, histories: Histories) -> Float32:
        rows = [self.items[row].mean(0) if len(row) else np.zeros(WIDTH) for row in histories]
        return np.asarray(rows, np.float32).reshape(-1, WIDTH)

    def state(self):
        return {}

    def restore(self, state) -> None: ...


class TwoSiteBackbone(MeanBackbone):
    """Adaptable: ``h = x + tanh(W x)`` with sites "inner" (inside the tanh) and "final"."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        weight = 0.3 * np.random.default_rng(seed + 1).normal(size=(WIDTH, WIDTH))
        self.weight = weight.astype(np.float32)

    def encode(self, histories: Histories) -> Float32:
        x = super().encode(histories)
        return x + np.tanh(x @ self.weight.T)

    def adapter_sites(self) -> dict[str, tuple[int, int]]:
        return {"inner": (WIDTH, WIDTH), "final": (WIDTH, WIDTH)}

    def adapter_inputs(self, histories: Histories) -> dict[str, Float32]:
        return {"x": super().encode(histories)}

    def adapted(self, inputs, delta):
        import torch

        x = inputs["x"]
        h = x + torch.tanh(x @ torch.from_numpy(self.weight).to(x).T + delta("inner", x))
        return h + delta("final", h)


class OtherHead(MeanBackbone):
    """A head of a kind that no meta-learner knows."""

    def query(self, histories: Histories, memberships: Memberships | None = None) -> Float32:
        return self.encode(histories)


@pytest.fixture
def world() -> Callable[..., World]:
    return make_world


@pytest.fixture
def mean_backbone() -> MeanBackbone:
    return MeanBackbone()


@pytest.fixture
def two_site_backbone() -> TwoSiteBackbone:
    return TwoSiteBackbone()


@pytest.fixture
def other_head() -> OtherHead:
    return OtherHead()


@pytest.fixture
def natpar():
    """A head fitted on people of the world who follow their support (no swap)."""
    from metarec_sdk.heads.natpar import Natpar
    from metarec_sdk.types import TrainingLog

    made = make_world(400, seed=90, differ=False)
    log = TrainingLog(made.episodes.support.join(made.episodes.query), N_ITEMS)
    head = Natpar(factors=8, iterations=8)
    head.fit(log, np.random.default_rng(0))
    return head


@pytest.fixture
def ridge():
    from metarec_sdk.heads.ridge import Ridge
    from metarec_sdk.types import TrainingLog

    made = make_world(400, seed=90, differ=False)
    log = TrainingLog(made.episodes.support.join(made.episodes.query), N_ITEMS)
    head = Ridge(factors=8, iterations=8)
    head.fit(log, np.random.default_rng(0))
    return head
