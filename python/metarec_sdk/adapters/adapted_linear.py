"""`TaskAdapter`: low-rank adapters of T tasks as a torch module, and the linear layers that carry one.

`Stability: provisional`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from metarec_sdk.adapters.checks import check_counts
from metarec_sdk.adapters.present_tasks import of_present
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

    sparse: as in `torch.nn.Embedding`, a and b get sparse gradients that hold the p tasks of the batch only
    ([p, r, d_in] and [p, d_out, r]; a shared a gets a dense one), and `torch.optim.SGD` without momentum,
    `Adagrad` or `SparseAdam` step those tasks in place: a step costs what its tasks cost, whatever T is.
    First derivatives only; p has to be known, so a GPU is waited for and ``fullgraph=True`` refuses it.
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
        sparse: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_counts(d_in=d_in, d_out=d_out, tasks=tasks, rank=rank)
        self.n_tasks, self.scale, self.sparse = tasks, scale, sparse
        a = torch.empty(1 if shared_a else tasks, rank, d_in, device=device, dtype=dtype)
        self.a = nn.Parameter(a.normal_(std=d_in**-0.5))
        self.b = nn.Parameter(torch.zeros(tasks, d_out, rank, device=device, dtype=dtype))

    def forward(
        self, x: Tensor, plan: TaskPlan, weight: Tensor | None = None, bias: Tensor | None = None
    ) -> Tensor:
        """[…, d_out] from x [N, d_in] or [..., d_in] with N rows in all, and the base's weight and bias."""
        a: Tensor = self.a
        b: Tensor = self.b
        if self.sparse:
            present, plan = plan.present
            a = a if len(a) < self.n_tasks else of_present(a, present)
            b = of_present(b, present)
        y = linear_adapter(x.reshape(-1, x.shape[-1]), weight, a, b, plan, bias=bias, scale=self.scale)
        return y.view(*x.shape[:-1], y.shape[-1])

    def extra_repr(self) -> str:
        r, d_in = self.a.shape[1:]
        return f"{d_in}, {self.b.shape[1]}, tasks={self.n_tasks}, rank={r}, shared_a={len(self.a) == 1}"


class AdaptedLayer(nn.Module):
    """A layer with the weights of another one and a `TaskAdapter`; made by `attach_adapters`.

    It keeps the layer's own names in ``state_dict``. Without assigned tasks it is the layer that it was.
    """

    weight: Tensor
    bias: nn.Parameter

    def __init__(self, base: nn.Module, adapter: TaskAdapter, assignment: Assignment) -> None:
        nn.Module.__init__(self)
        self.register_parameter("weight", base.get_parameter("weight"))
        self.register_parameter("bias", None if base.bias is None else base.get_parameter("bias"))
        self.out_features, self.in_features = weight_of(base).shape
        self.adapter = adapter
        self._assignment = assignment

    def forward(self, input: Tensor) -> Tensor:
        """[..., d_out] from [..., d_in]."""
        weight = self.linear_weight()
        if self._assignment.tasks is None:
            return functional.linear(input, weight, self.bias)
        plan = self._assignment.plan(tuple(input.shape[:-1]))
        out: Tensor = self.adapter(input, plan, weight, self.bias)
        return out

    def linear_weight(self) -> Tensor:
        """[d_out, d_in]."""
        raise NotImplementedError

    def __deepcopy__(self, memo: dict[int, Any]) -> AdaptedLayer:
        raise ArgumentError("a model with adapters can't be copied; detach() them, copy it and attach again")


class AdaptedLinear(AdaptedLayer, nn.Linear):
    """In the place of an `nn.Linear`."""

    def linear_weight(self) -> Tensor:
        """[d_out, d_in]."""
        return self.weight


class AdaptedConv1D(AdaptedLayer):
    """In the place of a ``Conv1D`` of transformers (GPT-2), whose weight is [d_in, d_out]."""

    def linear_weight(self) -> Tensor:
        """[d_out, d_in]."""
        return self.weight.mT


def is_conv1d(module: nn.Module) -> bool:
    """Whether it is a ``Conv1D`` of transformers, a linear layer under another name; transformers needn't be
    installed."""
    kind = type(module)
    return (kind.__module__, kind.__qualname__) == ("transformers.pytorch_utils", "Conv1D")


def weight_of(layer: nn.Module) -> Tensor:
    """[d_out, d_in], a view, of a linear layer or Conv1D."""
    weight: Tensor = layer.get_parameter("weight")
    return weight.mT if is_conv1d(layer) else weight
