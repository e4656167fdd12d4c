"""The losses that `metarec_sdk.kernels.inner_adapt` descends, each of one support row's output o [d_out].

With g the gradient of a loss in o and H its Hessian there, an inner step needs g and its exact derivative
needs H v for one direction v:

- squared, ``½ |o − y|²``: g = o − y, H v = v;
- logistic, ``log(1 + exp(z)) − label · z`` with z = o · q: g = (σ(z) − label) q, H v = σ(z) σ(−z) (q · v) q;
- sampled softmax, ``log Σ_c exp(z_c) − z_0`` with z_c = o · e_c − log_proposal_c over C candidates, of which
  the first is the positive: g = Σ_c p_c e_c − e_0, H v = Σ_c p_c (a_c − ā) e_c with a_c = e_c · v and
  ā = Σ_c p_c a_c (the correction by the proposal: Bengio & Senécal, IEEE Trans. Neural Networks 2008).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from metarec_sdk.errors import ArgumentError

Derivatives: TypeAlias = "Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor | None]]"
"""(g, H v) [n, d_out] of outputs o [n, d_out] and directions v [n, d_out]; no H v where v is None."""
LossTensors: TypeAlias = "tuple[Tensor, Tensor | None, Tensor | None]"


@dataclass(frozen=True, eq=False)
class SquaredLoss:
    """Half the squared distance to a target."""

    name: ClassVar[str] = "squared"
    target: Tensor
    """f[N, d_out]."""

    def tensors(self) -> LossTensors:
        """What an operator gets in place of the loss."""
        return self.target, None, None

    def check(self, n_rows: int, d_out: int) -> None:
        """Raise `ArgumentError` unless the shapes fit N rows of outputs [d_out]."""
        _shape("target", self.target, (n_rows, d_out))

    def values(self, o: Tensor) -> Tensor:
        """[N] of outputs o [N, d_out], for autograd to differentiate."""
        return (o - self.target).square().sum(1) / 2

    def derivatives(self, place: Callable[[Tensor], Tensor]) -> Derivatives:
        """The closed forms, for rows that ``place`` [N, k] -> [n, k] rearranged."""
        target = place(self.target)
        return lambda o, v: (o - target, v)


@dataclass(frozen=True, eq=False)
class LogisticLoss:
    """Cross-entropy of a label and the score ``o · other``, as of a user's vector and an item's."""

    name: ClassVar[str] = "logistic"
    other: Tensor
    """q f[N, d_out]."""
    label: Tensor
    """f[N] in [0, 1]."""

    def tensors(self) -> LossTensors:
        """What an operator gets in place of the loss."""
        return self.other, self.label, None

    def check(self, n_rows: int, d_out: int) -> None:
        """Raise `ArgumentError` unless the shapes fit N rows of outputs [d_out]."""
        _shape("other", self.other, (n_rows, d_out))
        _shape("label", self.label, (n_rows,))

    def values(self, o: Tensor) -> Tensor:
        """[N] of outputs o [N, d_out], for autograd to differentiate."""
        score = (o * self.other).sum(1)
        return functional.softplus(score) - self.label * score

    def derivatives(self, place: Callable[[Tensor], Tensor]) -> Derivatives:
        """The closed forms, for rows that ``place`` [N, k] -> [n, k] rearranged."""
        other, label = place(self.other), place(self.label[:, None])

        def of(o: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor | None]:
            p = torch.sigmoid((o * other).sum(1, keepdim=True))  # [n, 1]
            bent = None if v is None else p * (1 - p) * (other * v).sum(1, keepdim=True) * other
            return (p - label) * other, bent

        return of


@dataclass(frozen=True, eq=False)
class SampledSoftmaxLoss:
    """Cross-entropy of the first of C candidates; with all items as candidates the full softmax."""

    name: ClassVar[str] = "softmax"
    candidates: Tensor
    """i64[N, C], rows of ``items``; column 0 is the positive."""
    items: Tensor
    """f[n_items, d_out]."""
    log_proposal: Tensor | None = None
    """f[N, C], the log of the probability with which each candidate was drawn; +inf leaves a candidate out,
    as for one that happens to be the positive."""

    def tensors(self) -> LossTensors:
        """What an operator gets in place of the loss."""
        return self.candidates, self.items, self.log_proposal

    def check(self, n_rows: int, d_out: int) -> None:
        """Raise `ArgumentError` unless the shapes fit N rows of outputs [d_out] and the ids exist."""
        if self.candidates.ndim != 2 or self.candidates.dtype != torch.int64 or not self.candidates.shape[1]:
            raise ArgumentError(
                f"candidates must be int64 [N, C] with the positive first, got {self.candidates.dtype} "
                f"{list(self.candidates.shape)}"
            )
        _shape("candidates", self.candidates, (n_rows, self.candidates.shape[1]))
        if self.log_proposal is not None:
            _shape("log_proposal", self.log_proposal, tuple(self.candidates.shape))
        _shape("items", self.items, (self.items.shape[0], d_out))
        ids, n_items = self.candidates, self.items.shape[0]
        if torch.compiler.is_compiling() or ids.is_cuda:
            inside = ((ids >= 0) & (ids < n_items)).all()
            torch._assert_async(inside, f"candidates must be 0 … {n_items - 1}")
        elif ids.numel() and (int(ids.min()) < 0 or int(ids.max()) >= n_items):
            raise ArgumentError(
                f"candidates must be 0 … {n_items - 1}, the rows of items, got {int(ids.min())} … "
                f"{int(ids.max())}; give a place without a candidate any id and log_proposal +inf"
            )

    def values(self, o: Tensor) -> Tensor:
        """[N] of outputs o [N, d_out], for autograd to differentiate."""
        scores = torch.einsum("nd,ncd->nc", o, self.items[self.candidates])
        if self.log_proposal is not None:
            scores = scores - self.log_proposal
        return scores.logsumexp(1) - scores[:, 0]

    def derivatives(self, place: Callable[[Tensor], Tensor]) -> Derivatives:
        """The closed forms, for rows that ``place`` rearranged; holds n · C rows of items."""
        items = self.items[place(self.candidates)]  # [n, C, d_out]
        correction = None if self.log_proposal is None else place(self.log_proposal)

        def of(o: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor | None]:
            scores = torch.bmm(items, o[:, :, None])[:, :, 0]  # [n, C]
            p = torch.softmax(scores if correction is None else scores - correction, 1)
            g = torch.bmm(p[:, None], items)[:, 0] - items[:, 0]  # [n, d_out]
            if v is None:
                return g, None
            along = torch.bmm(items, v[:, :, None])[:, :, 0]  # [n, C]
            along = p * (along - (p * along).sum(1, keepdim=True))
            return g, torch.bmm(along[:, None], items)[:, 0]

        return of


InnerLoss: TypeAlias = SquaredLoss | LogisticLoss | SampledSoftmaxLoss


def loss_of(name: str, tensors: LossTensors) -> InnerLoss:
    """The loss back from its name and `tensors`."""
    first, second, third = tensors
    if second is None:
        return SquaredLoss(first)
    return (
        LogisticLoss(first, second) if name == LogisticLoss.name else SampledSoftmaxLoss(first, second, third)
    )


def _shape(name: str, value: Tensor, shape: tuple[int, ...]) -> None:
    if value.shape != shape:
        raise ArgumentError(f"{name} must be {list(shape)}, got {list(value.shape)}")
