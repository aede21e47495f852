from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from coldfusion.checkpoint import Checkpoint
from coldfusion.engine.accumulated import identity_of
from coldfusion.engine.accumulator import Accumulator
from coldfusion.engine.crews import Threads
from coldfusion.engine.sources import CheckpointSource
from coldfusion.errors import ConfigError, StorageError, TensorMismatch
from coldfusion.tensorfile import TensorFile
from tests.coldfusion.accumulators import KEYS, Room, fresh, sharded
from tests.coldfusion.cohorts import files
from tests.helpers import write_checkpoint

STEPS = st.lists(st.tuples(st.sampled_from(KEYS), st.integers(1, 5)), min_size=1, max_size=8)


@given(steps=STEPS, outer_lr=st.sampled_from([1.0, 0.7]))
@settings(max_examples=40, deadline=None)
def test_whatever_came_and_went_it_is_the_mean_of_who_is_there(
    furnished_room: Room, steps: list[tuple[str, int]], outer_lr: float
) -> None:
    """Each step takes a contribution in, or out again where it is in."""
    accumulator, there = furnished_room.new(), dict[str, int]()
    for key, weight in steps:
        if key in there:
            accumulator.remove(furnished_room.sources[key])
            del there[key]
        else:
            accumulator.add(furnished_room.sources[key], weight)
            there[key] = weight
    assert {key: member.weight for key, member in accumulator.members.items()} == there
    if there:
        assert furnished_room.fused(accumulator, outer_lr) == furnished_room.fused_at_once(there, outer_lr)


@given(before=st.permutations(KEYS), weight=st.integers(1, 2**20))
@settings(max_examples=20, deadline=None)
def test_add_then_remove_gives_the_file_from_before(
    furnished_room: Room, before: list[str], weight: int
) -> None:
    accumulator = furnished_room.new()
    for key in before[:2]:
        accumulator.add(furnished_room.sources[key], 3)
    digest = furnished_room.digest
    for key in before[2:4]:
        accumulator.add(furnished_room.sources[key], weight)
    for key in before[2:4]:
        accumulator.remove(furnished_room.sources[key])
    assert furnished_room.digest == digest


def test_when_all_have_left_it_is_as_new(room: Room) -> None:
    accumulator = room.new()
    digest = room.digest
    accumulator.add(room.sources["alice"])
    assert room.digest != digest
    accumulator.remove(room.sources["alice"])
    assert room.digest == digest and accumulator.members == {}


@pytest.mark.parametrize("left_out", KEYS)
def test_without_one_it_is_the_mean_of_the_others(room: Room, left_out: str) -> None:
    accumulator, weights = room.new(), {key: 2 + i for i, key in enumerate(KEYS)}
    for key, weight in weights.items():
        accumulator.add(room.sources[key], weight)
    digest = room.digest
    accumulator.without(room.sources[left_out], fresh(room.path / "without"), outer_lr=0.5)
    others = {key: weight for key, weight in weights.items() if key != left_out}
    assert files(room.path / "without") == room.fused_at_once(others, outer_lr=0.5)
    assert room.digest == digest


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_do_not_show(room: Room, threads: int) -> None:
    one, crew = room.new(), Threads(threads)
    for key in KEYS:
        one.add(room.sources[key], 2, crew=crew)
    one.remove(room.sources["bob"], crew=crew)
    digest, two = room.digest, room.new()
    for key in ("erin", "alice", "dave", "carol"):
        two.add(room.sources[key], 2, crew=Threads(1))
    assert room.digest == digest


def test_by_hand(tmp_path: Path) -> None:
    base = Checkpoint(write_checkpoint(tmp_path / "base", {"w": np.array([1.0, 2.0], np.float32)}))
    accumulator = Accumulator.create(tmp_path / "sum", base)
    for key, values, weight in (("a", [2.0, 2.0], 1), ("b", [4.0, 1.0], 3)):
        folder = write_checkpoint(tmp_path / key, {"w": np.array(values, np.float32)})
        accumulator.add(CheckpointSource(key, Checkpoint(folder)), weight)
    (tmp_path / "out").mkdir()
    accumulator.fused(tmp_path / "out", outer_lr=0.5)  # deltas (1, 0) and three times (3, -1)
    made = load_file(tmp_path / "out" / "model.safetensors")
    assert made["w"].tolist() == [2.25, 1.625] and made["position_ids"].tolist() == [0, 1, 2, 3]
    with TensorFile(tmp_path / "sum") as file:
        assert (file.read("sum.w", 0, 2) / 2**22).tolist() == [2 + 3 * 4, 2 + 3 * 1]


def test_another_process_finds_what_this_one_left(room: Room) -> None:
    room.new().add(room.sources["alice"], 7)
    again = Accumulator.open(room.path / "sum", room.base)
    again.remove(room.sources["alice"])
    again.add(room.sources["bob"], 2)
    (member,) = again.members.values()
    assert list(again.members) == ["bob"] and member.weight == 2 and member.brings_values


def test_a_given_name_of_the_base_is_what_counts(room: Room) -> None:
    Accumulator.create(room.path / "sum", room.base, base_id="a" * 40)
    Accumulator.open(room.path / "sum", room.base, base_id="a" * 40)
    with pytest.raises(ConfigError, match="sums over base 'aaaa"):
        Accumulator.open(room.path / "sum", room.base)


