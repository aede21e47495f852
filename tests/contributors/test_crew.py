"""A crew on Ray gives the bytes of one thread."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from huggingface_hub import constants
from safetensors.numpy import save_file

from coldfusion.checkpoint import Checkpoint
from coldfusion.codecs import CODECS
from coldfusion.deltas import write_delta
from coldfusion.dtypes import Array
from coldfusion.engine import ranking
from coldfusion.engine.crews import Crew, Threads
from coldfusion.engine.fusing import Rule, fuse_cohort
from coldfusion.engine.sources import BaseSpan, CheckpointSource, Cohort, DeltaSource, Source
from coldfusion.engine.spans import Span
from coldfusion.errors import BaseError, ConfigError, HubUnavailable, TensorMismatch
from coldfusion.exact.scratch import scratch
from coldfusion.fusers import FUSERS, Fuser, Ranking, Tile, make_options
from coldfusion.fusers.linear import NoOptions
from coldfusion.lora.adapters import Adapter
from coldfusion.lora.source import AdapterSource
from coldfusion.outer import OuterStep, make_outer_options, outer_named
from coldfusion.outputs import Filling, Left, finish
from coldfusion.tensorfile import TensorFile, TensorInfo
from coldfusion.tensorwriter import TensorWriter
from contributors.cluster import start_ray
from contributors.config import PoolConfig
from contributors.crew import RayCrew, ray_crew
from hub_sync.huggingface import HuggingFaceHub
from hub_sync.huggingface.modelrepo import ModelRepo
from tests.coldfusion.cohorts import TAKES
from tests.coldfusion.lora.adapterfiles import pair
from tests.coldfusion.lora.adapterfiles import write as write_adapter
from tests.helpers import finetuned, small_body, write_checkpoint
from tests.served import token_of

if TYPE_CHECKING:  # workers import this module too, and would bring in torch for it
    from contributors.pool import Pool

BODY = small_body() | {
    "big": np.random.default_rng(0).normal(0, 0.02, (600, 1000)).astype(np.float32),
    "misleading": np.random.default_rng(1).normal(0, 0.02, 200_000).astype(np.float32),
}


def trained(seed: int) -> dict[str, Array]:
    """The body after training; where a tensor is sampled for its ranks, one of them was not trained."""
    body = finetuned(BODY, seed)
    whole = TensorInfo("misleading", "F32", BODY["misleading"].shape)
    for span in ranking._spread(ranking._Universe((whole,), whole.count), ranking.PIECES):
        at = slice(span.start, span.stop)
        body["misleading"][at] = BODY["misleading"][at]
    return body


@pytest.fixture
def crew(two_cpus: Pool) -> RayCrew:
    """Two workers, on the Ray of all tests."""
    return RayCrew(batch=2)


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, and what was finetuned from it: three checkpoints, a delta, an adapter; Fisher diagonals."""
    room = tmp_path_factory.mktemp("room")
    base = write_checkpoint(room / "base", BODY)
    for seed, name in enumerate("abc"):
        write_checkpoint(room / name, trained(seed))
    save_file({name: np.asarray(np.abs(values)) for name, values in trained(8).items()}, room / "fisher")
    write_adapter(room / "e", pair("layer", *BODY["layer.weight"].shape))
    with Checkpoint(base) as checkpoint:
        body = trained(7)
        write_delta(checkpoint, lambda name: np.asarray(body[name]), room / "d", codec="exact")
    return room


@contextmanager
def cohort(room: Path, *more: Source) -> Iterator[Cohort]:
    with ExitStack() as stack:
        found: list[Source] = list(more)
        for name in "abc":
            checkpoint = stack.enter_context(Checkpoint(room / name))
            found.append(CheckpointSource(name, checkpoint))
        fisher, delta = (stack.enter_context(TensorFile(room / name)) for name in ("fisher", "d"))
        base = stack.enter_context(Checkpoint(room / "base"))
        adapter = stack.enter_context(Adapter(room / "e", base.tensors))
        found += [DeltaSource("d", delta, CODECS["exact"]), AdapterSource("e", adapter)]
        yield Cohort(base, tuple(replace(source, fisher=fisher) for source in found))


