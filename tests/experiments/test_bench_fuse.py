"""`coldfusion bench fuse` on a model of 30,000 parameters, with our own command and without other tools."""

import json
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import load_file

from coldfusion.checkpoint import Checkpoint
from coldfusion.dtypes import widen
from coldfusion.errors import ConfigError
from experiments.bench_commands import by_hand
from experiments.bench_fuse import Bench, bench_fuse
from experiments.bench_inputs import Inputs, layout, make_inputs
from experiments.processes import cost_of

SMALL = 30_000


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return make_inputs(tmp_path_factory.mktemp("bench"), SMALL, 10, "float32")


def test_inputs_are_fine_tunes_of_a_base_and_beyond_eight_they_are_links(inputs: Inputs) -> None:
    base = load_file(inputs.base / "model.safetensors")
    *tuned, ninth, tenth = (folder / "model.safetensors" for folder in inputs.contributions(10))
    name = "roberta.embeddings.word_embeddings.weight"
    deltas = [load_file(path)[name] - base[name] for path in tuned]
    assert np.std(base[name]) == pytest.approx(0.02, rel=0.1)
    assert [np.std(delta) for delta in deltas] == pytest.approx([1e-3] * 8, rel=0.1)
    assert len({delta.tobytes() for delta in deltas}) == 8
    assert ninth.resolve() == tuned[0].resolve() and tenth.resolve() == tuned[1].resolve()
    assert json.loads((inputs.base / "config.json").read_text())["model_type"] == "roberta"


def test_125_million_parameters_are_a_roberta_base() -> None:
    shapes, config = layout(125_000_000)
    assert config["hidden_size"] == 768 and len(shapes) == 202
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == 124_697_433


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_inputs_in_a_narrow_dtype_are_the_same_numbers_rounded(
    tmp_path: Path, inputs: Inputs, dtype: str
) -> None:
    narrow = make_inputs(tmp_path, SMALL, 1, dtype)
    with Checkpoint(narrow.base) as short, Checkpoint(inputs.base) as full:
        name = "lm_head.dense.weight"
        rounded = widen(short.read(name), short.tensors[name].dtype)
        assert np.allclose(rounded, full.read(name), rtol=2.0**-8, atol=1e-7)
        assert np.abs(rounded - full.read(name)).max() > 0


def test_inputs_of_another_kind_are_not_taken_for_these(inputs: Inputs) -> None:
    with pytest.raises(ConfigError, match="other inputs than these are there; name another directory"):
        make_inputs(inputs.room, SMALL, 1, "float16")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_what_is_written_by_hand_is_the_mean(tmp_path: Path, dtype: str) -> None:
    narrow = make_inputs(tmp_path, SMALL, 3, dtype)
    for title, command in by_hand(narrow, 3).items():
        out = tmp_path / title / "model.safetensors"
        out.parent.mkdir()
        cost_of(command(out))
        with ExitStack() as stack:
            fused, *tuned = (
                stack.enter_context(Checkpoint(folder)) for folder in (out.parent, *narrow.contributions(3))
            )
            for name, info in fused.body.items():
                mean = np.mean([widen(one.read(name), info.dtype) for one in tuned], axis=0)
                assert np.allclose(widen(fused.read(name), info.dtype), mean, rtol=2.0**-8, atol=1e-6)


def test_the_tables_say_what_was_measured_where_and_with_what(inputs: Inputs) -> None:
    console = Console(width=80, record=True)
    bench = Bench(parameters=SMALL, contributions=[3, 10], runs=1, fusers=["mean"], room=inputs.room)
    for table in bench_fuse(bench):
        console.print(table)
    text = console.export_text()
    for title in ("mean ", "mean, with digests", "mean: numpy loop", "mean: load all"):
        assert f"│ {title}" in text
    for words in ("3 contributions", "float32", "GB/s", "10:", "peak", "cores", "numpy", "load"):
        assert words in text
    assert list(inputs.room.glob("tmp*")) == []


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"dtype": "float8"}, "no dtype 'float8'; known: float32"),
        ({"fusers": ["tie"]}, "unknown fuser 'tie'; known: "),
        ({"contributions": [2]}, "at least 1 run of 1 fuser and 3 contributions"),
        ({"mergekit": Path("/nowhere")}, "there is no Python interpreter /nowhere"),
    ],
)
def test_what_cannot_be_measured_is_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Bench(**{"fusers": ["mean"]} | settings)  # type: ignore[arg-type]
