"""The matrices of the tasks that a batch has, with a sparse gradient, as `torch.nn.Embedding` has one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from metarec_sdk.kernels.signature import known_signature


def of_present(matrices: Tensor, tasks: Tensor) -> Tensor:
    """[p, m, n] from matrices [T, m, n] and ascending tasks i64[p], each once; the gradient of matrices is
    a sparse tensor of p entries [m, n]."""
    found: Tensor = _OfPresent.apply(matrices, tasks)
    return found


class _OfPresent(torch.autograd.Function):
    @staticmethod
    @known_signature
    def forward(matrices: Tensor, tasks: Tensor) -> Tensor:
        return matrices.index_select(0, tasks)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        matrices, tasks = inputs
        ctx.shape = matrices.shape
        ctx.save_for_backward(tasks)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (tasks,) = ctx.saved_tensors
        sparse = torch.sparse_coo_tensor(
            tasks[None], gradient, ctx.shape, is_coalesced=True, check_invariants=False
        )
        return sparse, None
