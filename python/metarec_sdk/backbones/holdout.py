"""Held-out next events, which early stopping is judged on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from metarec_sdk.backbones.network import Network
from metarec_sdk.types import Bool, Histories, Int64

HOLDOUT_SHARE = 0.1
HOLDOUT_LIMIT = 512
SHORT_CUTS = (0, 1, 3, 5, 10, 20)
"""Events after which a held-out user is judged …"""
LONG_CUTS = 6
"""… and at so many places from there on, evenly spaced up to the last event: both lengths must work."""
_ROWS = 128

HoldoutMode = Literal["users", "events", "none"]


@dataclass(frozen=True, slots=True)
class Holdout:
    """Contexts whose next event the network hasn't seen."""

    contexts: Histories
    """v rows."""
    targets: Int64
    """i64[v], the item that follows each row."""

    def __len__(self) -> int:
        return len(self.targets)

    @torch.no_grad()
    def ndcg(self, network: Network, history_limit: int) -> float:
        """Mean NDCG@10 of the targets among all items that their context lacks; ties count half."""
        table = network.table()  # [n, d]
        device = table.device
        gains = []
        for first in range(0, len(self), _ROWS):
            rows = slice(first, first + _ROWS)
            context = self.contexts.take(rows)
            target = torch.from_numpy(self.targets[rows]).to(device)[:, None]  # [b, 1]
            scores = network.encode(context.last(history_limit)) @ table.T  # [b, n]
            target_score = scores.gather(1, target)
            scores.scatter_(1, target, -math.inf)
            row = torch.from_numpy(np.repeat(np.arange(len(context)), context.lengths))
            scores[row.to(device), torch.from_numpy(context.items.astype(np.int64)).to(device)] = -math.inf
            above, level = (scores > target_score).sum(1), (scores == target_score).sum(1)
            rank = above.double() + 0.5 * level.double()  # 0 is the first place
            gains.append(torch.where(rank < 10, 1.0 / torch.log2(rank + 2.0), 0.0).cpu())
        return float(torch.cat(gains).mean())


def hold_out(histories: Histories, mode: HoldoutMode, rng: np.random.Generator) -> tuple[Histories, Holdout]:
    """(what to train on, what to judge on).

    At most `HOLDOUT_SHARE` of the users, and `HOLDOUT_LIMIT` of them, among those with two events or more.
    ``"users"`` keeps all their events from training and judges after 0, 1, 3, 5, 10 and 20 events and in up
    to six later places; ``"events"`` keeps only their last event from training and judges on it; ``"none"``
    holds out nobody.
    """
    eligible = np.flatnonzero(histories.lengths >= 2)
    size = 0 if mode == "none" else min(int(HOLDOUT_SHARE * len(eligible)), HOLDOUT_LIMIT)
    chosen = np.sort(rng.choice(eligible, size, replace=False)) if size else eligible[:0]
    held = histories.take(chosen)
    if mode == "users":
        kept: Bool = np.ones(len(histories), np.bool_)
        kept[chosen] = False
        training, cuts = histories.take(kept), _cuts(held.lengths)
    else:
        lengths = histories.lengths.copy()
        lengths[chosen] -= 1
        training, cuts = histories.first(lengths), held.lengths[:, None] - 1
    user, column = np.nonzero(cuts >= 0)
    cut = cuts[user, column]
    targets = held.items[held.offsets[user] + cut].astype(np.int64)
    return training, Holdout(held.take(user).first(cut), targets)


def _cuts(lengths: Int64) -> Int64:
    """i64[u, cuts], events before the target; -1 fills up rows of short histories."""
    last = lengths[:, None] - 1
    short = np.where(np.array(SHORT_CUTS) < last, SHORT_CUTS, -1)
    spread = np.arange(1, LONG_CUTS + 1) / LONG_CUTS
    begin = np.minimum(SHORT_CUTS[-1], last - 1)
    long = begin + np.ceil(spread * (last - begin)).astype(np.int64)  # ends at `last`
    long[:, 1:][long[:, 1:] == long[:, :-1]] = -1
    return np.concatenate([short, long], axis=1)
