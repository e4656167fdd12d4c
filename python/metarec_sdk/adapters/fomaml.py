"""First-order MAML over first-k episodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metarec_sdk.adapters.inner_loop_learner import InnerLoopLearner

if TYPE_CHECKING:
    from metarec_sdk.adapters.adapter_problem import AdapterProblem
    from metarec_sdk.adapters.reptile_loop import ReptileLoop


class Fomaml(InnerLoopLearner):
    """Adapters by first-order MAML (Finn et al., ICML 2017, section 5.2), the head left as it is.

    As `Maml`, with the gradient of the loss after adaptation taken at B_c and applied to B_0: no second
    derivatives, about half the time of a round. See `InnerLoopLearner` for the rest.
    """

    name = "first-order MAML"
    default_outer_rate = 0.1

    def loop(self, problem: AdapterProblem) -> ReptileLoop:
        """The rounds on a problem."""
        from metarec_sdk.adapters.meta_gradient_loop import MetaGradientLoop

        return MetaGradientLoop(problem, **self.arguments(), second_order=False)
