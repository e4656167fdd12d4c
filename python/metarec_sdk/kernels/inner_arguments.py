"""What `metarec_sdk.kernels.inner_adapt` checks of its arguments."""

from __future__ import annotations

import torch
from torch import Tensor

from metarec_sdk.errors import ArgumentError
from metarec_sdk.kernels.inner_losses import InnerLoss, LogisticLoss, SampledSoftmaxLoss, SquaredLoss
from metarec_sdk.kernels.plan import TaskPlan

_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def check_inner(
    x: Tensor,
    a: Tensor,
    b: Tensor,
    plan: TaskPlan,
    loss: InnerLoss,
    rates: Tensor,
    base: Tensor | None,
    adapts: str,
    order: int,
) -> None:
    """Raise `ArgumentError` unless everything fits together as `inner_adapt` needs it."""
    if adapts not in ("b", "both") or order not in (1, 2):
        raise ArgumentError(f'adapts must be "b" or "both" and order 1 or 2, got {adapts!r} and {order!r}')
    if not isinstance(loss, SquaredLoss | LogisticLoss | SampledSoftmaxLoss):
        raise ArgumentError(
            f"loss must be one of metarec_sdk.kernels.inner_losses, got {type(loss).__name__}"
        )
    if x.ndim != 2 or a.ndim != 3 or b.ndim != 3 or rates.ndim != 1:
        raise ArgumentError(
            f"x must be [N, d_in], a [T, r, d_in], b [T, d_out, r] and rates [S], got {list(x.shape)}, "
            f"{list(a.shape)}, {list(b.shape)} and {list(rates.shape)}"
        )
    if a.shape[2] != x.shape[1] or b.shape[2] != a.shape[1] or min(*a.shape[1:], b.shape[1]) < 1:
        raise ArgumentError(
            f"widths don't fit: x {list(x.shape)}, a {list(a.shape)} (r, d_in), b {list(b.shape)} (d_out, r)"
        )
    if x.shape[0] != plan.n_rows or any(len(value) not in (1, plan.n_tasks) for value in (a, b)):
        raise ArgumentError(
            f"the plan is for {plan.n_rows} rows in {plan.n_tasks} tasks, got {x.shape[0]} rows, {len(a)} A "
            f"and {len(b)} B"
        )
    if base is not None and base.shape != (x.shape[0], b.shape[1]):
        raise ArgumentError(f"base must be {[x.shape[0], b.shape[1]]}, got {list(base.shape)}")
    loss.check(x.shape[0], b.shape[1])
    named = {"x": x, "a": a, "b": b, "rates": rates, "base": base}
    of_loss = dict(zip(("first", "second", "third"), loss.tensors()))
    _check_types(
        x, a, b, {**named, **{f"{loss.name} loss, {name}": value for name, value in of_loss.items()}}
    )
    if order == 2 and torch.is_grad_enabled():
        for value in loss.tensors():
            if value is not None and value.requires_grad:
                raise ArgumentError(
                    f"inner_adapt has no derivative in the tensors of its {loss.name} loss; detach() them, "
                    "or use inner_adapt_reference"
                )


def _check_types(x: Tensor, a: Tensor, b: Tensor, named: dict[str, Tensor | None]) -> None:
    if x.dtype not in _DTYPES or a.dtype != b.dtype:
        raise ArgumentError(
            f"x must be floating, and a and b of one dtype, got {x.dtype}, {a.dtype} and {b.dtype}"
        )
    allowed = (x.dtype,) if x.dtype == torch.float64 else (x.dtype, torch.float32)
    for name, value in named.items():
        if value is None:
            continue
        if value.device != x.device or (value.is_floating_point() and value.dtype not in allowed):
            raise ArgumentError(
                f"{name} must be {' or '.join(str(dtype) for dtype in allowed)} on {x.device} as x is, got "
                f"{value.dtype} on {value.device}"
            )
