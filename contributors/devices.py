"""Where the arithmetic runs: a GPU that this process may use, else the CPU; bf16 where it is fast."""

from __future__ import annotations

from contextlib import AbstractContextManager

import threadpoolctl
import torch


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
