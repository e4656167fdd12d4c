"""MAML over first-k episodes, exact to second order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metarec_sdk.adapters.inner_loop_learner import InnerLoopLearner

if TYPE_CHECKING:
    from metarec_sdk.adapters.adapter_problem import AdapterProblem
    from metarec_sdk.adapters.reptile_loop import ReptileLoop


class Maml(InnerLoopLearner):
    """Adapters by model-agnostic meta-learning (Finn et al., ICML 2017), the head left as it is.

    One outer round: every task starts at B_0, takes ``inner_steps`` SGD steps on its own users, and B_0 takes
    one step of Adam against the mean of the tasks' losses on further users of theirs, differentiated through
    the inner steps. All tasks by one grouped product a step. See `InnerLoopLearner` for the rest.
    """

    name = "MAML"
    default_outer_rate = 0.1

    def loop(self, problem: AdapterProblem) -> ReptileLoop:
        """The rounds on a problem."""
        from metarec_sdk.adapters.meta_gradient_loop import MetaGradientLoop

        return MetaGradientLoop(problem, **self.arguments(), second_order=True)
