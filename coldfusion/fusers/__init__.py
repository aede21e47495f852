"""Combining a cohort's deltas into one: every rule that a policy or a recipe can name.

coefficients   a weighted sum whose weights follow from inner products      linear, geometry, distances
coordinates    order statistics of one coordinate over the contributions    coordinates
sparse         keep a part of every delta, elect signs, average what agrees ties, dare, della,
                                                                            breadcrumbs, sce
importance     a mean weighted by what each contribution says matters       fisher
matrices       singular values and vectors of a layer's 2-d tensors         matrices
"""

from coldfusion.fusers.family import Coefficients, Facts, Fuser, Ranking, Tile
from coldfusion.fusers.registry import FUSERS, fuser_named, make_options

__all__ = ["FUSERS", "Coefficients", "Facts", "Fuser", "Ranking", "Tile", "fuser_named", "make_options"]