def test_another_base_is_refused(room: Room, tmp_path: Path) -> None:
    room.new()
    body = {name: room.base.read(name).reshape(info.shape) for name, info in room.base.body.items()}
    body["embed"] = body["embed"] + np.float32(1e-6)
    other = sharded(tmp_path / "other", body)
    assert identity_of(other) != identity_of(room.base)
    with pytest.raises(ConfigError, match="sums over base"):
        Accumulator.open(room.path / "sum", other)


def test_how_the_base_is_sharded_does_not_matter(room: Room, tmp_path: Path) -> None:
    accumulator = room.new()
    for key in ("alice", "bob"):
        accumulator.add(room.sources[key])
    body = {name: room.base.read(name).reshape(info.shape) for name, info in room.base.tensors.items()}
    (tmp_path / "whole").mkdir()
    save_file(body, tmp_path / "whole" / "model.safetensors")
    again = Accumulator.open(room.path / "sum", Checkpoint(tmp_path / "whole"))
    again.remove(room.sources["bob"])
    assert list(again.members) == ["alice"]


@pytest.mark.parametrize("change", ["other values", "two tensors swapped"])
def test_only_what_was_added_can_be_taken_out(room: Room, tmp_path: Path, change: str) -> None:
    accumulator = room.new()
    accumulator.add(room.sources["alice"])
    accumulator.add(room.sources["bob"])
    digest = room.digest
    body = dict(load_file(room.path / "alice" / "model.safetensors"))
    if change == "other values":
        body["norm"] = body["norm"] + 1e-3
    else:
        body["half"], body["double"] = body["double"].astype(np.float16), body["half"].astype(np.float64)
    (tmp_path / "alice").mkdir()
    save_file(body, tmp_path / "alice" / "model.safetensors")
    impostor = CheckpointSource("alice", Checkpoint(tmp_path / "alice"))
    with pytest.raises(TensorMismatch, match="alice: is not what was added"):
        accumulator.remove(impostor)
    with pytest.raises(TensorMismatch, match="alice: is not what was added"):
        accumulator.without(impostor, fresh(tmp_path / "out"))
    assert room.digest == digest and not any((tmp_path / "out").iterdir())


def test_who_is_in_is_not_added_again_and_who_is_not_is_not_removed(room: Room) -> None:
    accumulator = room.new()
    accumulator.add(room.sources["alice"])
    with pytest.raises(ConfigError, match="alice is in the sum already"):
        accumulator.add(room.sources["alice"], 2)
    with pytest.raises(ConfigError, match="bob is not in the sum; in it: alice"):
        accumulator.remove(room.sources["bob"])
    with pytest.raises(ConfigError, match="bob is not in the sum"):
        accumulator.without(room.sources["bob"], room.path)


@pytest.mark.parametrize("weight, said", [(0, "give a whole"), (-1, "give a whole"), (1.5, "give a whole")])
def test_weights_are_whole_numbers(room: Room, weight: int, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        room.new().add(room.sources["alice"], weight)


def test_weights_have_a_largest_sum(room: Room) -> None:
    accumulator = room.new()
    accumulator.add(room.sources["alice"], 2**24 - 2)
    accumulator.add(room.sources["bob"], 1)
    assert room.fused(accumulator) == room.fused_at_once({"alice": 2**24 - 2, "bob": 1})
    with pytest.raises(ConfigError, match="weights sum to 16,777,216, at most 16,777,215"):
        accumulator.add(room.sources["carol"], 1)


def test_nobody_has_no_mean(room: Room) -> None:
    accumulator = room.new()
    with pytest.raises(ConfigError, match="nobody is left"):
        accumulator.fused(fresh(room.path / "fused"))
    accumulator.add(room.sources["alice"])
    with pytest.raises(ConfigError, match="nobody is left"):
        accumulator.without(room.sources["alice"], fresh(room.path / "fused"))


def test_create_does_not_overwrite_and_open_does_not_create(room: Room, tmp_path: Path) -> None:
    room.new()
    with pytest.raises(ConfigError, match="is there already"):
        Accumulator.create(room.path / "sum", room.base)
    with pytest.raises(ConfigError, match="no accumulator there"):
        Accumulator.open(tmp_path / "sum", room.base)
    with pytest.raises(ConfigError, match="not an accumulator"):
        Accumulator.open(room.path / "alice" / "model.safetensors", room.base)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e6])
def test_a_bad_contribution_is_named_and_changes_nothing(room: Room, tmp_path: Path, bad: float) -> None:
    accumulator = room.new()
    accumulator.add(room.sources["alice"])
    digest, body = room.digest, dict(load_file(room.path / "alice" / "model.safetensors"))
    body["big"][-1] = bad
    (tmp_path / "mallory").mkdir()
    save_file(body, tmp_path / "mallory" / "model.safetensors")
    with pytest.raises(TensorMismatch, match="mallory: big holds a value of"):
        accumulator.add(CheckpointSource("mallory", Checkpoint(tmp_path / "mallory")))
    assert room.digest == digest and list(accumulator.members) == ["alice"]


def test_two_changes_at_a_time_are_refused(room: Room) -> None:
    accumulator = room.new()
    with accumulator._alone(), pytest.raises(StorageError, match="another process is changing it"):
        accumulator.add(room.sources["alice"])
    accumulator.add(room.sources["alice"])


def test_a_result_that_its_dtype_does_not_hold_is_refused_as_the_engine_refuses_it(room: Room) -> None:
    accumulator = room.new()
    accumulator.add(room.sources["alice"])
    with pytest.raises(TensorMismatch, match=r"half takes a number to [\d.e+]+, which F16 does not hold"):
        accumulator.fused(fresh(room.path / "fused"), outer_lr=1e9)
    assert files(room.path / "fused") == {}
