"""C gives what numpy gives, to the last bit, or leaves the work to it."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coldfusion.dtypes import STORAGE, narrow, widen
from coldfusion.errors import TensorMismatch
from coldfusion.exact.gram import PIECE, inner_products
from coldfusion.exact.sums import ExactSum
from coldfusion.fusers import FUSERS
from coldfusion.fusers.arrays import fuse_arrays
from coldfusion.native import kernels
from coldfusion.native.kernels import Band, Combining, Scaling, Stretch
from tests.coldfusion.cohorts import TAKES, checkpoint, fuse, whole

pytestmark = pytest.mark.skipif(kernels.library() is None, reason="no C kernels: no compiler at installation")

NUMBERS = (
    st.floats(-1, 1, width=32)
    | st.sampled_from([0.0, -0.0, 2.0**-149, -(2.0**-60), 2.0**-39, 1e-30, 65_536.0, -65_536.0, 3e4])
    | st.integers(-9, 9).map(float)
)
ROWS = st.tuples(st.integers(1, 9), st.integers(1, 40)).flatmap(
    lambda shape: hnp.arrays(np.float32, shape, elements=NUMBERS)
)
FEW = settings(max_examples=100, deadline=None)


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


def exact(rows: np.ndarray) -> ExactSum:
    total = ExactSum.zeros(rows.shape[1])
    for row in rows:
        total.add(row)
    return total


def elected(rows: np.ndarray, *, divide: bool) -> np.ndarray:
    """By the definition: the elected sign's votes, through how many they are."""
    signed, sizes = exact(rows).total(), exact(np.abs(rows)).total()
    agree = np.where(signed >= 0, (rows > 0).sum(axis=0), (rows < 0).sum(axis=0))
    return np.copysign(np.abs(signed) + sizes, signed) * 0.5 / (np.maximum(agree, 1) if divide else 1)


def combined(rows: np.ndarray, mask: Band | np.ndarray | None, how: Combining) -> np.ndarray | None:
    out = np.empty(rows.shape[1])
    return out if kernels.combine(rows, mask, how, out) else None


@given(ROWS, st.data())
@FEW
def test_combined_under_a_mask(rows: np.ndarray, data: st.DataObject) -> None:
    low = data.draw(hnp.arrays(np.float32, len(rows), elements=st.sampled_from([0, 0.25, 3, np.inf])))
    high = data.draw(hnp.arrays(np.float32, len(rows), elements=st.sampled_from([0, 0.5, 9, np.inf])))
    kept = data.draw(hnp.arrays(np.bool_, rows.shape))
    within = (np.abs(rows) >= low[:, None]) & (np.abs(rows) <= high[:, None])
    for mask, counts in ((None, np.ones_like(kept)), (kept, kept), (Band(low, high), within)):
        left = np.where(counts, rows, np.float32(0))
        linear = combined(rows, mask, Combining(0.3, 7.0))
        assert linear is not None and linear.tobytes() == (exact(left).total() * 0.3 / 7.0).tobytes()
        for divisor in (None, 1.0):
            found = combined(rows, mask, Combining(0.5, divisor, elect=True))
            assert found is not None and found.tobytes() == elected(left, divide=divisor is None).tobytes()


@pytest.mark.parametrize("odd", [np.nan, np.inf, -65_537.0])
@pytest.mark.parametrize("at", [0, 8, 12])
def test_what_is_not_summed_is_left_to_numpy(room: Path, odd: float, at: int) -> None:
    rows = np.ones((3, 13), np.float32)
    rows[1, at] = odd
    assert combined(rows, None, Combining(1.0)) is None
    assert combined(rows, None, Combining(1.0, None, elect=True)) is None
    assert summed(room, list(rows), "F32") is None


@contextmanager
def laid_out(room: Path, rows: Sequence[np.ndarray], dtype: str) -> Iterator[list[Stretch]]:
    """The bytes of each row after one other byte, in a file of its own."""
    with ExitStack() as stack:
        found = []
        for i, row in enumerate(rows):
            path = room / f"row {i}"
            path.write_bytes(b"x" + row.tobytes())
            found.append(Stretch(stack.enter_context(path.open("rb")).fileno(), 1, dtype))
        yield found


