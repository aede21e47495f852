"""The engine: what is fused into which bytes, whatever the inputs are. How it runs: test_fusing_at_work."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest

from coldfusion.checkpoint import Checkpoint
from coldfusion.dtypes import narrow, widen
from coldfusion.engine import fusing
from coldfusion.engine.crews import Threads
from coldfusion.engine.fusing import Rule, fuse_cohort
from coldfusion.engine.measuring import measure_cohort
from coldfusion.engine.sources import Cohort, Mismatch, Source
from coldfusion.engine.spans import SPAN
from coldfusion.errors import ConfigError, TensorMismatch
from coldfusion.fusers import FUSERS, make_options
from coldfusion.fusers.arrays import fuse_arrays
from tests.coldfusion.cohorts import TAKES, checkpoint, delta, files, fuse, read, whole
from tests.helpers import finetuned, small_body

RULES = pytest.mark.parametrize("rule", FUSERS)
DTYPES = list(itertools.product(["F32", "BF16", "F16", "F64"], repeat=2))


def taken(rule: str, most: int = 4) -> int:
    return min(TAKES.get(rule, most), most)


def mean_of(bodies: list[dict[str, np.ndarray]], name: str) -> np.ndarray:
    """In exact arithmetic, for all that fp64 can tell."""
    return np.mean([np.longdouble(body[name]) for body in bodies], axis=0).astype(np.float64)


def cohort_of(room: Path, rule: str, body: dict[str, np.ndarray]) -> tuple[Checkpoint, list[Source]]:
    fisher = "extras" in FUSERS[rule].needs
    bodies = [finetuned(body, seed) for seed in range(taken(rule))]
    sources = [whole(room, f"c{i}", tuned, fisher=fisher) for i, tuned in enumerate(bodies)]
    return checkpoint(room / "base", body), list(sources)


@pytest.mark.parametrize("n", [1, 2, 7, 8])
@pytest.mark.parametrize("as_delta", ["", "exact", "float32"])
def test_the_mean_of_checkpoints_or_of_deltas_to_1_ulp(tmp_path: Path, n: int, as_delta: str) -> None:
    body = {"w": np.random.default_rng(0).normal(0, 0.02, (300, 500)).astype(np.float32)}
    base, bodies = (
        checkpoint(tmp_path / "base", body),
        [finetuned(body, seed, step=5e-3) for seed in range(n)],
    )
    sources: list[Source] = [
        delta(tmp_path, f"c{i}", tuned, base, as_delta) if as_delta else whole(tmp_path, f"c{i}", tuned)
        for i, tuned in enumerate(bodies)
    ]
    made = fuse(base, sources, tmp_path / "out")["w"].astype(np.float32)
    if as_delta == "float32":  # which rounds the deltas themselves
        np.testing.assert_allclose(made, mean_of(bodies, "w"), rtol=2.0**-23, atol=2.0**-25 * 0.03)
    else:
        np.testing.assert_array_max_ulp(made, mean_of(bodies, "w").astype(np.float32), maxulp=1)


def test_a_checkpoint_and_its_exact_delta_are_the_same_input(tmp_path: Path) -> None:
    body = small_body()
    base, bodies = checkpoint(tmp_path / "base", body), [finetuned(body, seed) for seed in range(3)]
    for name, wholes in {"all whole": 3, "all deltas": 0, "both": 2}.items():
        sources = [
            whole(tmp_path / name, f"c{i}", tuned)
            if i < wholes
            else delta(tmp_path / name, f"c{i}", tuned, base, "exact")
            for i, tuned in enumerate(bodies)
        ]
        fuse(base, sources, tmp_path / name / "out", weights={"c0": 1, "c1": 2, "c2": 3})
    assert files(tmp_path / "all whole" / "out") == files(tmp_path / "all deltas" / "out")
    assert files(tmp_path / "all whole" / "out") == files(tmp_path / "both" / "out")


def test_values_and_mere_differences_in_one_cohort(tmp_path: Path) -> None:
    """A cohort in which one brings no values: the base counts with that one's share."""
    body = {"w": np.array([1.0, 2.0], np.float32)}
    base = checkpoint(tmp_path / "base", body)
    one = whole(tmp_path, "one", {"w": np.array([2.0, 2.0])})
    two = delta(tmp_path, "two", {"w": np.array([5.0, 1.0])}, base, "float32")
    assert fuse(base, [one, two], tmp_path / "out")["w"].tolist() == [3.5, 1.5]
    assert fuse(base, [one, two], tmp_path / "sum", "task_arithmetic")["w"].tolist() == [6.0, 1.0]


