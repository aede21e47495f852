import pytest

from coldfusion.errors import ConfigError
from coldfusion.records import Manifest, Revision
from coldfusion.weighting import WEIGHTINGS, weighting_named


def manifest(num_examples: int) -> Manifest:
    return Manifest(
        contributor="alice",
        round_index=1,
        base=Revision("0" * 40),
        codec="exact",
        num_examples=num_examples,
        size=1,
        sha256="0" * 64,
    )


MANIFESTS = [manifest(100), manifest(2_500), manifest(10**12)]


def test_uniform_weights_do_not_look() -> None:
    assert WEIGHTINGS["uniform"](MANIFESTS, 1000) == [1.0, 1.0, 1.0]


def test_examples_count_up_to_the_coordinators_cap() -> None:
    assert WEIGHTINGS["examples"](MANIFESTS, 1000) == [100.0, 1000.0, 1000.0]
    assert WEIGHTINGS["examples"](MANIFESTS, 5000) == [100.0, 2500.0, 5000.0]


def test_a_cap_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="the cap on examples is 0"):
        WEIGHTINGS["examples"](MANIFESTS, 0)


def test_an_unknown_weighting_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="unknown weighting 'size'; known: uniform, examples"):
        weighting_named("size")