def summed(room: Path, rows: Sequence[np.ndarray], dtype: str, memory: int = 64) -> np.ndarray | None:
    total = np.empty(len(rows[0]))
    with laid_out(room, rows, dtype) as files:
        return total if kernels.sum_files(files, np.empty(memory, np.float32), total) else None


@given(ROWS, st.sampled_from(["F32", "BF16", "F16"]), st.sampled_from([72, 300, 1000]))
@FEW
def test_files_are_summed_exactly(room: Path, rows: np.ndarray, dtype: str, memory: int) -> None:
    stored = narrow(np.clip(rows.astype(np.float64), -60_000, 60_000), dtype)
    total = summed(room, list(stored), dtype, memory)
    assert total is not None
    assert total.tobytes() == exact(widen(stored, dtype).astype(np.float32)).total().tobytes()


@pytest.mark.parametrize("dtype", ["BF16", "F16"])
def test_every_half_is_what_numpy_makes_of_it(room: Path, dtype: str) -> None:
    patterns, base = np.arange(1 << 16, dtype=np.uint16), np.zeros(1 << 16, np.float32)
    stored = patterns if dtype == "BF16" else patterns.view(np.float16)
    out = np.empty((1, 1 << 16), np.float32)
    with laid_out(room, [stored], dtype) as files:
        assert kernels.deltas_of(files, base, out)
    with np.errstate(invalid="ignore"):  # among them are signalling NaN
        np.testing.assert_array_equal(out[0], widen(stored, dtype).astype(np.float32))


def test_a_file_that_ends_too_soon_is_left_to_the_reader_that_says_so(room: Path) -> None:
    with laid_out(room, [np.ones(9, np.float32)], "F32") as files:
        assert not kernels.sum_files(files, np.empty(64, np.float32), np.empty(10))
        assert not kernels.deltas_of(files, np.zeros(10, np.float32), np.empty((1, 10), np.float32))


def test_dtypes_that_have_no_loops_are_left_to_numpy(room: Path) -> None:
    assert summed(room, [np.ones(3)], "F64") is None
    assert combined(np.ones((2, 3)), None, Combining(1.0)) is None
    assert not kernels.take(np.ones(3)) and not kernels.take(np.ones((4, 4), np.float32)[:, ::2])


@given(
    hnp.arrays(np.float64, st.integers(0, 30), elements=st.floats(-65_000, 65_000)),
    st.sampled_from(["F32", "BF16", "F16"]),
    st.sampled_from([1.0, 2.0**-14, 2.0**-24, 2.0**-126, 1e-40]),
    st.booleans(),
)
@FEW
def test_what_is_stored_is_rounded_once(sums: np.ndarray, dtype: str, size: float, moved: bool) -> None:
    base = np.linspace(-1, 1, len(sums), dtype=np.float32) if moved else None
    out = np.empty(len(sums), STORAGE[dtype])
    wanted = sums * size / 3.0 * 0.7
    if base is not None:
        wanted = wanted + 0.25 * base.astype(np.float64)
    largest = kernels.finish(sums, Scaling(size, 3.0, 0.7, 0.25), base, dtype, out)
    assert largest == np.abs(wanted).max(initial=0) and out.tobytes() == narrow(wanted, dtype).tobytes()


@pytest.mark.parametrize("dtype", ["BF16", "F16"])
def test_half_way_and_next_to_it(dtype: str) -> None:
    patterns = np.arange(1 << 16, dtype=np.uint16)
    with np.errstate(invalid="ignore"):
        halves = widen(patterns if dtype == "BF16" else patterns.view(np.float16), dtype)
    halves = np.unique(halves[np.abs(halves) < 60_000])
    middle = (halves[1:] + halves[:-1]) / 2
    beside = np.concatenate([middle, middle * (1 + 2.0**-40), middle * (1 - 2.0**-40)])
    out = np.empty(len(beside), STORAGE[dtype])
    assert kernels.finish(beside, Scaling(1.0, 1.0, 1.0, 0.0), None, dtype, out) is not None
    assert out.tobytes() == narrow(beside, dtype).tobytes()


