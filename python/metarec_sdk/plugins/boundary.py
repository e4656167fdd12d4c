"""What a plugin's component returns, checked where it enters the host: form, range and finiteness.

Every check costs microseconds beside the call that it follows; what costs more is left to strict mode.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarec_sdk.errors import PluginError
from metarec_sdk.types import Memberships, MetaFit

Result = Callable[[Any, tuple[Any, ...], Any, bool], None]
"""``check(component, arguments, result, strict)``; raises `PluginError`."""


def array(name: str, value: Any, dtype: type[np.generic], shape: tuple[int | None, ...]) -> NDArray[Any]:
    """Refuse anything but a NumPy array of that dtype and shape (None = any length) with finite values.

    Raises `PluginError` that says what was got and what is wanted.
    """
    formed(name, value, dtype, shape)
    if value.dtype.kind == "f" and not _surely_finite(value):
        finite = np.isfinite(value)
        if not finite.all():
            where = ", ".join(map(str, np.argwhere(~finite)[0]))
            raise PluginError(f"{name}[{where}] is {value[~finite][0]}; every value must be finite")
    return value  # type: ignore[no-any-return]


def formed(name: str, value: Any, dtype: type[np.generic], shape: tuple[int | None, ...]) -> None:
    """Refuse anything but a NumPy array of that dtype and shape (None = any length).

    A subclass (`np.matrix`, a masked array) is refused too: it may calculate in its own way.

    Raises `PluginError` that says what was got and what is wanted.
    """
    if type(value) is not np.ndarray:
        of_class = f"{name} is a {type(value).__name__}"
        if isinstance(value, np.ndarray):
            raise PluginError(f"{of_class}; return np.asarray(...) of it, a plain {_form(dtype, shape)}")
        raise PluginError(f"{of_class}; it must be a NumPy array {_form(dtype, shape)}")
    if value.dtype != dtype or not (value.shape == shape or _fits(value.shape, shape)):
        got = f"{value.dtype.name}[{', '.join(map(str, value.shape))}]"
        raise PluginError(f"{name} is {got}; it must be {_form(dtype, shape)}")


def _fits(got: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    if len(got) != len(wanted):
        return False
    for n, length in zip(wanted, got):  # noqa: SIM110 - a generator takes twice as long
        if n is not None and n != length:
            return False
    return True


def _form(dtype: type[np.generic], shape: tuple[int | None, ...]) -> str:
    return f"{np.dtype(dtype).name}[{', '.join('…' if n is None else str(n) for n in shape)}]"


def _surely_finite(value: NDArray[Any]) -> bool:
    """One pass of BLAS, half the time of `np.isfinite`: NaN and infinity stay in a sum of squares."""
    return value.dtype.itemsize > 2 and math.isfinite(np.vdot(value, value))


def _matrix(component: Any, arguments: tuple[Any, ...], result: Any, strict: bool) -> None:
    array("item_matrix()", result, np.float32, (None, None))
    if not result.flags.c_contiguous:
        raise PluginError("item_matrix() isn't C-contiguous; return np.ascontiguousarray(...)")


def _vectors(name: str) -> Result:
    def check(component: Any, arguments: tuple[Any, ...], result: Any, strict: bool) -> None:
        width = component.item_matrix().shape[1] if strict else None
        array(name, result, np.float32, (len(arguments[0]), width))

    return check


def _tasks(component: Any, arguments: tuple[Any, ...], result: Any, strict: bool) -> None:
    array("assign(x)", result, np.int32, (len(arguments[0]),))
    if len(result) and result.min() < -1:
        raise PluginError(f"assign(x) holds {result.min()}; tasks are 0 … C-1, or -1 for none")


def _memberships(component: Any, arguments: tuple[Any, ...], result: Any, strict: bool) -> None:
    if not isinstance(result, Memberships):
        raise PluginError(f"memberships(x) is a {type(result).__name__}; it must be Memberships")
    b = len(arguments[0])
    array("memberships(x).tasks", result.tasks, np.int32, (b, 2))
    weights = array("memberships(x).weights", result.weights, np.float32, (b, 2))
    if b and (result.tasks.min() < -1 or weights.min() < 0 or abs(weights.sum(1) - 1).max() > 1e-3):
        raise PluginError("memberships(x): tasks must be ≥ -1, weights ≥ 0 with sum 1 in each row")


def _meta_fit(component: Any, arguments: tuple[Any, ...], result: Any, strict: bool) -> None:
    if not isinstance(result, MetaFit):
        raise PluginError(f"fit(...) is a {type(result).__name__}; it must be a MetaFit")
    for name, value in (*result.adapters.items(), *result.head.items()):
        if not isinstance(value, np.ndarray):
            raise PluginError(f"fit(...): {name} is a {type(value).__name__}; it must be a NumPy array")
        if value.dtype.kind not in "iufb":
            raise PluginError(f"fit(...): {name} has dtype {value.dtype}; it must be of numbers or booleans")
        array(f"fit(...): {name}", value, value.dtype.type, (None,) * value.ndim)


def _boosts(component: Any, arguments: tuple[Any, ...], result: Any, strict: bool) -> None:
    if not isinstance(result, tuple) or len(result) != 3:
        raise PluginError("boosts(histories) must be a tuple (offsets, items, scores)")
    offsets, items, scores = result
    array("boosts(histories)[0]", offsets, np.int64, (len(arguments[0]) + 1,))
    array("boosts(histories)[1]", items, np.int32, (len(items),))
    array("boosts(histories)[2]", scores, np.float32, (len(items),))
    if not all(part.flags.c_contiguous and part.flags.aligned for part in result):
        raise PluginError("boosts(histories) isn't C-contiguous; return np.ascontiguousarray(...)")
    if offsets[0] != 0 or offsets[-1] != len(items) or (np.diff(offsets) < 0).any():
        raise PluginError(f"boosts(histories): offsets must rise from 0 to {len(items)}, the number of items")
    if len(items) and items.min() < 0:
        raise PluginError(f"boosts(histories): items holds {items.min()}; items are 0 … n-1")


def _weights(component: Any, arguments: tuple[Any, ...], result: Any, strict: bool) -> None:
    if not isinstance(result, tuple) or len(result) != 2:
        raise PluginError("weigh(events) must be a tuple (target, weight)")
    e = len(arguments[0])
    array("weigh(events)[0]", result[0], np.float32, (e,))
    weight = array("weigh(events)[1]", result[1], np.float32, (e,))
    if e and weight.min() < 0:
        raise PluginError(f"weigh(events)[1] holds {weight.min()}; weights are ≥ 0")


def _features(component: Any, arguments: tuple[Any, ...], result: Any, strict: bool) -> None:
    array("features(events)", result, np.float32, (arguments[0]["user_id"].n_unique(), None))


def _likelihood(component: Any, arguments: tuple[Any, ...], result: Any, strict: bool) -> None:
    array("log_likelihood(events)", result, np.float64, (arguments[0]["user_id"].n_unique(),))


def _content(component: Any, arguments: tuple[Any, ...], result: Any, strict: bool) -> None:
    array("encode(items)", result, np.float32, (len(arguments[0]), None))


def _scores(component: Any, arguments: tuple[Any, ...], result: Any, strict: bool) -> None:
    name = "rescore(histories, candidates, k)"
    formed(name, result, np.float32, (len(arguments[1].items),))
    if len(result) and not float(np.maximum.reduce(result)) < math.inf:  # NaN is larger than anything
        raise PluginError(f"{name} holds NaN or +inf; scores are finite, or -inf to leave an item out")


def _forbidden(component: Any, arguments: tuple[Any, ...], result: Any, strict: bool) -> None:
    array("forbidden(histories, candidates)", result, np.bool_, (len(arguments[1].items),))


def _nothing(component: Any, arguments: tuple[Any, ...], result: Any, strict: bool) -> None:
    """A method whose arguments are protected and whose result is nobody's business."""


RESULTS: dict[tuple[str, str], Result] = {
    ("backbone", "fit"): _nothing,
    ("backbone", "item_matrix"): _matrix,
    ("backbone", "encode"): _vectors("encode(histories)"),
    ("clusterer", "fit"): _nothing,
    ("clusterer", "assign"): _tasks,
    ("clusterer", "memberships"): _memberships,
    ("meta_learner", "fit"): _meta_fit,
    ("head", "fit"): _nothing,
    ("head", "item_matrix"): _matrix,
    ("head", "query"): _vectors("query(histories)"),
    ("item_item", "fit"): _nothing,
    ("item_item", "boosts"): _boosts,
    ("feedback", "fit"): _nothing,
    ("feedback", "weigh"): _weights,
    ("behaviour", "fit"): _nothing,
    ("behaviour", "features"): _features,
    ("behaviour", "log_likelihood"): _likelihood,
    ("content", "encode"): _content,
    ("reranker", "fit"): _nothing,
    ("reranker", "rescore"): _scores,
    ("rule", "fit"): _nothing,
    ("rule", "forbidden"): _forbidden,
}
"""(kind, method) -> the check of its result."""
