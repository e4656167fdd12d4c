"""Thread counts of every library in this process, and waiting until their workers sleep."""

from __future__ import annotations

import time

VARIABLES = ("METAREC_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Read by our pool and by the libraries when they start."""

REFUSED = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
"""They hold OpenBLAS back, and with it two of the peers."""


class Threads:
    """Sets the thread count of OpenBLAS, MKL, OpenMP, torch and faiss; made after they were imported."""

    def __init__(self) -> None:
        import faiss
        import torch
        from threadpoolctl import ThreadpoolController

        self._setters = [faiss.omp_set_num_threads, torch.set_num_threads]
        self._libraries = ThreadpoolController().lib_controllers

    def set(self, threads: int, blas: int | None = None) -> None:
        """``threads`` for everybody; BLAS may get another number, where its caller is parallel itself."""
        for setter in self._setters:
            setter(threads)
        for library in self._libraries:
            library.set_num_threads(threads if library.user_api != "blas" or blas is None else blas)


def settle() -> None:
    """Wait until this process stands still: workers of OpenMP and OpenBLAS spin for a while after their work,
    which would take a core from whoever comes next."""
    deadline = time.perf_counter() + 0.5
    while time.perf_counter() < deadline:
        used = time.process_time()
        time.sleep(0.004)
        if time.process_time() - used < 0.0004:
            return