def test_outer_lr_scales_the_step(tmp_path: Path) -> None:
    base = checkpoint(tmp_path / "base", {"w": np.array([1.0, 2.0])})
    sources = [
        whole(tmp_path, "a", {"w": np.array([2.0, 2.0])}),
        whole(tmp_path, "b", {"w": np.array([4.0, 1.0])}),
    ]
    assert fuse(base, sources, tmp_path / "half", outer_lr=0.5)["w"].tolist() == [2.0, 1.75]
    assert fuse(base, sources, tmp_path / "median", "median", outer_lr=0.5)["w"].tolist() == [2.0, 1.75]
    assert fuse(base, sources, tmp_path / "none", outer_lr=0.0)["w"].tolist() == [1.0, 2.0]


def test_integer_buffers_stay_the_bases(tmp_path: Path) -> None:
    base = checkpoint(
        tmp_path / "base", {"w": np.ones(2), "ids": np.arange(4), "mask": np.array([True, False])}
    )
    made = fuse(base, [whole(tmp_path, "a", {"w": np.zeros(2), "ids": np.arange(9)})], tmp_path / "out")
    assert made["ids"].tolist() == [0, 1, 2, 3] and made["mask"].tolist() == [True, False]


@pytest.mark.parametrize("dtypes", DTYPES, ids="-".join)
@pytest.mark.parametrize("rule", ["mean", "median"])
def test_a_base_keeps_its_dtype_and_is_rounded_once(
    tmp_path: Path, rule: str, dtypes: tuple[str, str]
) -> None:
    base_dtype, dtype = dtypes
    body = {"w": np.random.default_rng(0).normal(0, 0.02, 1000)}
    tuned = [finetuned(body, seed, step=5e-3) for seed in range(3)]
    sources = [whole(tmp_path, f"c{i}", one, dtype) for i, one in enumerate(tuned)]
    made = fuse(checkpoint(tmp_path / "base", body, base_dtype), sources, tmp_path / "out", rule)["w"]
    values = [widen(source.checkpoint.read("w"), dtype) for source in sources]
    exact = np.mean(values, axis=0) if rule == "mean" else np.median(values, axis=0)
    off = np.abs(made - exact)
    assert Checkpoint(tmp_path / "out").body["w"].dtype == base_dtype
    # Half a unit in the last place, and for the median what its deltas lost when they were made.
    unit = {"F64": 2.0**-52, "F32": 2.0**-23, "F16": 2.0**-10, "BF16": 2.0**-7}[base_dtype]
    lost = 2.0**-51 if rule == "mean" or "F64" in dtypes else 2.0**-24
    assert (off <= 0.5 * unit * np.maximum(np.abs(exact), 2.0**-14) + lost * np.abs(values).max()).all()


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F64"])
def test_the_output_can_have_another_dtype(tmp_path: Path, dtype: str) -> None:
    base = checkpoint(tmp_path / "base", {"w": np.array([1.0, 2.0]), "ids": np.arange(4)})
    sources = [whole(tmp_path, "a", {"w": np.array([1.0, 1 / 3])})]
    made = fuse(base, sources, tmp_path / "out", dtype=dtype)
    third = widen(narrow(np.array([np.float32(1 / 3)], np.float64), dtype), dtype)[0]
    assert made["w"].tolist() == [1.0, third] and made["ids"].tolist() == [0, 1, 2, 3]


