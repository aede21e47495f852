"""The engine with whole processes and many files: shards, memory, time, and a kill in the middle."""

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from coldfusion.checkpoint import INDEX, Checkpoint
from coldfusion.engine import fusing
from coldfusion.engine.crews import Threads
from coldfusion.engine.fusing import Rule, fuse_cohort
from coldfusion.engine.measuring import measure_cohort
from coldfusion.engine.sources import CheckpointSource, Cohort
from coldfusion.errors import StorageError
from coldfusion.fusers import FUSERS, make_options
from coldfusion.fusers.linear import NoOptions
from coldfusion.outer import Momentum, OuterStep, outer_named
from coldfusion.tensorfile import TensorFile, TensorInfo
from tests.coldfusion.cohorts import Body, checkpoint, files, fuse, read, whole, write
from tests.helpers import finetuned, small_body
from tests.smalldisk import SmallDisk

ROOT = Path(__file__).parents[2]


def sharded(folder: Path, body: Body) -> Checkpoint:
    """One tensor per file, and an index with metadata of its own."""
    shard_of = {
        name: f"model-{i + 1:05}-of-{len(body):05}.safetensors" for i, name in enumerate(sorted(body))
    }
    for name, shard in shard_of.items():
        write(folder / shard, {name: body[name]})
    index = {"metadata": {"total_size": 1, "note": "kept"}, "weight_map": shard_of}
    (folder / INDEX).write_text(json.dumps(index, indent=2))
    return Checkpoint(folder)


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("rule", ["mean", "median", "model_stock"])
def test_a_sharded_base_gives_the_same_shards_and_index(tmp_path: Path, rule: str) -> None:
    """However the inputs are sharded; and the tensors are those of the base in one file."""
    body, bodies = small_body(), [finetuned(small_body(), seed) for seed in range(3)]
    sources = [whole(tmp_path, "a", bodies[0]), whole(tmp_path, "b", bodies[1])]
    sources.append(CheckpointSource("c", sharded(tmp_path / "c", bodies[2])))
    base = sharded(tmp_path / "base", body)
    fuse(base, sources, tmp_path / "out", rule)
    assert set(files(tmp_path / "out")) == set(files(tmp_path / "base"))
    assert (tmp_path / "out" / INDEX).read_bytes() == (tmp_path / "base" / INDEX).read_bytes()
    made = fuse(checkpoint(tmp_path / "whole", body), sources, tmp_path / "one", rule)
    for name, tensor in read(tmp_path / "out").items():
        assert tensor.tobytes() == made[name].tobytes()


def test_the_files_metadata_is_the_bases(tmp_path: Path) -> None:
    fuse(checkpoint(tmp_path / "base", small_body()), [whole(tmp_path, "a", small_body())], tmp_path / "out")
    with TensorFile(tmp_path / "out" / "model.safetensors") as made:
        assert made.metadata == {"format": "pt"}


def test_inputs_are_not_changed(tmp_path: Path) -> None:
    base = checkpoint(tmp_path / "in" / "base", small_body())
    sources = [whole(tmp_path / "in", f"c{i}", finetuned(small_body(), i), fisher=True) for i in range(3)]
    before = digests(tmp_path / "in")
    for rule in FUSERS:
        fuse(base, sources[: 2 if rule == "slerp" else 3], tmp_path / rule, rule)
    assert digests(tmp_path / "in") == before


def test_a_disk_that_refuses_leaves_nothing(tmp_path: Path) -> None:
    base = checkpoint(tmp_path / "base", small_body())
    (tmp_path / "out").write_text("a file where a directory should be")
    cohort, mean = Cohort(base, (whole(tmp_path, "a", small_body()),)), FUSERS["mean"]
    with pytest.raises(StorageError, match="cannot write"):
        fuse_cohort(
            cohort, Rule(fuser=mean, options=make_options(mean, {}), weights=(1.0,)), tmp_path / "out"
        )


