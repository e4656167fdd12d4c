"""Every backbone keeps the contract and serves in a recommender."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

torch = pytest.importorskip("torch")

from metarec_sdk.testing import Level, run_checks  # noqa: E402

SMALL = {"width": 16, "history_limit": 8, "epochs": 2, "batch_size": 16, "device": "cpu"}


@pytest.fixture(autouse=True)
def _one_torch_thread() -> Iterator[None]:
    """For arrays this small, threads take longer to meet than to compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("model", ["gru4rec", "caser", "mlp", "bert4rec", "hstu"])
def test_it_serves(model: str) -> None:
    report = run_checks(f"sequence/{model}", params=SMALL, isolated=False)
    assert report.level is Level.SERVES, report