def fused(
    together: Cohort, into: Path, crew: Crew, fuser: Fuser = FUSERS["mean"], outer: OuterStep | None = None
) -> bytes:
    into.mkdir()
    weights = (1.0,) * len(together.sources)
    rule = Rule(fuser=fuser, options=make_options(fuser, {}), weights=weights, outer=outer)
    fuse_cohort(together, rule, into, crew=crew)
    assert [path.name for path in into.iterdir()] == ["model.safetensors"]
    return (into / "model.safetensors").read_bytes()


def trimmed(tile: Tile, plan: Array) -> Array:
    return np.where(np.abs(tile.deltas) >= plan[:, :1], tile.deltas, 0).sum(axis=0, dtype=np.float64)


def trim(scope: Any, *ranks: int) -> Fuser:
    """A rule of no name that keeps what is large, so that tensors are ranked."""
    ranking = Ranking(np.abs, lambda size, nonzero: tuple(size // rank for rank in ranks), scope)
    plan = lambda facts, weights, options: facts.ranked  # noqa: E731
    return Fuser(name="", options=NoOptions, plan=plan, apply=trimmed, ranking=lambda options: ranking)


RULES = {name: fuser for name, fuser in FUSERS.items() if name not in TAKES} | {
    "ranks by tensor": trim("tensor", 5),
    "ranks of the body": trim("model", 5),
}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_two_workers_give_the_bytes_of_one_thread(
    rule: Fuser, crew: RayCrew, room: Path, tmp_path: Path
) -> None:
    with cohort(room) as together:
        wanted = fused(together, tmp_path / "1", Threads(1), rule)
        assert fused(together, tmp_path / "2", crew, rule) == wanted


def test_workers_write_the_outer_optimisers_state(crew: RayCrew, room: Path, tmp_path: Path) -> None:
    adam, made = outer_named("adam"), []
    options = make_outer_options(adam, 0.1, {})
    for where, who in (("1", Threads(1)), ("2", crew)):
        states = [tmp_path / f"{where}.{i}" for i in range(2)]
        for i, (before, after) in enumerate(zip((None, states[0]), states, strict=True)):
            outer = OuterStep(adam, options, before, after)
            with cohort(room) as together:
                made.append(fused(together, tmp_path / f"{where}-{i}", who, outer=outer))
        made.append(states[1].read_bytes())
    assert made[:3] == made[3:]


class Online(ModelRepo):
    """Sent to workers that were started offline, and without a token."""

    def __reduce__(self) -> tuple[Any, ...]:
        return online, (self.repo_id, self.endpoint, self.revision)


def online(*repo: Any) -> ModelRepo:
    constants.HF_HUB_OFFLINE = False
    os.environ["HF_TOKEN"] = token_of("lab")
    return ModelRepo(*repo)


def test_workers_read_from_a_hub_by_themselves(
    client_of: Callable[[str], HuggingFaceHub],
    crew: RayCrew,
    room: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_TOKEN", token_of("lab"))
    lab = client_of("lab")
    head = lab.commit({"model.safetensors": room / "a" / "model.safetensors"}, message="a", parent=None)
    with (
        Checkpoint(Online(lab.repo_id, lab.endpoint or "", head)) as remote,
        Checkpoint(room / "a") as local,
        cohort(room, CheckpointSource("more", remote)) as over_the_wire,
        cohort(room, CheckpointSource("more", local)) as here,
    ):
        wanted = fused(here, tmp_path / "1", Threads(1))
        assert fused(over_the_wire, tmp_path / "2", crew) == wanted


def blind(path: Path, partial: Path) -> Filling:
    """What a worker gets that has a disk of its own."""
    filling = Filling(path, Path("/no-such"), "another kernel")
    filling._partial = partial
    return filling


def test_workers_that_do_not_see_the_output_send_what_they_made(
    crew: RayCrew, room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[Left] = []
    monkeypatch.setattr(TensorWriter, "__reduce__", lambda self: (blind, (self.path, self.partial)))
    monkeypatch.setattr("contributors.crew.finish", lambda some: finish(left.extend(some) or some))
    with cohort(room) as together:
        wanted = fused(together, tmp_path / "1", Threads(1))
        assert fused(together, tmp_path / "2", crew) == wanted
    assert sum(one.values.nbytes for one in left) == len(wanted) - 8 - int.from_bytes(wanted[:8], "little")


@dataclass(frozen=True)
class Deadly:
    """A source that takes its worker with it, once."""

    inner: CheckpointSource
    mark: Path
    key: str = "deadly"
    brings_values: bool = True
    fisher: TensorFile | None = None

    def check(self, base: Mapping[str, TensorInfo]) -> None:
        self.inner.check(base)

    def dtype_of(self, name: str) -> str:
        return self.inner.dtype_of(name)

    def read(self, span: Span, base: BaseSpan, out: Array) -> None:
        if span.info.name == "big" and span.start > 300_000 and self.mark.exists():
            self.mark.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        self.inner.read(span, base, out)

    def stretch(self, span: Span) -> None:
        return None


def test_a_worker_that_is_killed_changes_nothing(crew: RayCrew, room: Path, tmp_path: Path) -> None:
    with Checkpoint(room / "a") as again:
        deadly = Deadly(CheckpointSource("deadly", again), tmp_path / "mark")
        with cohort(room, deadly) as together:
            wanted = fused(together, tmp_path / "1", Threads(1))
            deadly.mark.touch()
            assert fused(together, tmp_path / "2", crew) == wanted
            assert not deadly.mark.exists()


def test_a_number_that_is_none_is_blamed_on_its_input(crew: RayCrew, room: Path, tmp_path: Path) -> None:
    body = {**BODY, "big": BODY["big"].copy()}
    body["big"][500, 3] = np.nan
    with (
        Checkpoint(write_checkpoint(tmp_path / "bad", body)) as bad,
        cohort(room, CheckpointSource("bad", bad)) as together,
        pytest.raises(TensorMismatch, match="bad: big"),
    ):
        fused(together, tmp_path / "1", crew)
    assert list((tmp_path / "1").iterdir()) == []


def test_an_input_that_a_worker_does_not_see_is_named(crew: RayCrew, room: Path, tmp_path: Path) -> None:
    with Checkpoint(write_checkpoint(tmp_path / "here", BODY)) as here:
        (tmp_path / "here" / "model.safetensors").unlink()  # open in this process, and nowhere else
        with (
            cohort(room, CheckpointSource("here", here)) as together,
            pytest.raises(BaseError, match="here: no model"),
        ):
            fused(together, tmp_path / "1", crew)


def double(log: Path, piece: int) -> int:
    with log.open("a") as file:
        file.write(f"{os.getpid()} {scratch('test', 1, np.int64).ctypes.data} {piece}\n")
    if piece < 0:
        raise HubUnavailable("away", retry_after=3.0)
    return 2 * piece


def test_results_come_in_order_and_a_worker_keeps_its_scratch(crew: RayCrew, tmp_path: Path) -> None:
    task = partial(double, tmp_path / "log")
    assert list(crew.run(task, range(41))) == [2 * i for i in range(41)]
    assert list(crew.run(task, [])) == []
    lines = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    assert len({pid for pid, _, _ in lines}) == len({(pid, memory) for pid, memory, _ in lines}) <= 3


def test_only_a_few_pieces_are_taken_in_advance(crew: RayCrew, tmp_path: Path) -> None:
    taken: list[int] = []
    work = (taken.append(i) or i for i in range(1000))
    results = crew.run(partial(double, tmp_path / "log"), work)
    assert next(results) == 0 and len(taken) < 20
    results.close()


def test_an_error_of_ours_comes_out_as_it_is(crew: RayCrew, tmp_path: Path) -> None:
    with pytest.raises(HubUnavailable, match="^away$") as caught:
        list(crew.run(partial(double, tmp_path / "log"), [1, 2, -3, 4]))
    assert caught.value.retry_after == 3.0


def test_the_crew_uses_the_ray_that_is_there(two_cpus: Pool) -> None:
    assert ray_crew(cpus=0.5) == RayCrew(0.5)


def test_a_cluster_that_is_not_there_is_one_line() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(
        ConfigError, match=rf"^no Ray cluster at {address}: start one with `ray start --head`"
    ):
        start_ray(PoolConfig(address=address))


def test_the_crew_does_not_need_torch() -> None:
    script = (
        "import sys, contributors.crew; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
