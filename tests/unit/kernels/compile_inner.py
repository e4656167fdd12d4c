"""Compiles the kernels of the inner loop for GPUs that aren't there; see `compile_kernels`."""

import functools

import compile_kernels as shared
import torch

from metarec_sdk.kernels import inner_kernels
from metarec_sdk.kernels.inner_adapt import inner_adapt
from metarec_sdk.kernels.inner_losses import InnerLoss, LogisticLoss, SampledSoftmaxLoss, SquaredLoss
from metarec_sdk.kernels.plan import plan_tasks


def adapted(loss: InnerLoss, dtype: torch.dtype, d: int, r: int, adapts: str, label: list[str]) -> None:
    """Forward and backward of three steps."""
    label[0] = f"{str(dtype)[6:]} {loss.name} d={d} r={r} {adapts}"
    plan = plan_tasks(torch.zeros(64, dtype=torch.int64), 16, lists=True, block_rows=32)
    x = torch.zeros(64, d, dtype=dtype)
    a, b = torch.zeros(16, r, d, requires_grad=True), torch.zeros(16, d, r, requires_grad=True)
    found = inner_adapt(x, a, b, plan, loss, torch.ones(3, requires_grad=True), adapts=adapts)
    torch.autograd.grad(found[1].sum() + found[0].sum(), (a, b))


def sizes(label: list[str], every_size: bool) -> None:
    """The sizes that go to the kernels."""
    candidates = torch.zeros(64, 4, dtype=torch.int64)
    for dtype in (torch.bfloat16, torch.float32):
        for adapts in ("both", "b"):
            # The largest whose derivatives go to the kernel, and a small one.
            largest = 64 if dtype == torch.float32 and adapts == "both" else 128
            for d, r in ((largest, 16), (32, 8)) if every_size else ((largest, 16),):
                rows, items = torch.zeros(64, d, dtype=dtype), torch.zeros(9, d, dtype=dtype)
                every = (
                    SampledSoftmaxLoss(candidates, items),
                    SquaredLoss(rows),
                    LogisticLoss(rows, torch.zeros(64)),
                )
                for loss in every if every_size else every[:1]:
                    adapted(loss, dtype, d, r, adapts, label)


def main() -> None:
    label = [""]
    recorders = tuple(shared.Recorder(kernel, label) for kernel in inner_kernels.kernels())
    inner_kernels.kernels = lambda: recorders
    shared.report(functools.partial(sizes, label))


if __name__ == "__main__":
    main()
