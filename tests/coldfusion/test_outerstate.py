from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from coldfusion.errors import TensorMismatch
from coldfusion.outer import OUTER, OuterStep, make_outer_options
from coldfusion.outerstate import OuterState
from coldfusion.tensorfile import TensorInfo

BODY = {
    "w": TensorInfo("w", "F32", (2, 3)),
    "b": TensorInfo("b", "BF16", ()),
    "none": TensorInfo("none", "F32", (0,)),
}


def outer(name: str, previous: Path | None, into: Path) -> OuterStep:
    return OuterStep(OUTER[name], make_outer_options(OUTER[name], 0.5, {}), previous, into)


def deltas(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(0, 1e-3, info.count) for name, info in BODY.items()}


def advance(step: OuterStep, seed: int, tile: int = 100) -> dict[str, np.ndarray]:
    """The steps of a whole model, taken in tiles from the last one to the first."""
    steps = {name: np.empty(info.count) for name, info in BODY.items()}
    with OuterState(step, BODY) as state:
        for name, delta in reversed(deltas(seed).items()):
            for start in reversed(range(0, len(delta), tile)):
                steps[name][start : start + tile] = state.advance(name, start, delta[start : start + tile])
    return steps


@pytest.mark.parametrize("name", [name for name, optimiser in OUTER.items() if optimiser.slots])
def test_a_state_file_holds_every_slot_of_every_parameter_in_fp32(name: str, tmp_path: Path) -> None:
    advance(outer(name, None, tmp_path / "outer"), seed=1)
    found, optimiser = load_file(tmp_path / "outer"), OUTER[name]
    assert found.keys() == {f"{slot}.{parameter}" for slot in optimiser.slots for parameter in BODY}
    assert all(tensor.dtype == np.float32 for tensor in found.values())
    assert found[f"{optimiser.slots[0]}.w"].shape == (2, 3)
    with safe_open(tmp_path / "outer", "np") as file:
        assert file.metadata() == {"format": "coldfusion-outer", "optimiser": name}


@pytest.mark.parametrize("name", OUTER)
def test_two_rounds_through_files_are_two_rounds_in_memory(name: str, tmp_path: Path) -> None:
    one = outer(name, None, tmp_path / "1")
    advance(one, seed=1)
    two = outer(name, tmp_path / "1" if OUTER[name].slots else None, tmp_path / "2")
    found, delta = advance(two, seed=2), (deltas(1), deltas(2))
    for parameter, info in BODY.items():
        state, _ = OUTER[name].step(
            OUTER[name].init(info.count, one.options), delta[0][parameter], one.options
        )
        _, step = OUTER[name].step(state, delta[1][parameter], one.options)
        np.testing.assert_array_equal(found[parameter], step)


def test_tiling_does_not_show_in_the_bytes(tmp_path: Path) -> None:
    for tile in (1, 4, 100):
        advance(outer("adam", None, tmp_path / f"{tile}"), seed=1, tile=tile)
    assert len({(tmp_path / f"{tile}").read_bytes() for tile in (1, 4, 100)}) == 1


def test_an_optimiser_without_slots_writes_no_file(tmp_path: Path) -> None:
    advance(outer("sgd", None, tmp_path / "outer"), seed=1)
    assert list(tmp_path.iterdir()) == []


def test_nothing_appears_under_the_name_when_the_round_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), OuterState(outer("adam", None, tmp_path / "outer"), BODY):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_the_state_of_another_optimiser_is_refused(tmp_path: Path) -> None:
    advance(outer("momentum", None, tmp_path / "old"), seed=1)
    with pytest.raises(TensorMismatch, match="old: state of 'momentum', not of 'nesterov'"):
        OuterState(outer("nesterov", tmp_path / "old", tmp_path / "new"), BODY)


@pytest.mark.parametrize("change", ["shape", "dtype", "more", "less"])
def test_the_state_of_another_body_is_refused(tmp_path: Path, change: str) -> None:
    tensors = {f"momentum.{name}": np.zeros(info.shape, np.float32) for name, info in BODY.items()}
    if change == "less":
        del tensors["momentum.w"]
    else:
        shape, dtype = (
            ((3, 2) if change == "shape" else (2, 3)),
            np.float64 if change == "dtype" else np.float32,
        )
        tensors["momentum.more" if change == "more" else "momentum.w"] = np.zeros(shape, dtype)
    save_file(tensors, tmp_path / "old", {"optimiser": "momentum"})
    with pytest.raises(TensorMismatch, match="1 tensors are not the base's, first 'momentum"):
        OuterState(outer("momentum", tmp_path / "old", tmp_path / "new"), BODY)
    assert not (tmp_path / "new").exists()
