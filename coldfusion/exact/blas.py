"""One BLAS thread while a decomposition runs: LAPACK's last bits depend on the number of threads.

numpy's wheels carry an OpenBLAS that splits a product over as many threads as it likes, and each split rounds
otherwise (measured: from 384 x 384 on, one thread and two give other bytes). With one thread the same matrix
gives the same bytes on the same machine, whoever else computes meanwhile.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

_CALLS = (  # (get, set), in the order of how likely they are
    ("scipy_openblas_get_num_threads64_", "scipy_openblas_set_num_threads64_"),  # numpy's own wheels
    ("openblas_get_num_threads64_", "openblas_set_num_threads64_"),
    ("openblas_get_num_threads", "openblas_set_num_threads"),
    ("MKL_Get_Max_Threads", "MKL_Set_Num_Threads"),
)


def _find() -> tuple[Callable[[], int], Callable[[int], object]] | None:
    """How the BLAS that numpy is linked to is asked and told its threads; None where it is another one."""
    # A symbol is looked for in a library and in what it is linked to: no path need be known.
    library = ctypes.CDLL(np.linalg._umath_linalg.__file__)
    for get, set_ in _CALLS:
        if hasattr(library, get) and hasattr(library, set_):
            return getattr(library, get), getattr(library, set_)
    return None


_threads = _find()
_lock = threading.Lock()
_inside = 0
_before = 1


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """BLAS and LAPACK use one thread until everybody who is in here has left.

    The setting is the process's, so it is counted: Python threads that come and go do not undo one another's.
    Where numpy has a BLAS that cannot be told (Accelerate), nothing is done: its own environment variable has
    to say it.
    """
    global _inside, _before
    if _threads is None:
        yield
        return
    get, set_ = _threads
    with _lock:
        if _inside == 0:
            _before = get()
            set_(1)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                set_(_before)