def files_at(disk: SmallDisk) -> list[str]:
    return [path.name for path in disk.path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("kilobytes", [4, 8, 40, 96])
def test_on_a_full_disk_nothing_is_left_behind(tmp_path: Path, disk: SmallDisk, kilobytes: int) -> None:
    """At the first header, at that of the outer state, in the middle, at the index."""
    body = {"v": np.ones(6_000), "w": np.ones(6_000)}
    base = sharded(tmp_path / "base", body)
    cohort = Cohort(base, (whole(tmp_path, "a", {name: 2 * ones for name, ones in body.items()}),))
    opened = len(os.listdir("/proc/self/fd"))
    outer = OuterStep(outer_named("momentum"), Momentum(), None, disk.path / "outer")
    rule = Rule(fuser=FUSERS["mean"], options=NoOptions(), weights=(1.0,), outer=outer)
    disk.resize(kilobytes, "remount")
    with pytest.raises(StorageError, match=r"cannot write .*: No space left on device"):
        fuse_cohort(cohort, rule, disk.path)
    assert files_at(disk) == [] and len(os.listdir("/proc/self/fd")) == opened
    disk.resize(400, "remount")
    fuse_cohort(cohort, rule, disk.path)
    assert len(files_at(disk)) == 4


def test_progress_counts_every_element_of_every_input_once_a_pass(tmp_path: Path) -> None:
    base = checkpoint(tmp_path / "base", small_body())
    cohort = Cohort(base, tuple(whole(tmp_path, f"c{i}", finetuned(small_body(), i)) for i in range(3)))
    elements = 3 * sum(info.count for info in cohort.body.values())
    for name, passes in {"mean": 1, "model_stock": 2}.items():
        seen: list[int] = []
        rule = Rule(fuser=FUSERS[name], options=make_options(FUSERS[name], {}), weights=(1.0,) * 3)
        (tmp_path / name).mkdir()
        fuse_cohort(cohort, rule, tmp_path / name, on_elements=seen.append)
        assert sum(seen) == passes * elements


SCRIPT = r"""
import re, sys
from pathlib import Path
from coldfusion.checkpoint import Checkpoint
from coldfusion.fusers import FUSERS, make_options
from coldfusion.engine.fusing import Rule, fuse_cohort
from coldfusion.engine.sources import CheckpointSource, Cohort
base, other, out, rule, n = *map(Path, sys.argv[1:4]), FUSERS[sys.argv[4]], int(sys.argv[5])
sources = tuple(CheckpointSource(f"c{i:02}", Checkpoint(other)) for i in range(n))
made = Rule(fuser=rule, options=make_options(rule, {}), weights=(1.0,) * n)
seen = []
def on_elements(count):
    seen.append(count)
    if sys.argv[6:] == ["die"] and len(seen) == 5:
        import os, signal
        os.kill(os.getpid(), signal.SIGKILL)
fuse_cohort(Cohort(Checkpoint(base), sources), made, out, on_elements=on_elements)
print(int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) // 1024)
"""


def run(room: Path, out: str, rule: str, n: int, *more: str) -> subprocess.CompletedProcess[str]:
    (room / out).mkdir()
    paths = [str(room / folder) for folder in ("base", "other", out)]
    arguments = [sys.executable, "-c", SCRIPT, *paths, rule, str(n), *more]
    return subprocess.run(arguments, capture_output=True, text=True, cwd=ROOT, check=False)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base of 67 MB and something finetuned from it."""
    room, rng = tmp_path_factory.mktemp("large"), np.random.default_rng(0)
    body = {f"w{i}": rng.normal(0, 0.02, (1024, 4096)).astype(np.float32) for i in range(4)}
    write(room / "base" / "model.safetensors", body)
    write(room / "other" / "model.safetensors", {name: tensor * 1.01 for name, tensor in body.items()})
    return room


@pytest.mark.parametrize("rule", ["mean", "model_stock"])
def test_memory_of_a_sum_depends_neither_on_the_model_nor_on_the_cohort(large: Path, rule: str) -> None:
    eight, thirty_two = (int(run(large, f"{rule}-{n}", rule, n).stdout) for n in (8, 32))
    assert max(eight, thirty_two) < 150
    assert thirty_two < eight + 25


@pytest.mark.parametrize("rule", ["median", "ties"])
def test_memory_of_other_rules_is_so_many_copies_of_a_tile(large: Path, rule: str) -> None:
    assert int(run(large, f"{rule}-8", rule, 8).stdout) < 300


@pytest.mark.parametrize("rule", ["mean", "median"])
def test_a_kill_in_the_middle_leaves_no_file_under_its_name(large: Path, rule: str) -> None:
    killed = run(large, f"killed-{rule}", rule, 2, "die")
    assert killed.returncode == -9, killed.stderr
    (partial,) = (large / f"killed-{rule}").iterdir()
    assert partial.name.startswith(".model.safetensors.") and partial.name.endswith(".partial")


def test_time_is_linear_in_the_number_of_tensors(tmp_path: Path) -> None:
    def seconds(count: int) -> float:
        body = {f"layer.{i:05}.weight": np.ones(2, np.float32) for i in range(count)}
        room = tmp_path / str(count)
        base = checkpoint(room / "base", body)
        cohort, mean = Cohort(base, (CheckpointSource("a", base),)), FUSERS["mean"]
        (room / "out").mkdir()
        started = time.process_time()
        measure_cohort(cohort, Threads(1))
        rule = Rule(fuser=mean, options=make_options(mean, {}), weights=(1.0,))
        fuse_cohort(cohort, rule, room / "out", crew=Threads(1))
        return time.process_time() - started

    seconds(100)  # warms up
    assert seconds(20_000) < 6 * seconds(5_000)


@pytest.mark.parametrize(
    ("n", "size"), [(8, 131_072), (64, 65_536), (200, 20_971), (1000, 4194), (10**5, 1024)]
)
def test_tiles_are_smaller_where_there_are_many_contributions(n: int, size: int) -> None:
    spans = fusing._spans(FUSERS["median"], n, TensorInfo("w", "F32", (200_000,)))
    assert max(span.count for span in spans) == size
