"""The fusers by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coldfusion.errors import ConfigError
from coldfusion.fusers.breadcrumbs import BREADCRUMBS
from coldfusion.fusers.coordinates import COORDINATES
from coldfusion.fusers.dare import DARE
from coldfusion.fusers.della import DELLA
from coldfusion.fusers.distances import DISTANCES
from coldfusion.fusers.family import Fuser
from coldfusion.fusers.fisher import FISHER
from coldfusion.fusers.geometry import GEOMETRY
from coldfusion.fusers.linear import LINEAR
from coldfusion.fusers.matrices import MATRICES
from coldfusion.fusers.sce import SCE
from coldfusion.fusers.ties import TIES
from coldfusion.options import options_of

SPARSE = (TIES, *DARE, *DELLA, *BREADCRUMBS, SCE)
_FAMILIES = (LINEAR, SPARSE, GEOMETRY, DISTANCES, COORDINATES, FISHER, MATRICES)
FUSERS: dict[str, Fuser] = {fuser.name: fuser for family in _FAMILIES for fuser in family}


def fuser_named(name: str) -> Fuser:
    """The fuser called `name` in a policy or a recipe."""
    if name not in FUSERS:
        raise ConfigError(f"unknown fuser {name!r}; known: {', '.join(FUSERS)}")
    return FUSERS[name]


def make_options(fuser: Fuser, values: Mapping[str, Any]) -> Any:
    """The fuser's options with these values in place of its defaults. Raises ConfigError naming the key."""
    return options_of(fuser.options, values, of=fuser.name)
