"""The training loop with a network and a sampler that aren't SASRec's."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from metarec_sdk.backbones.network import Drop  # noqa: E402
from metarec_sdk.backbones.training import Trainer, TrainingPlan  # noqa: E402
from metarec_sdk.backbones.windows import Batch, WindowSampler  # noqa: E402
from metarec_sdk.types import Histories, no_progress  # noqa: E402

N_ITEMS = 9


class Popularity(torch.nn.Module):
    """One query for everybody over a table of three times the parameters: the optimum is known."""

    def __init__(self) -> None:
        super().__init__()
        self.score = torch.nn.Parameter(torch.zeros(N_ITEMS, 1))

    def table(self) -> torch.Tensor:
        return 3.0 * self.score  # [n, 1]

    def states(self, batch: Batch, drop: Drop) -> torch.Tensor:
        return torch.ones(*batch.targets.shape, 1)  # [b, t, 1]

    def encode(self, histories: Histories) -> torch.Tensor:
        return torch.ones(len(histories), 1)


class Counting:
    """A sampler that notes what it was made from, and what was asked of it."""

    def __init__(self, histories: Histories) -> None:
        self.users = len(histories)
        self.epochs = 0
        self._windows = WindowSampler(
            histories, history_limit=4, short_share=0.0, set_target=False, batch_size=16
        )

    def epoch(self, rng: np.random.Generator) -> Iterator[Batch]:
        self.epochs += 1
        return self._windows.epoch(rng)

    def n_batches(self) -> int:
        return self._windows.n_batches()


def _plan(**changes: object) -> TrainingPlan:
    settings = {
        "history_limit": 4,
        "dropout": 0.0,
        "epochs": 30,
        "learning_rate": 0.05,
        "patience": 30,
        "low_precision": False,
        "negatives": None,
        "holdout": "none",
    }
    return TrainingPlan(**{**settings, **changes})  # type: ignore[arg-type]


def test_any_network_reaches_the_optimum_through_its_own_table() -> None:
    rng = np.random.default_rng(0)
    shares = np.arange(1, N_ITEMS + 1) / 45
    rows = [rng.choice(N_ITEMS, size=6, p=shares).tolist() for _ in range(200)]
    histories, network, samplers = Histories.from_lists(rows), Popularity(), []

    def sampler_of(training: Histories) -> Counting:
        samplers.append(Counting(training))
        return samplers[-1]

    record = Trainer(network, _plan(), np.random.default_rng(1)).fit(histories, sampler_of, no_progress)
    assert [(each.users, each.epochs) for each in samplers] == [(200, 30)]
    learned = network.table()[:, 0].softmax(0).detach().numpy()
    seen = np.bincount(histories.items, minlength=N_ITEMS) / len(histories.items)
    np.testing.assert_allclose(learned, seen, atol=0.01)
    assert record.losses[-1] == pytest.approx(-(seen * np.log(seen)).sum(), abs=0.01)


def test_the_sampler_is_made_from_what_is_not_held_out() -> None:
    histories, users = Histories.from_lists([[i % N_ITEMS, 1, 2] for i in range(50)]), []

    def sampler_of(training: Histories) -> Counting:
        users.append(len(training))
        return Counting(training)

    plan = _plan(holdout="users", epochs=1)
    record = Trainer(Popularity(), plan, np.random.default_rng(0)).fit(histories, sampler_of, no_progress)
    assert users == [45]
    assert len(record.validation) == 1
