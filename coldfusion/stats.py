"""What one pass over a round's deltas finds out, so that no screen ever opens a file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coldfusion.dtypes import Float64


@dataclass(frozen=True, slots=True)
class RoundStats:
    """One streaming pass over n deltas. Shapes: n contributions, in the order of `contributors`."""

    contributors: tuple[str, ...]
    finite: NDArray[np.bool_]  # (n,): every finetuned value is a finite number
    norms: Float64  # (n,): L2 norm of the whole delta, in parameter units; NaN or inf where not finite