@given(st.integers(1, 7), st.sampled_from([1, 5, PIECE - 1, PIECE, PIECE + 3, 3 * PIECE]), st.integers(0, 9))
@FEW
def test_inner_products_are_those_of_blas(n: int, t: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    deltas = (rng.normal(size=(n, t)) * 10.0 ** rng.integers(-30, 6, (n, 1))).astype(np.float32)
    onto = rng.normal(size=(n, n)) if seed % 2 else None
    before = None if onto is None else onto.copy()
    in_c = inner_products(deltas, onto)
    with kernels.numpy_only():
        assert in_c.tobytes() == inner_products(deltas, onto).tobytes()
    assert onto is None or onto.tobytes() == before.tobytes()


@given(hnp.arrays(np.uint32, st.integers(0, 50), elements=st.integers(0, 20)), st.integers(0, 20))
@FEW
def test_patterns_within_a_bracket(patterns: np.ndarray, low: int) -> None:
    inside = np.empty(len(patterns), np.uint32)
    for high in (low, low + 3):
        within = patterns[(patterns >= low) & (patterns <= high)]
        found = kernels.between(patterns, low, high, inside)
        assert found == ((patterns > high).sum(), len(within))
        assert inside[: found[1]].tolist() == within.tolist()


BODY = {"w": (1000, 40), "v": (7,), "scale": (), "none": (0,)}


@pytest.mark.parametrize("dtype", ["F32", "BF16", "F16", "F64"])
@pytest.mark.parametrize("rule", FUSERS)
def test_every_rule_gives_the_same_bytes_with_and_without_c(tmp_path: Path, rule: str, dtype: str) -> None:
    rng = np.random.default_rng(0)
    start = {name: rng.normal(0, 0.02, shape) for name, shape in BODY.items()}
    base = checkpoint(tmp_path / "base", start, dtype)
    sources = []
    for i in range(TAKES.get(rule, 5)):
        moved = {name: x + rng.normal(0, 1e-3, x.shape) for name, x in start.items()}
        sources.append(whole(tmp_path, "abcde"[i], moved, dtype, fisher="extras" in FUSERS[rule].needs))
    in_c = fuse(base, sources, tmp_path / "in c", rule)
    with kernels.numpy_only():
        plainly = fuse(base, sources, tmp_path / "plainly", rule)
    assert {n: x.tobytes() for n, x in in_c.items()} == {n: x.tobytes() for n, x in plainly.items()}


@pytest.mark.parametrize("rule", ["ties", "dare_ties", "breadcrumbs_ties", "della", "sce"])
def test_unequal_weights_and_odd_densities_too(rule: str) -> None:
    rng = np.random.default_rng(1)
    deltas = {key: rng.normal(size=(30, 11)).astype(np.float32) for key in "abcd"}
    for weights in (None, {"a": 1.0, "b": 0.5, "c": 3.0, "d": 0.3}, dict.fromkeys("abcd", 2.0)):
        for given_options in ({}, {"normalize": True}, {"normalize": False}):
            if given_options.keys() - FUSERS[rule].options.__dataclass_fields__.keys():
                continue
            in_c = fuse_arrays(FUSERS[rule], deltas, weights=weights, options=given_options)
            with kernels.numpy_only():
                plainly = fuse_arrays(FUSERS[rule], deltas, weights=weights, options=given_options)
            assert in_c.tobytes() == plainly.tobytes()


@pytest.mark.parametrize("rule", ["mean", "ties", "model_stock"])
def test_what_is_odd_is_refused_in_the_same_words(tmp_path: Path, rule: str) -> None:
    base = checkpoint(tmp_path / "base", {"w": np.zeros(50)})
    sources = [
        whole(tmp_path, key, {"w": np.full(50, value)})
        for key, value in zip("abc", (1.0, np.nan, 2.0), strict=True)
    ]
    said = []
    for place, by in (("in c", nullcontext()), ("plainly", kernels.numpy_only())):
        with by, pytest.raises(TensorMismatch) as refused:
            fuse(base, sources, tmp_path / place, rule)
        said.append(str(refused.value))
    assert said[0] == said[1] and said[0].startswith("b: w ")
