"""Reptile over first-k episodes: a few SGD steps per task, then the parent moves towards where they led."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metarec_sdk.adapters.inner_loop_learner import InnerLoopLearner

if TYPE_CHECKING:
    from metarec_sdk.adapters.adapter_problem import AdapterProblem
    from metarec_sdk.adapters.reptile_loop import ReptileLoop


class Reptile(InnerLoopLearner):
    """Adapters by first-order meta-learning (Nichol et al. 2018, arXiv:1803.02999), the head left as it is.

    One outer round: every task starts at B_0 and takes ``inner_steps`` SGD steps on batches of its own users,
    all tasks by one grouped product a step. Then ``B_0 ← B_0 + ε mean_c (B_c − B_0)``, ε falling linearly
    from ``outer_rate`` to 0. See `InnerLoopLearner` for the rest.
    """

    name = "Reptile"

    def loop(self, problem: AdapterProblem) -> ReptileLoop:
        """The rounds on a problem."""
        from metarec_sdk.adapters.reptile_loop import ReptileLoop

        return ReptileLoop(problem, **self.arguments())
