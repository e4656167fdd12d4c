"""`TaskAdapter`: low-rank adapters of T tasks as a torch module, and the linear layer that carries one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from metarec_sdk.adapters.checks import check_counts
from metarec_sdk.errors import ArgumentError
from metarec_sdk.kernels.linear_adapter import linear_adapter
from metarec_sdk.kernels.plan import TaskPlan, plan_tasks


@dataclass
class Assignment:
    """Which task each row of the present batch belongs to; the adapted layers of a model share one."""

    n_tasks: int
    tasks: Tensor | None = None
    """i64[b] or of any leading shape of the inputs; None where no tasks are assigned."""
    plans: dict[tuple[int, ...], TaskPlan] = field(default_factory=dict)

    def assign(self, tasks: Tensor | None) -> None:
        """Take the tasks of a new batch, or none."""
        self.tasks = tasks
        self.plans = {}

    def plan(self, leading: tuple[int, ...]) -> TaskPlan:
        """The plan of inputs with these leading dimensions; made once a batch.

        Raises `ArgumentError` where the task ids don't lead them.
        """
        assert self.tasks is not None
        found = self.plans.get(leading)
        if found is None:
            shape = tuple(self.tasks.shape)
            if leading[: len(shape)] != shape:
                raise ArgumentError(
                    f"task ids {list(shape)} must lead the inputs of every adapted layer, got an input of "
                    f"leading shape {list(leading)}; assign one id a row of the batch"
                )
            rest = leading[len(shape) :]
            ids = self.tasks.reshape(*shape, *[1] * len(rest)).expand(leading).reshape(-1)
            found = self.plans[leading] = plan_tasks(ids, self.n_tasks)
        return found


class TaskAdapter(nn.Module):
    """``base(x) + scale · (x A_tᵀ) B_tᵀ`` with t the task of each row; -1 is ``base(x)``.

    Parameters: a [T, r, d_in] (or [1, r, d_in] where shared), normal with variance 1 / d_in, and b
    [T, d_out, r], zero, so that an adapter starts as no change (LoRA, Hu et al., ICLR 2022).
    """

    def __init__(
        self,
        d_in: int,
        d_out: int,
        *,
        tasks: int,
        rank: int,
        scale: float = 1.0,
        shared_a: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_counts(d_in=d_in, d_out=d_out, tasks=tasks, rank=rank)
        self.n_tasks, self.scale = tasks, scale
        a = torch.empty(1 if shared_a else tasks, rank, d_in, device=device, dtype=dtype)
        self.a = nn.Parameter(a.normal_(std=d_in**-0.5))
        self.b = nn.Parameter(torch.zeros(tasks, d_out, rank, device=device, dtype=dtype))

    def forward(
        self, x: Tensor, plan: TaskPlan, weight: Tensor | None = None, bias: Tensor | None = None
    ) -> Tensor:
        """[…, d_out] from x [N, d_in] or [..., d_in] with N rows in all, and the base's weight and bias."""
        y = linear_adapter(
            x.reshape(-1, x.shape[-1]), weight, self.a, self.b, plan, bias=bias, scale=self.scale
        )
        return y.view(*x.shape[:-1], y.shape[-1])

    def extra_repr(self) -> str:
        r, d_in = self.a.shape[1:]
        return f"{d_in}, {self.b.shape[1]}, tasks={self.n_tasks}, rank={r}, shared_a={len(self.a) == 1}"


class AdaptedLinear(nn.Linear):
    """A linear layer with the weights of another one and a `TaskAdapter`; made by `attach_adapters`.

    It keeps the layer's own names in ``state_dict``. Without assigned tasks it is the layer that it was.
    """

    def __init__(self, base: nn.Linear, adapter: TaskAdapter, assignment: Assignment) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = base.in_features, base.out_features
        self.weight, self.bias = base.weight, base.bias
        self.adapter = adapter
        self._assignment = assignment

    def forward(self, input: Tensor) -> Tensor:
        """[..., d_out] from [..., d_in]."""
        if self._assignment.tasks is None:
            return super().forward(input)
        plan = self._assignment.plan(tuple(input.shape[:-1]))
        out: Tensor = self.adapter(input, plan, self.weight, self.bias)
        return out

    def __deepcopy__(self, memo: dict[int, Any]) -> AdaptedLinear:
        raise ArgumentError("a model with adapters can't be copied; detach() them, copy it and attach again")
