"""Where the arithmetic runs: a GPU that this process may use, else the CPU; bf16 where it is fast."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from threading import Lock
from typing import TypeVar

import threadpoolctl
import torch

T = TypeVar("T")


def limit_threads(threads: int) -> None:
    """Let torch and the BLAS libraries of this process use so many threads. The bytes depend on torch's."""
    torch.set_num_threads(threads)
    threadpoolctl.threadpool_limits(threads)


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def computes_in_bf16() -> bool:
    """Whether bf16 matrix products are fast here: on a GPU that has them, or with AVX512-BF16 or AMX."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def wants_bf16(choice: bool | None) -> bool:
    """What a config's `bf16` means here: its choice, or the machine's where it leaves that open."""
    return computes_in_bf16() if choice is None else choice


def autocast(bf16: bool | None) -> AbstractContextManager[object]:
    """Matrix products in bf16, or everything in fp32."""
    return torch.autocast(device().type, dtype=torch.bfloat16, enabled=wants_bf16(bf16))


def side_by_side(work: Callable[[Iterator[T]], None], items: Iterable[T]) -> None:
    """Let `work` take the items, in as many threads as torch may use here, each computing alone.

    Threads that share the work on one small batch mostly wait for one another. Every item goes to one call;
    each call gets an iterator that ends when there are no more. On a GPU there is one call.
    """
    threads = torch.get_num_threads()
    shared = _Shared(iter(items))
    if threads == 1 or device().type == "cuda":
        work(shared)
        return

    def alone() -> None:
        torch.set_num_threads(1)  # of this thread
        work(shared)

    try:
        with ThreadPoolExecutor(threads) as workers, shared.ended():
            for call in [workers.submit(alone) for _ in range(threads)]:
                call.result()
    finally:
        torch.set_num_threads(threads)


class _Shared(Iterator[T]):
    """An iterator that several threads take from."""

    def __init__(self, items: Iterator[T]) -> None:
        self.items, self.lock, self.over = items, Lock(), False

    def __next__(self) -> T:
        with self.lock:
            if self.over:
                raise StopIteration
            return next(self.items)

    @contextmanager
    def ended(self) -> Iterator[None]:
        """Nobody gets another item once the block is left, be it by an error or by Ctrl-C."""
        try:
            yield
        finally:
            self.over = True
