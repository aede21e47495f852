"""Rules that see a layer as a matrix: its singular values are evened out, or shared out between the tasks.

A 2-d tensor of r = min(rows, columns) singular values is fused as a matrix. Every other tensor is fused as
the weighted mean, as in the papers' code; so is, here, a matrix with fewer singular values than there are
tasks, of which the code for TSV-M makes zeros.

Both rules add up tasks, so n equal contributions count n times their mean. Weights say how much of the n each
one counts: w_i stands for n w_i / sum w. Whoever has weight 0 is not one of the n.

A singular value below `NOISE` of the largest is what rounding left in fp32, and its vectors point anywhere.
The papers' code keeps them, and blows them up to the size of the others where a sum of deltas does not have
full rank (LoRA, equal deltas). Here they count as 0, which changes nothing for a matrix of full rank.

Decompositions are LAPACK's, in fp64 and on one BLAS thread. So on one machine the bytes are the same
whatever the order of the contributions, the number of workers and of threads; on another machine they agree
up to LAPACK's rounding: 1e-16, times the largest singular value over the smallest that is kept. (Measured
on 768 x 768, one thread against two: 1e-14 of the largest element, and 2 elements of a million in fp32.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from coldfusion.dtypes import Array, Float64
from coldfusion.errors import ConfigError
from coldfusion.exact.blas import one_blas_thread
from coldfusion.fusers.family import Coefficients, Facts, Fuser, Tile
from coldfusion.fusers.linear import total_of, weighted_sum

NOISE = 2.0**-23
PIECE = 32_768  # elements


@dataclass(frozen=True)
class MatrixOptions:
    """Options of the rules for matrices."""

    scale: float = 1.0  # alpha of both papers; multiplies every tensor, as in their code

    def __post_init__(self) -> None:
        if not math.isfinite(self.scale):
            raise ConfigError(f"scale is {self.scale}: give a finite number")


def mean_of(facts: Facts, weights: Float64, options: MatrixOptions) -> Coefficients:
    """The scaled mean: what vectors get, and what the sum over tasks is n times."""
    del facts
    return Coefficients(weights, divisor=total_of(weights), factor=options.scale)


def iso_c(tile: Tile, plan: Coefficients) -> Float64:
    """Isotropic merging in the common subspace, Iso-C: Marczak et al. 2025, as in their iso.py.

    U S V^T = sum_i d_i over the tasks; fused = scale * mean(S) * U V^T. The mean is over the singular values
    that are kept, so that their sum stays what it was.
    """
    total, tasks = _mean(tile, plan), int(np.count_nonzero(plan.numerators))
    if not _is_matrix(tile, tasks):
        return total
    total *= tasks
    with one_blas_thread():
        u, s, v = _largest(total.reshape(tile.shape), min(tile.shape))
        u *= s.sum() / max(len(s), 1)
        flat: Float64 = u @ v
    return flat.reshape(-1)


def tsv_m(tile: Tile, plan: Coefficients) -> Float64:
    """Task singular vectors, TSV-M: Gargiulo et al. 2025, as in compute_and_sum_svd_mem_reduction of theirs.

    Of every task's U_i S_i V_i^T the k = floor(r / n) largest components are kept and set side by side:
    U = [U_1 ... U_n], S, V. Each of U and V goes to the orthogonal matrix next to it (Procrustes):
    fused = scale * polar(U) S polar(V)^T, where polar(X) = P Q^T of the decomposition X = P D Q^T.
    Equal contributions share their k largest components, and give them once.
    """
    chosen = np.flatnonzero(plan.numerators)
    tasks = len(chosen)
    if not _is_matrix(tile, tasks):
        return _mean(tile, plan)
    counts = plan.numerators[chosen] * (tasks * plan.factor) / plan.divisor
    with one_blas_thread():
        parts = [_largest(tile.deltas[i].reshape(tile.shape), min(tile.shape) // tasks) for i in chosen]
        left = np.concatenate([u for u, _, _ in parts], axis=1)
        values = np.concatenate([count * s for count, (_, s, _) in zip(counts, parts, strict=True)])
        right = np.concatenate([v for _, _, v in parts], axis=0)
        fused: Float64 = (_polar(left) * values) @ _polar(right)
    return fused.reshape(-1)


def _mean(tile: Tile, plan: Coefficients) -> Float64:
    """What the plan says, in pieces that stay in the cache: a tile holds the whole tensor here."""
    count = tile.deltas.shape[1]
    total = np.empty(count)
    for start in range(0, count, PIECE):
        piece = slice(start, start + PIECE)
        total[piece] = weighted_sum(tile.deltas[:, piece], plan)
    return total


def _is_matrix(tile: Tile, tasks: int) -> bool:
    """Whether the tensor is one, with a singular value for every task."""
    return len(tile.shape) == 2 and min(tile.shape) >= tasks


def _polar(matrix: Float64) -> Float64:
    """The nearest matrix whose singular values are 1, or 0 where they were."""
    u, _, v = _largest(matrix, min(matrix.shape))
    nearest: Float64 = u @ v
    return nearest


def _largest(matrix: Array, most: int) -> tuple[Float64, Float64, Float64]:
    """U (rows, k), S (k,) and V^T (k, columns) of the largest singular values, k <= most, above the noise."""
    u, s, v = np.linalg.svd(matrix.astype(np.float64, copy=False), full_matrices=False)
    kept = min(most, int(np.count_nonzero(s > NOISE * s.max(initial=0.0))))
    if kept == len(s):
        return u, s, v
    return u[:, :kept].copy(), s[:kept], v[:kept].copy()  # copies, to let go of the rest


def _fuser(name: str, apply: Callable[[Tile, Coefficients], Float64], summary: str) -> Fuser:
    return Fuser(name=name, options=MatrixOptions, plan=mean_of, apply=apply, tiles="tensor", summary=summary)


ISO_C = _fuser("iso_c", iso_c, "sum of the deltas of a layer, with all its singular values at their mean")
TSV_M = _fuser("tsv_m", tsv_m, "every task's largest singular components, made orthogonal to one another's")
MATRICES = (ISO_C, TSV_M)
