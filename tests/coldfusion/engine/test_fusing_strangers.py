"""What a stranger may send that the screens let through: it is fused, or refused in one line."""

from pathlib import Path

import numpy as np
import pytest

from coldfusion.engine import summing
from coldfusion.errors import TensorMismatch
from coldfusion.exact.sums import CheckedSum
from coldfusion.fusers import FUSERS
from coldfusion.native import kernels
from tests.coldfusion.cohorts import TAKES, checkpoint, fuse, whole

MOST = 32_768.0
"""The largest change of a number that the screens accept."""
LARGE = {
    "all": np.full((40, 50), MOST),
    "one of many": np.concatenate([[-MOST], np.full(1999, 1e-30)]).reshape(40, 50),
    "none": np.full((40, 50), 2.0**-149),
}
OPTIONS = [{}, {"rescale": "l1"}, {"rescale": "expected"}, {"rescale": "l1", "density": 0.01}]
RULES = [
    (name, given)
    for name, fuser in FUSERS.items()
    for given in OPTIONS
    if name not in TAKES and given.keys() <= fuser.options.__dataclass_fields__.keys()
]


@pytest.mark.parametrize(("rule", "given"), RULES, ids=str)
def test_whatever_the_screens_accept_is_fused(tmp_path: Path, rule: str, given: dict[str, object]) -> None:
    base, fisher = checkpoint(tmp_path / "base", {"w": np.zeros((40, 50))}), "extras" in FUSERS[rule].needs
    sources = [whole(tmp_path, key, {"w": change}, fisher=fisher) for key, change in LARGE.items()]
    assert np.isfinite(fuse(base, sources, tmp_path / "out", rule, **given)["w"]).all()


def test_who_makes_large_terms_does_not_make_the_others_vanish(tmp_path: Path) -> None:
    base = checkpoint(tmp_path / "base", {"w": np.zeros((40, 50))})
    rng = np.random.default_rng(0)
    honest = {"w": rng.normal(0, 1e-3, (40, 50))}
    both = [whole(tmp_path, "a", honest), whole(tmp_path, "z", {"w": LARGE["all"]})]
    with_z = fuse(base, both, tmp_path / "both", "dare_linear", rescale="l1", density=0.5)["w"]
    alone = fuse(base, both[:1], tmp_path / "one", "dare_linear", rescale="l1", density=0.5)["w"]
    untouched = with_z < 1  # where nothing of z is kept
    np.testing.assert_allclose(with_z[untouched], alone[untouched], rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("rule", ["task_arithmetic", "dare_linear", "median", "mean"])
def test_what_the_base_cannot_hold_is_not_written(tmp_path: Path, rule: str) -> None:
    base = checkpoint(tmp_path / "base", {"v": np.zeros(3), "w": np.full(9, 32_000.0)}, "F16")
    more = {"v": np.zeros(3), "w": np.full(9, 65_530.0)}
    sources = [whole(tmp_path, key, more) for key in "abc"]
    with pytest.raises(TensorMismatch, match=r"^a: w takes a number to [\d.e+]+, which F16 does not hold"):
        fuse(base, sources, tmp_path / "out", rule)
    assert not list((tmp_path / "out").iterdir())


def test_one_large_number_costs_no_list_of_all_small_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Watched(CheckedSum):
        def add(self, terms: np.ndarray) -> None:
            super().add(terms)
            found.append(len(self.doubtful))

    found: list[int] = []
    monkeypatch.setattr(summing, "CheckedSum", Watched)
    small = np.full(1000, 2.0**-20)
    large = np.where(np.arange(1000) == 7, MOST, small)
    base = checkpoint(tmp_path / "base", {"w": np.zeros(1000)})
    sources = [whole(tmp_path, key, {"w": large if key == "a" else small}) for key in "abcdefgh"]
    with kernels.numpy_only():
        fused = fuse(base, sources, tmp_path / "out")["w"]
    assert found == [999] and fused[7] == np.float32((MOST + 7 * 2.0**-20) / 8) and fused[8] == 2.0**-20
