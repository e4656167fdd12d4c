"""What the adapter operations check of their arguments, and what autocast makes of them."""

from __future__ import annotations

import torch
from torch import Tensor

from metarec_sdk.errors import ArgumentError
from metarec_sdk.kernels.plan import TaskPlan

_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def autocasted(value: Tensor) -> Tensor:
    """The tensor in autocast's dtype where it is on, as a linear layer would have it; as it is else."""
    if value.dtype == torch.float64 or not torch.is_autocast_enabled(value.device.type):
        return value
    return value.to(torch.get_autocast_dtype(value.device.type))


def check_adapter(
    x: Tensor, weight: Tensor | None, a: Tensor, b: Tensor, bias: Tensor | None, plan: TaskPlan
) -> None:
    """Raise `ArgumentError` unless everything fits together as `linear_adapter` needs it."""
    if x.ndim != 2 or a.ndim != 3 or b.ndim != 3:
        raise ArgumentError(
            f"x must be [N, d_in], a [T, r, d_in] and b [T, d_out, r], got {list(x.shape)}, {list(a.shape)} "
            f"and {list(b.shape)}; flatten leading dimensions of x and repeat the task ids"
        )
    if a.shape[2] != x.shape[1] or b.shape[2] != a.shape[1] or a.shape[1] < 1:
        raise ArgumentError(
            f"widths don't fit: x {list(x.shape)}, a {list(a.shape)} (r, d_in), b {list(b.shape)} (d_out, r)"
        )
    if x.shape[0] != plan.n_rows or any(len(value) not in (1, plan.n_tasks) for value in (a, b)):
        raise ArgumentError(
            f"the plan is for {plan.n_rows} rows in {plan.n_tasks} tasks, got {x.shape[0]} rows, {len(a)} A "
            f"and {len(b)} B"
        )
    if plan.offsets.device != x.device:
        raise ArgumentError(
            f"the plan lies on {plan.offsets.device}, x on {x.device}; move the task ids to "
            f"{x.device} before they are planned or assigned"
        )
    if weight is not None and weight.shape != (b.shape[1], x.shape[1]):
        raise ArgumentError(f"weight must be {[b.shape[1], x.shape[1]]}, got {list(weight.shape)}")
    if bias is not None and (weight is None or bias.shape != (b.shape[1],)):
        raise ArgumentError(f"bias must be [{b.shape[1]}] and come with a weight, got {list(bias.shape)}")
    dtype, device = x.dtype, x.device
    same = a.dtype == b.dtype == dtype and a.device == b.device == device
    for value in (weight, bias):
        same = same and (value is None or (value.dtype == dtype and value.device == device))
    if not same or dtype not in _DTYPES:
        given = [value for value in (x, weight, a, b, bias) if value is not None]
        raise ArgumentError(
            f"x, weight, a, b and bias must have one floating dtype and one device, got "
            f"{[(str(value.dtype), str(value.device)) for value in given]}"
        )
