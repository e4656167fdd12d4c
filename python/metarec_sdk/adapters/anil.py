"""ANIL over first-k episodes: few numbers adapt, everything around them is learned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metarec_sdk.adapters.inner_loop_learner import InnerLoopLearner

if TYPE_CHECKING:
    from metarec_sdk.adapters.adapter_problem import AdapterProblem
    from metarec_sdk.adapters.reptile_loop import ReptileLoop


class Anil(InnerLoopLearner):
    """Adapters of which r numbers a site adapt (ANIL, Raghu et al., ICLR 2020), the head left as it is.

    ``W x + U (c_t ⊙ V x)``: a task adapts its coefficients c_t by a few SGD steps, each coefficient with a
    step of its own (Meta-SGD, Li et al. 2017, arXiv:1707.09835); U, V, the start of c and the steps are
    shared and learned by differentiating the loss after adaptation, exactly to second order. A task's
    adapter is stored as ``B_t = U diag(c_t)``. ``inner_rate`` is where the steps start. See
    `InnerLoopLearner` for the rest.
    """

    name = "ANIL"
    default_inner_rate = 1.0
    default_outer_rate = 0.1

    def loop(self, problem: AdapterProblem) -> ReptileLoop:
        """The rounds on a problem."""
        from metarec_sdk.adapters.anil_loop import AnilLoop

        return AnilLoop(problem, **self.arguments())
