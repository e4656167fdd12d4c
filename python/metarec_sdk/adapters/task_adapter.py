"""Low-rank adapters per task with one shared down-projection.

At a site l of the backbone task c serves ``W_l + B_lc A_l``: ``A_l`` [r, d_in] has orthonormal rows and is
shared over the tasks, ``B_lc`` [d_out, r] is the task's own (FedSA-LoRA, Guo et al., ICLR 2025; LoRA, Hu et
al., ICLR 2022). With A shared an adapter is linear in B, so that a soft membership ``B_u = Σ_c π_uc B_c``,
an average over tasks and the shrinkage towards the parent B_0 are exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from metarec_sdk.errors import ArgumentError, ArtefactError, MissingDependencyError
from metarec_sdk.types import AdaptableBackbone, Backbone, Float32, Histories, Int32, Memberships, State

if TYPE_CHECKING:
    import torch

FINAL = "final"
"""The only site of a backbone that isn't adaptable: ``h + B_c A h``."""

_ROWS = 2048  # rows per block, so that the gathered B stays in cache and memory doesn't grow with b
_DOWN, _UP = "down.", "up."


class TaskAdapters:
    """The adapters of C tasks and their parent; immutable by convention, methods give new objects."""

    def __init__(self, down: Mapping[str, NDArray[Any]], up: Mapping[str, NDArray[Any]]) -> None:
        """down: site -> A f32[r, d_in]. up: site -> B f32[C + 1, d_out, r]; the last row is the parent.

        Raises `ArgumentError` where shapes don't fit together or a value isn't finite.
        """
        if down.keys() != up.keys():
            raise ArgumentError(f"down and up must name the same sites, got {sorted(down)} and {sorted(up)}")
        self.down: dict[str, Float32] = {s: np.ascontiguousarray(a, np.float32) for s, a in down.items()}
        self.up: dict[str, Float32] = {s: np.ascontiguousarray(b, np.float32) for s, b in up.items()}
        for site, a in self.down.items():
            b = self.up[site]
            if a.ndim != 2 or b.ndim != 3 or len(b) < 1 or b.shape[2] != a.shape[0]:
                raise ArgumentError(
                    f"site {site!r}: A must be f32[r, d_in] and B f32[C + 1, d_out, r], got {a.shape} and "
                    f"{b.shape}"
                )
            if not (np.isfinite(a).all() and np.isfinite(b).all()):
                raise ArgumentError(f"site {site!r}: A and B must be finite")
        if len({len(b) for b in self.up.values()}) > 1:
            tasks = {site: len(b) - 1 for site, b in self.up.items()}
            raise ArgumentError(f"every site needs the same number of tasks, got {tasks}")
        self._torch: dict[str, Any] = {}

    @classmethod
    def identity(
        cls, sites: Mapping[str, tuple[int, int]], n_tasks: int, *, rank: int, rng: np.random.Generator
    ) -> TaskAdapters:
        """Adapters that change nothing: random orthonormal A (rank ≤ d_in), B = 0.

        sites: name -> (d_in, d_out), as `AdaptableBackbone.adapter_sites` gives it.
        """
        down, up = {}, {}
        for site, (d_in, d_out) in sites.items():
            columns = np.linalg.qr(rng.standard_normal((d_in, min(rank, d_in))))[0]
            down[site] = columns.T
            up[site] = np.zeros((n_tasks + 1, d_out, min(rank, d_in)))
        return cls(down, up)

    @classmethod
    def from_state(cls, state: Mapping[str, NDArray[Any]]) -> TaskAdapters:
        """Take back what `state` gave; an empty state is the identity. Raises `ArtefactError`."""
        down = {name.removeprefix(_DOWN): a for name, a in state.items() if name.startswith(_DOWN)}
        up = {name.removeprefix(_UP): b for name, b in state.items() if name.startswith(_UP)}
        if len(down) + len(up) != len(state):
            raise ArtefactError(f"adapter arrays are named down.<site> and up.<site>; got {sorted(state)}")
        try:
            return cls(down, up)
        except ArgumentError as error:
            raise ArtefactError(f"the adapters can't be used: {error}") from error

    def state(self) -> State:
        """``down.<site>`` f32[r, d_in] and ``up.<site>`` f32[C + 1, d_out, r]."""
        down = {_DOWN + site: a for site, a in self.down.items()}
        return {**down, **{_UP + site: b for site, b in self.up.items()}}

    @property
    def n_tasks(self) -> int:
        """C; 0 where only the parent is adapted."""
        return len(next(iter(self.up.values()))) - 1 if self.up else 0

    @property
    def sites(self) -> dict[str, tuple[int, int]]:
        """(d_in, d_out) of each adapted site."""
        return {site: (a.shape[1], self.up[site].shape[1]) for site, a in self.down.items()}

    def renumbered(self, source: Int32) -> TaskAdapters:
        """Adapters whose task c is task ``source[c]`` of these; -1 starts a new task at the parent.

        source: i32[C_new]. Used when a refit matched its tasks to the old ones.
        """
        rows = self._rows(np.append(source, -1).astype(np.int32))
        return TaskAdapters(self.down, {site: b[rows] for site, b in self.up.items()})

    def delta(self, site: str, x: Any, memberships: Memberships) -> Any:
        """``Σ_c π_uc B_c A x_u``: f32[b, d_out] from x [b, d_in], NumPy in NumPy out, torch in torch out.

        A site without an adapter gives the number 0, which can be added to anything.
        """
        if site not in self.down:
            return 0.0
        if len(x) != len(memberships):
            raise ArgumentError(f"x has {len(x)} rows and memberships {len(memberships)}; they must agree")
        if isinstance(x, np.ndarray):
            return self._numpy_delta(site, x, memberships)
        return self._torch_delta(site, x, memberships)

    def apply(self, backbone: Backbone, histories: Histories, memberships: Memberships) -> Float32:
        """f32[b, d], the backbone's vectors of the histories under each user's adapters.

        An `AdaptableBackbone` is run by torch with adapters at all its sites; another one gets
        ``h + B_u A h`` in NumPy. Without adapters this is ``backbone.encode(histories)``.
        """
        if not self.down:
            return backbone.encode(histories)
        if isinstance(backbone, AdaptableBackbone):
            return self._apply_inside(backbone, histories, memberships)
        if set(self.down) != {FINAL}:
            raise ArgumentError(
                f"the adapters sit at {sorted(self.down)}, but this backbone only has {FINAL!r}: it isn't "
                f"the one that they were learned for"
            )
        h = backbone.encode(histories)
        return np.ascontiguousarray(h + self.delta(FINAL, h, memberships), np.float32)

    def _apply_inside(
        self, backbone: AdaptableBackbone, histories: Histories, memberships: Memberships
    ) -> Float32:
        try:
            import torch
        except ImportError as error:
            raise MissingDependencyError.extra("torch", "torch", "an adapted backbone") from error
        blocks = []
        for start in range(0, len(histories), _ROWS):
            rows = slice(start, start + _ROWS)
            inputs = {
                name: torch.from_numpy(value)
                for name, value in backbone.adapter_inputs(histories.take(rows)).items()
            }
            block = memberships.take(rows)

            def delta(site: str, x: Any, block: Memberships = block) -> Any:
                return self.delta(site, x, block)

            with torch.no_grad():
                adapted = backbone.adapted(inputs, delta)
            blocks.append(adapted.float().cpu().numpy())
        if not blocks:
            return backbone.encode(histories)
        return np.ascontiguousarray(np.concatenate(blocks), np.float32)

    def _numpy_delta(self, site: str, x: NDArray[Any], memberships: Memberships) -> Float32:
        a, b = self.down[site], self.up[site]
        rows = self._rows(memberships.tasks)
        z = x.astype(np.float32, copy=False) @ a.T  # [b, r]
        out = np.zeros((len(x), b.shape[1]), np.float32)
        for start in range(0, len(x), _ROWS):
            block = slice(start, start + _ROWS)
            for place in range(rows.shape[1]):
                gathered = b[rows[block, place]]  # [block, d_out, r]
                share = (gathered @ z[block, :, None])[:, :, 0]
                out[block] += memberships.weights[block, place, None] * share
        return out

    def _torch_delta(self, site: str, x: torch.Tensor, memberships: Memberships) -> torch.Tensor:
        import torch

        if site not in self._torch:
            self._torch[site] = (torch.from_numpy(self.down[site]), torch.from_numpy(self.up[site]))
        a, b = (tensor.to(x.device, x.dtype) for tensor in self._torch[site])
        rows = torch.from_numpy(self._rows(memberships.tasks)).to(x.device)
        weights = torch.from_numpy(memberships.weights).to(x.device, x.dtype)
        return soft_delta(x @ a.T, b, rows, weights)

    def _rows(self, tasks: Int32) -> NDArray[np.int64]:
        """Row of B for each task id, the parent's for -1."""
        rows = np.asarray(tasks, np.int64)
        if rows.size and (rows.min() < -1 or rows.max() >= self.n_tasks):
            raise ArgumentError(
                f"task ids must be -1 … {self.n_tasks - 1}, got {rows.min()} … {rows.max()}: these adapters "
                f"were learned for {self.n_tasks} tasks"
            )
        return np.where(rows < 0, self.n_tasks, rows)


def soft_delta(z: torch.Tensor, up: torch.Tensor, rows: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """``Σ_j weights_uj B[rows_uj] z_u``, one gather and one bmm for the whole batch; differentiable.

    z [b, r], up [C + 1, d_out, r], rows i64[b, 2] and weights [b, 2] give [b, d_out].
    """
    import torch

    gathered = up[rows]  # [b, 2, d_out, r]
    mixed = (weights[:, :, None, None] * gathered).sum(1)  # [b, d_out, r]
    return torch.bmm(mixed, z[:, :, None])[:, :, 0]
