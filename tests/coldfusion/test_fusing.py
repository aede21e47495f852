import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from safetensors.torch import save_file as save_torch

from coldfusion import fusing
from coldfusion.checkpoint import Checkpoint
from coldfusion.codecs import CODECS
from coldfusion.deltas import write_delta
from coldfusion.fusers import mean
from coldfusion.fusing import DeltaSource, fuse, measure
from coldfusion.tensorfile import TensorFile
from tests.helpers import Tensors, finetuned, small_body, write_checkpoint


def sources(base: Path, bodies: list[Tensors], room: Path, codec: str = "exact") -> list[DeltaSource]:
    room.mkdir(exist_ok=True)
    found = []
    for i, body in enumerate(bodies):
        with Checkpoint(base) as checkpoint:
            write_delta(
                checkpoint, lambda name, body=body: np.asarray(body[name]), room / str(i), codec=codec
            )
        found.append(DeltaSource(f"c{i}", TensorFile(room / str(i)), CODECS[codec]))
    return found


def fused(base: Path, contributions: list[DeltaSource], into: Path, outer_lr: float = 1.0) -> Path:
    into.mkdir()
    with Checkpoint(base) as checkpoint:
        weights = [1.0] * len(contributions)
        fuse(checkpoint, contributions, mean, weights=weights, outer_lr=outer_lr, into=into)
    return into / "model.safetensors"


def arithmetic_mean(bodies: list[Tensors]) -> dict[str, np.ndarray]:
    """In exact arithmetic, for all that fp32 can tell."""
    return {n: np.mean([np.float128(b[n]) for b in bodies], axis=0).astype(np.float32) for n in bodies[0]}


@pytest.mark.parametrize("n", [1, 2, 7, 8])
def test_with_equal_weights_the_base_is_the_mean_of_the_bodies_to_1_ulp(tmp_path: Path, n: int) -> None:
    body = {"w": np.random.default_rng(0).normal(0, 0.02, (300, 500)).astype(np.float32)}
    bodies = [finetuned(body, seed, step=5e-3) for seed in range(n)]
    base = write_checkpoint(tmp_path / "base", body)
    result = load_file(fused(base, sources(base, bodies, tmp_path / "d"), tmp_path / "out"))
    np.testing.assert_array_max_ulp(result["w"], arithmetic_mean(bodies)["w"], maxulp=1)


def test_outer_lr_scales_the_step(tmp_path: Path) -> None:
    body = {"w": np.array([1.0, 2.0], np.float32)}
    base = write_checkpoint(tmp_path / "base", body)
    bodies = [{"w": np.array([2.0, 2.0], np.float32)}, {"w": np.array([4.0, 1.0], np.float32)}]
    result = load_file(fused(base, sources(base, bodies, tmp_path / "d"), tmp_path / "out", outer_lr=0.5))
    assert result["w"].tolist() == [2.0, 1.75]


def test_integer_buffers_stay_the_bases(tmp_path: Path) -> None:
    base = write_checkpoint(tmp_path / "base", small_body())
    contributions = sources(base, [finetuned(small_body(), 1)], tmp_path / "d")
    result = load_file(fused(base, contributions, tmp_path / "out"))
    assert result["position_ids"].tolist() == [0, 1, 2, 3]
    assert "position_ids" not in contributions[0].file.tensors


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_a_base_keeps_its_dtype(tmp_path: Path, dtype: torch.dtype) -> None:
    tmp_path.joinpath("base").mkdir()
    save_torch({"w": torch.tensor([1.0, -2.0], dtype=dtype)}, tmp_path / "base" / "model.safetensors")
    bodies = [{"w": np.array([1.5, -2.0], np.float32)}, {"w": np.array([2.0, -3.0], np.float32)}]
    contributions = sources(tmp_path / "base", bodies, tmp_path / "d", codec="float32")
    with TensorFile(fused(tmp_path / "base", contributions, tmp_path / "out")) as file:
        raw = torch.from_numpy(file.read("w").copy())
    assert (raw if dtype == torch.float64 else raw.view(dtype)).tolist() == [1.75, -2.5]


def test_neither_arrival_nor_tiling_shows_in_the_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = small_body() | {"big": np.random.default_rng(3).normal(0, 0.02, 5000).astype(np.float32)}
    base = write_checkpoint(tmp_path / "base", body)
    contributions = sources(base, [finetuned(body, seed) for seed in range(7)], tmp_path / "d")
    one = fused(base, contributions, tmp_path / "one").read_bytes()
    monkeypatch.setattr(fusing, "STACK_BYTES", 1)  # tiles of the least size
    two = fused(base, contributions[::-1], tmp_path / "two").read_bytes()
    assert one == two


def test_statistics_by_hand(tmp_path: Path) -> None:
    body = {"v": np.zeros(2, np.float32), "w": np.ones((2, 2), np.float32)}
    base = write_checkpoint(tmp_path / "base", body)
    one = {
        "v": np.array([2.0, 0.0], np.float32),
        "w": np.array([[1, 2], [3, 3]], np.float32),
    }  # 4 + 1 + 4 + 4
    two = {"v": np.array([np.nan, 0.0], np.float32), "w": body["w"]}
    with Checkpoint(base) as checkpoint:
        stats = measure(checkpoint, sources(base, [one, two], tmp_path / "d"))
    assert stats.contributors == ("c0", "c1")
    assert stats.finite.tolist() == [True, False]
    assert stats.norms[0] == pytest.approx(13**0.5)


MEMORY = r"""
import re, sys
from pathlib import Path
from coldfusion.checkpoint import Checkpoint
from coldfusion.codecs import CODECS
from coldfusion.fusers import mean
from coldfusion.fusing import DeltaSource, fuse, measure
from coldfusion.tensorfile import TensorFile
base, delta, out, n = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
sources = [DeltaSource(f"c{i:02}", TensorFile(delta), CODECS["exact"]) for i in range(n)]
with Checkpoint(base) as checkpoint:
    measure(checkpoint, sources)
    fuse(checkpoint, sources, mean, weights=[1.0] * n, outer_lr=1.0, into=out)
print(int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) // 1024)
"""


def peak_megabytes(base: Path, delta: Path, out: Path, n: int) -> int:
    out.mkdir()
    arguments = [sys.executable, "-c", MEMORY, str(base), str(delta), str(out), str(n)]
    return int(subprocess.run(arguments, check=True, capture_output=True, text=True).stdout)


def test_memory_depends_neither_on_the_model_nor_on_the_cohort(tmp_path: Path) -> None:
    body = {f"w{i}": np.zeros((1024, 4096), np.float32) for i in range(4)}  # 67 MB
    base = write_checkpoint(tmp_path / "base", body)
    delta = sources(base, [body], tmp_path / "d")[0].file.path
    eight = peak_megabytes(base, delta, tmp_path / "8", 8)
    sixteen = peak_megabytes(base, delta, tmp_path / "16", 16)
    assert max(eight, sixteen) < 200
    assert sixteen < eight + 10
