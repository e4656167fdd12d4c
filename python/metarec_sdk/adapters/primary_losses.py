"""Losses of episodes that belong wholly to their primary task, as inner loops over tasks need them."""

from __future__ import annotations

import torch

from metarec_sdk.adapters.adapter_problem import AdapterProblem
from metarec_sdk.adapters.catalogue_loss import candidates, query_losses
from metarec_sdk.adapters.gates import gated
from metarec_sdk.adapters.sites import Tensors
from metarec_sdk.kernels.linear_adapter import linear_adapter
from metarec_sdk.kernels.plan import plan_tasks


def primary_losses(problem: AdapterProblem, rows: torch.Tensor, down: Tensors, up: Tensors) -> torch.Tensor:
    """f[rows], the summed query loss of training episodes under ``B_c A`` of their primary task c.

    rows: i64[b]. down: site -> A f[r, d_in]. up: site -> B f[C + 1, d_out, r], the parent last. All tasks go
    through one grouped operation a site; differentiable in up and down to any order.
    """
    batch = problem.training.take(rows)
    chosen = candidates(batch, len(problem.sites.items), problem.generator)
    plan = plan_tasks(batch.rows[:, 0], problem.n_tasks + 1)

    def delta(site: str, x: torch.Tensor) -> torch.Tensor:
        if site not in down:
            return x.new_zeros(())
        return linear_adapter(x, None, down[site][None], up[site], plan)

    part = {name: value[rows] for name, value in problem.inputs.items()}
    scores = problem.sites.run(part, delta) @ chosen.of(problem.sites.items).T
    return query_losses(gated(scores, problem.popularity, problem.gates, batch.bins, chosen), batch, chosen)