@RULES
def test_neither_arrival_nor_threads_show_in_the_bytes(tmp_path: Path, rule: str) -> None:
    body = small_body() | {"big": np.random.default_rng(3).normal(0, 0.02, (9, SPAN // 4)).astype(np.float32)}
    base, sources = cohort_of(tmp_path, rule, body)
    found = []
    for threads in (1, 2, 3):
        fuse(base, sources[threads:] + sources[:threads], tmp_path / f"out{threads}", rule, threads=threads)
        found.append(files(tmp_path / f"out{threads}"))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("rule", [name for name, fuser in FUSERS.items() if fuser.tiles == "any"])
def test_the_size_of_spans_does_not_show_in_the_bytes(
    tmp_path: Path, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"w": np.random.default_rng(3).normal(0, 0.02, 5000).astype(np.float32)}
    base, sources = cohort_of(tmp_path, rule, body)
    fuse(base, sources, tmp_path / "out", rule)
    for size in (1000, 4999, 10**6):
        monkeypatch.setattr(fusing, "SUM_SPAN", size)
        if FUSERS[rule].tally is None:  # which are sums over spans of one size
            monkeypatch.setattr(fusing, "tile_size", lambda n, size=size: size)
        fuse(base, sources, tmp_path / f"{size}", rule)
        assert files(tmp_path / "out") == files(tmp_path / f"{size}")


@RULES
@pytest.mark.parametrize("shape", [(), (1,), (7, 1), (40, 50), (3, SPAN)], ids=str)
def test_it_is_what_the_rule_gives_in_memory(tmp_path: Path, rule: str, shape: tuple[int, ...]) -> None:
    """To 1 ulp of the result, and to what deltas lose in fp32, which sums over values never made."""
    body = {"w": np.random.default_rng(3).normal(0, 0.02, shape).astype(np.float32)}
    base, sources = cohort_of(tmp_path, rule, body)
    weights = {f"c{i}": 1.0 + i for i in range(len(sources))}
    made = fuse(base, sources, tmp_path / "out", rule, weights=weights, seed=7)["w"]
    cohort = Cohort(base, tuple(sources))
    values = {source.key: read(tmp_path / source.key)["w"].astype(np.float32) for source in cohort.sources}
    extras = None
    if "extras" in FUSERS[rule].needs:
        extras = {s.key: s.fisher.read("w").reshape(shape) for s in cohort.sources if s.fisher}
    deltas = {key: np.asarray(value - body["w"]) for key, value in values.items()}
    expected = body["w"] + fuse_arrays(FUSERS[rule], deltas, weights=weights, extras=extras, name="w", seed=7)
    lost = 2.0**-24 * sum(weights[key] * np.abs(delta).max() for key, delta in deltas.items())
    np.testing.assert_allclose(made, expected, rtol=2.0**-23, atol=lost)


@RULES
def test_tensors_of_no_dimension_of_no_element_and_of_one(tmp_path: Path, rule: str) -> None:
    body = {"point": np.float32(0.5), "empty": np.zeros((0, 3)), "one": np.ones(1), "column": np.ones((5, 1))}
    base, sources = cohort_of(tmp_path, rule, {n: np.asarray(t, np.float32) for n, t in body.items()})
    made = fuse(base, sources, tmp_path / "out", rule)
    assert {name: tensor.shape for name, tensor in made.items()} == {n: np.shape(t) for n, t in body.items()}
    assert all(np.isfinite(tensor).all() for tensor in made.values())


@RULES
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_by_input_and_tensor(tmp_path: Path, rule: str, bad: float) -> None:
    base, sources = cohort_of(tmp_path, rule, small_body())
    odd = small_body()
    odd["layer.weight"][2, 3] = bad
    sources[1] = whole(tmp_path, "odd", odd, fisher="extras" in FUSERS[rule].needs)
    with pytest.raises(TensorMismatch, match=r"odd: layer\.weight holds"):
        fuse(base, sources, tmp_path / "out", rule)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("weights", [{"c0": 1, "c1": 1}, {"c0": 1, "c1": 2}, {"c0": 0.1, "c1": 0.7}])
def test_a_number_that_is_too_large_is_refused_by_input_and_tensor(
    tmp_path: Path, weights: dict[str, float]
) -> None:
    base = checkpoint(tmp_path / "base", {"v": np.zeros(2), "w": np.zeros(2)})
    sources = [whole(tmp_path, f"c{i}", {"v": np.zeros(2), "w": np.array([0, i * 1e5])}) for i in range(2)]
    with pytest.raises(
        TensorMismatch, match=r"c1: w holds a value of 1e\+05; numbers up to 65,536 are fused"
    ):
        fuse(base, sources, tmp_path / "out", weights=weights)


def test_numbers_far_below_the_largest_are_summed_exactly(tmp_path: Path) -> None:
    """Such elements are not proven by the plain sum of their span, and summed one by one."""
    rng, n = np.random.default_rng(0), 7
    values = rng.normal(0, 1, (n, 4000)).astype(np.float32)
    values[:, ::400] *= np.float32(2.0**-30)
    sources = [whole(tmp_path, f"c{i}", {"w": row}) for i, row in enumerate(values)]
    base = checkpoint(tmp_path / "base", {"w": np.zeros(4000)}, "F64")
    made = fuse(base, sources, tmp_path / "out")["w"]
    grid = np.float64(values) * 2.0**62  # where a sum counts its terms: every 2^-62
    assert made.tolist() == [math.fsum(column) / 2.0**62 / n for column in np.rint(grid).T]


@pytest.mark.parametrize("mismatch, expected", [("base", [0, 0, 0, 0]), ("rows", [2, 2, 0, 0])])
def test_tensors_that_differ_are_fused_as_one_is_told(
    tmp_path: Path, mismatch: Mismatch, expected: list[float]
) -> None:
    base = checkpoint(tmp_path / "base", {"w": np.zeros((2, 2)), "v": np.zeros(1)})
    one = whole(tmp_path, "one", {"w": np.full((1, 2), 4.0), "v": np.ones(1)}, mismatch=mismatch)
    two = whole(tmp_path, "two", {"w": np.zeros((2, 2))}, mismatch=mismatch)
    for rule in ("mean", "median"):
        made = fuse(base, [one, two], tmp_path / rule, rule)
        assert made["w"].reshape(-1).tolist() == expected and made["v"].tolist() == [0.5]


def test_tensors_that_differ_are_refused_where_one_is_not_told(tmp_path: Path) -> None:
    base = checkpoint(tmp_path / "base", {"w": np.zeros((2, 2))})
    with pytest.raises(TensorMismatch, match=r"one: w has shape \[1, 2\], the base \[2, 2\]"):
        fuse(base, [whole(tmp_path, "one", {"w": np.zeros((1, 2))})], tmp_path / "out")


def test_nobody_and_weights_without_a_sum_are_refused(tmp_path: Path) -> None:
    base = checkpoint(tmp_path / "base", {"w": np.zeros(2)})
    with pytest.raises(ConfigError, match="nothing to fuse"):
        fuse(base, [], tmp_path / "nobody")
    sources = [whole(tmp_path, key, {"w": np.ones(2)}) for key in ("a", "b")]
    with pytest.raises(ConfigError, match="weights sum to 0"):
        fuse(base, sources, tmp_path / "nothing", weights={"a": 1, "b": -1})


def test_an_element_that_is_summed_by_itself_leaves_the_rest_of_its_span_alone(tmp_path: Path) -> None:
    """The numbers that it is read into must not be those of the span, which are still to be used."""
    base = checkpoint(tmp_path / "base", {"w": np.array([3.0, 4.0, 5.0])})
    bodies = [{"w": np.array([1.0, 1.0, tiny])} for tiny in (2.0**-40, 2.0**-41)]
    sources = [delta(tmp_path, f"c{i}", body, base, "exact") for i, body in enumerate(bodies)]
    made = fuse(base, sources, tmp_path / "out", outer_lr=0.5)
    assert made["w"].tolist() == [2.0, 2.5, np.float32(2.5 + 0.75 * 2.0**-41)]


@pytest.mark.parametrize("weight", [math.nan, math.inf, -math.inf, 1e308])
def test_weights_are_numbers_that_can_be_summed(tmp_path: Path, weight: float) -> None:
    base = checkpoint(tmp_path / "base", {"w": np.zeros(2)})
    sources = [whole(tmp_path, key, {"w": np.ones(2)}) for key in ("a", "b")]
    with pytest.raises(ConfigError, match="^weight .* is not a number up to"):
        fuse(base, sources, tmp_path / "out", "task_arithmetic", weights={"a": weight, "b": 1})


@pytest.mark.parametrize("rule", [name for name, fuser in FUSERS.items() if fuser.needs - {"extras"}])
def test_what_is_measured_already_is_not_measured_again(
    tmp_path: Path, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, sources = cohort_of(tmp_path, rule, small_body())
    fuse(base, sources, tmp_path / "out", rule)
    cohort, crew = Cohort(base, tuple(sources)), Threads(1)
    more = Cohort(base, (*sources, whole(tmp_path, "another", finetuned(small_body(), 9))))
    measured = measure_cohort(more, crew, by_tensor=True)
    monkeypatch.delattr(fusing, "measure_cohort")
    options = make_options(FUSERS[rule], {})
    made = Rule(fuser=FUSERS[rule], options=options, weights=(1.0,) * len(sources))
    (tmp_path / "again").mkdir()
    fuse_cohort(cohort, made, tmp_path / "again", stats=measured, crew=crew)
    assert files(tmp_path / "out") == files(tmp_path / "again")
