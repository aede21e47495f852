"""Inner products of deltas, the same to the last bit on every machine.

A BLAS product sums in an order of its own, which differs between machines and thread counts. So values are
first rounded to a grid on which every partial sum is an exact integer in fp64: then no order shows. The grid
follows the largest value of each row in each piece of 4,096 elements, 20 bits below it, which leaves an
inner product of ordinary deltas within some 1e-8 of the true one, relative to their norms; at worst, where
one value towers over thousands that are all alike, within 1.3e-4. Values below 2^-101 count as 0.
(Error-free products by splitting: Ozaki et al. 2012; one slice is enough for norms, cosines and distances.)
"""

from __future__ import annotations

import numpy as np

from coldfusion.dtypes import Array, Float64
from coldfusion.exact.scratch import scratch
from coldfusion.native import kernels

PIECE = 4096  # columns per product: 2 * 20 bits + log2(4096) fit into the 53 of an fp64
AT_ONCE = 1 << 18  # elements that are taken to their grids together
_FINEST = -100  # exponent of the finest grid; a finer one would leave fp32's range


def inner_products(deltas: Array, onto: Float64 | None = None) -> Float64:
    """(n, n) inner products of the rows of `deltas` (n, t), fp32, finite; added to `onto`, if it is given.

    Pieces are summed in their order, so the same range cut into the same pieces gives the same bytes.
    """
    n, t = deltas.shape
    gram = np.zeros((n, n)) if onto is None else onto
    if found := in_c(deltas, kernels.Measures(gram, np.zeros(n)), np.inf):
        return found.gram
    gram, whole = gram.copy(), t - t % PIECE
    # Several pieces at once: threads that compute beside this one hand over the interpreter less often.
    step = PIECE * max(1, min(8, AT_ONCE // (n * PIECE)))
    for start in range(0, whole, step):
        part = deltas[:, start : min(start + step, whole)]
        for product in _products(_on_grid(part.reshape(n, -1, PIECE))):
            gram += product
    if t > whole:
        gram += _products(_on_grid(deltas[:, None, whole:]))[0]
    return gram


def in_c(deltas: Array, found: kernels.Measures, limit: float) -> kernels.Measures | None:
    """What was found, with that of deltas (n, t) added; None without C, or for a magnitude above limit."""
    more, memory = found.copy(), scratch("on grid in C", (len(deltas), PIECE), np.float64)
    return more if kernels.inner_products(deltas, grid(limit), memory, more) else None


def grid(limit: float) -> kernels.Grid:
    """What C has to know."""
    return kernels.Grid(PIECE, _FINEST, limit)


def _on_grid(pieces: Array) -> Float64:
    """(n, p, c) -> (p, n + 1, c): each row of each piece on its own grid, and the first row once more."""
    n, p, columns = pieces.shape
    bits = min(22, (53 - max(columns - 1, 1).bit_length()) // 2)
    _, exponents = np.frexp(np.maximum(pieces.max(axis=2), -pieces.min(axis=2)))
    grid = np.ldexp(1.5 * 2.0**23, np.maximum(exponents - bits, _FINEST))
    shift = grid.astype(np.float32)[:, :, None]  # adding and subtracting it rounds to the grid
    snapped = scratch("on fp32 grid", pieces.shape, np.float32)
    np.add(pieces, shift, out=snapped)
    np.subtract(snapped, shift, out=snapped)
    rounded: Float64 = scratch("on grid", (p, n + 1, columns), np.float64)
    rounded[:, :n] = snapped.transpose(1, 0, 2)
    rounded[:, n] = rounded[:, 0]
    return rounded


def _products(rows: Float64) -> Float64:
    """(p, n + 1, c) with the first row repeated at the end -> (p, n, n).

    A matrix times its own transpose goes to a routine that is slow for so few rows. Multiplied by its rows
    shifted by one it goes to the quick one, and the columns come out rolled by one.
    """
    products = rows[:, :-1] @ rows[:, 1:].transpose(0, 2, 1)
    grams = np.empty_like(products)
    grams[:, :, 0], grams[:, :, 1:] = products[:, :, -1], products[:, :, :-1]
    return grams
