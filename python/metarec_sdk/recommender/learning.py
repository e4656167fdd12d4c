"""What an update learns: adapters and head priors, from the events since the last generation."""

from __future__ import annotations

from typing import Any

import numpy as np

from metarec_sdk.data import episodes
from metarec_sdk.recommender.components import Components
from metarec_sdk.recommender.personalise import adapters_of
from metarec_sdk.recommender.progress import Step
from metarec_sdk.recommender.stack import Stack
from metarec_sdk.recommender.validation import N_QUERY
from metarec_sdk.types import Histories, Int32, MetaFit

MIN_EPISODES = 20
"""Below this many new episodes nothing can be told from chance, so adapters stay as they are."""


def learn_from_new(
    components: Components, stack: Stack, before: Histories, later: Histories, codes: Int32 | None, step: Step
) -> tuple[Stack, bool, list[dict[str, Any]]]:
    """The stack with adapters and head learned from episodes whose support is what a user did before and
    whose query is what they did since; a fifth of them stops the learning.

    Returns (the stack, whether anything changed, the structure rows).
    """
    old, new = stack.usable(before), later.keep(later.items < stack.n_trained)
    drawn = episodes(old.join(new), old.lengths, N_QUERY, repeats="keep")
    if len(drawn) < MIN_EPISODES:
        return stack, False, []
    memberships = stack.tasks.memberships(drawn.support, None, None if codes is None else codes[drawn.users])
    rng = components.rng(f"update {int(later.timestamps.max(initial=0))}")
    held = np.zeros(len(drawn), bool)
    held[rng.permutation(len(drawn))[: max(4, len(drawn) // 5)]] = True
    start = MetaFit(stack.adapters.state() if stack.adapters is not None else {}, {}, [], {})
    with step(f"meta-learner {components.recipe.meta_learner}") as progress:
        found = components.meta_learner().fit(
            drawn.take(~held),
            memberships.take(~held),
            n_tasks=stack.tasks.n_tasks if stack.tasks.n_tasks > 1 else 0,
            backbone=stack.backbone,
            head=stack.head,
            validation=(drawn.take(held), memberships.take(held)),
            rng=rng,
            start=start,
            progress=progress,
        )
    if not found.adapters and not found.head:
        return stack, False, found.structure
    # The generation that serves keeps its own head, so the new one is a copy.
    head = components.head()
    head.restore({**stack.head.state(), **found.head})
    adapters = adapters_of(found) if found.adapters else stack.adapters
    return stack.replaced(head=head, adapters=adapters), True, found.structure
