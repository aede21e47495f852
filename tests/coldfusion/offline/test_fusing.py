import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from coldfusion.checkpoint import INDEX, Checkpoint
from coldfusion.deltas import write_delta
from coldfusion.engine.sources import Mismatch
from coldfusion.errors import ConfigError, ManifestError, TensorMismatch
from coldfusion.jsonrecords import to_json
from coldfusion.offline.fusing import fuse_offline
from coldfusion.offline.recipes import Input, Recipe, read_recipe
from coldfusion.places import sha256_of
from coldfusion.records import Manifest, Revision
from tests.helpers import Tensors, finetuned, small_body, write_checkpoint


def checkpoints(room: Path, body: Tensors, count: int = 3) -> Recipe:
    """A base of `body` and so many finetuned ones, and the recipe for their mean."""
    base = write_checkpoint(room / "base", body)
    inputs = [write_checkpoint(room / f"m{i}", finetuned(body, i)) for i in range(count)]
    return Recipe(str(base), tuple(Input(str(path)) for path in inputs))


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "coldfusion.cli", "fuse", *arguments]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def test_the_mean_of_two_by_hand(tmp_path: Path) -> None:
    base = write_checkpoint(tmp_path / "base", {"w": np.array([1.0, 2.0], np.float32)})
    for name, values in {"a": [2.0, 2.0], "b": [4.0, 1.0]}.items():
        write_checkpoint(tmp_path / name, {"w": np.array(values, np.float32)})
    inputs = tuple(Input(str(tmp_path / name)) for name in "ab")
    fuse_offline(Recipe(str(base), inputs), tmp_path / "out")
    assert load_file(tmp_path / "out" / "model.safetensors")["w"].tolist() == [3.0, 1.5]


def test_from_pretrained_opens_what_is_made(tmp_path: Path) -> None:
    from transformers import AutoModel, BertConfig, BertModel

    config = BertConfig(
        vocab_size=40, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    for name in ("base", "a", "b"):
        BertModel(config).save_pretrained(tmp_path / name)
    (tmp_path / "base" / "tokenizer.json").write_text("{}")
    recipe = Recipe(str(tmp_path / "base"), (Input(str(tmp_path / "a")), Input(str(tmp_path / "b"))))
    made = fuse_offline(recipe, tmp_path / "out").directory
    name = "embeddings.word_embeddings.weight"
    one, two = (load_file(tmp_path / x / "model.safetensors")[name] for x in "ab")
    opened = AutoModel.from_pretrained(made).state_dict()[name].numpy()
    np.testing.assert_allclose(opened, (one + two) / 2, rtol=1e-6)
    assert (made / "tokenizer.json").read_text() == "{}"


def test_the_card_holds_the_recipe_and_the_digests(tmp_path: Path) -> None:
    recipe = checkpoints(tmp_path, small_body())
    made = fuse_offline(recipe, tmp_path / "out").directory
    card = (made / "README.md").read_text()
    for folder in (made, tmp_path / "base", tmp_path / "m1"):
        assert sha256_of(folder / "model.safetensors") in card
    again = fuse_offline(read_recipe(made / "fuse.yaml"), tmp_path / "again", digests=False).directory
    assert (again / "model.safetensors").read_bytes() == (made / "model.safetensors").read_bytes()


def test_a_sharded_base_gives_the_same_shards(tmp_path: Path) -> None:
    recipe = checkpoints(tmp_path, small_body())
    whole = load_file(fuse_offline(recipe, tmp_path / "whole").directory / "model.safetensors")
    shard(tmp_path / "base")
    shard(tmp_path / "m1")
    made = fuse_offline(recipe, tmp_path / "out").directory
    with Checkpoint(made) as checkpoint:
        assert sorted(checkpoint.shards) == [
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
        ]
        for name, values in whole.items():
            assert checkpoint.read(name).tobytes() == values.tobytes()


def shard(directory: Path) -> None:
    tensors = load_file(directory / "model.safetensors")
    names = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    places = {tensor: names[i % 2] for i, tensor in enumerate(sorted(tensors))}
    for name in names:
        save_file({t: v for t, v in tensors.items() if places[t] == name}, directory / name)
    (directory / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": places}))
    (directory / "model.safetensors").unlink()


def test_another_dtype_is_said_in_the_config(tmp_path: Path) -> None:
    recipe = checkpoints(tmp_path, {"w": np.array([1.0, 2.0], np.float32)})
    (tmp_path / "base" / "config.json").write_text('{"dtype": "float32"}')
    made = fuse_offline(Recipe(recipe.base, recipe.inputs, dtype="bfloat16"), tmp_path / "out").directory
    with Checkpoint(made) as checkpoint:
        assert checkpoint.tensors["w"].dtype == "BF16"
    assert json.loads((made / "config.json").read_text())["dtype"] == "bfloat16"


@pytest.mark.parametrize("mismatch", ["refuse", "base", "rows"])
def test_a_vocabulary_that_grew(tmp_path: Path, mismatch: Mismatch) -> None:
    base = write_checkpoint(tmp_path / "base", {"embed": np.zeros((2, 1), np.float32)})
    write_checkpoint(tmp_path / "a", {"embed": np.array([[1], [1], [9]], np.float32)})
    recipe = Recipe(str(base), (Input(str(tmp_path / "a")),), mismatch=mismatch)
    if mismatch == "refuse":
        with pytest.raises(
            TensorMismatch, match=r"a: embed has shape \[3, 1\], the base \[2, 1\]; say --mismatch"
        ):
            fuse_offline(recipe, tmp_path / "out")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "base"]
    else:
        fuse_offline(recipe, tmp_path / "out")
        fused = load_file(tmp_path / "out" / "model.safetensors")["embed"]
        assert fused.tolist() == ([[0.0], [0.0]] if mismatch == "base" else [[1.0], [1.0]])


@pytest.mark.parametrize("missing", ["w", "extra"])
def test_a_tensor_that_only_one_has_is_named(tmp_path: Path, missing: str) -> None:
    one = np.ones(1, np.float32)
    base = write_checkpoint(tmp_path / "base", {"w": one, "v": one})
    write_checkpoint(tmp_path / "a", {"v": one} if missing == "w" else {"w": one, "v": one, "extra": one})
    with pytest.raises(TensorMismatch, match=rf"a: has .*'{missing}'"):
        fuse_offline(Recipe(str(base), (Input(str(tmp_path / "a")),)), tmp_path / "out")


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    recipe = checkpoints(tmp_path, small_body())
    with pytest.raises(ConfigError, match="is there already"):
        fuse_offline(recipe, tmp_path / "base")


def test_a_number_that_is_none_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    body = {"w": np.array([1.0, 2.0], np.float32)}
    recipe = checkpoints(tmp_path, body)
    write_checkpoint(tmp_path / "m1", {"w": np.array([1.0, np.nan], np.float32)})
    done = command("--base", recipe.base, *(one.model for one in recipe.inputs), "-o", str(tmp_path / "out"))
    assert done.returncode == 2
    assert done.stderr.startswith("coldfusion: m1: w holds") and done.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "m0", "m1", "m2"]


def test_the_command_says_what_it_made(tmp_path: Path) -> None:
    recipe = checkpoints(tmp_path, small_body())
    inputs = [one.model for one in recipe.inputs]
    done = command(
        "--base",
        recipe.base,
        *inputs,
        "--weight",
        "1",
        "--weight",
        "1",
        "--weight",
        "2",
        "-o",
        str(tmp_path / "out"),
    )
    assert done.returncode == 0 and "3 inputs" in done.stdout and str(tmp_path / "out") in done.stdout
    assert read_recipe(tmp_path / "out" / "fuse.yaml").inputs[2].weight == 2
    again = command("--recipe", str(tmp_path / "out" / "fuse.yaml"), "-o", str(tmp_path / "again"))
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "again/model.safetensors").read_bytes() == (
        tmp_path / "out/model.safetensors"
    ).read_bytes()


def test_a_command_that_is_killed_leaves_no_output(tmp_path: Path) -> None:
    body = {f"w{i}": np.zeros((256, 1024), np.float32) for i in range(24)}
    recipe = checkpoints(tmp_path, body, 2)
    line = [
        sys.executable,
        "-m",
        "coldfusion.cli",
        "fuse",
        "--base",
        recipe.base,
        "-o",
        str(tmp_path / "out"),
    ]
    process = subprocess.Popen([*line, *(one.model for one in recipe.inputs)])
    while not list(tmp_path.glob(".out.*.partial/.model*")):
        assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out").exists()


def test_every_rule_is_listed_with_its_options() -> None:
    listed = command("--list").stdout
    assert "mean " in listed and "--set scale=1.0 normalize=False" in listed


def test_contributions_are_inputs_and_give_the_bytes_of_their_checkpoints(tmp_path: Path) -> None:
    recipe = checkpoints(tmp_path, small_body())
    fuse_offline(recipe, tmp_path / "whole", digests=False)
    deltas = tuple(Input(str(contribution(tmp_path, recipe, i))) for i in range(3))
    fuse_offline(Recipe(recipe.base, deltas), tmp_path / "deltas")
    one, two = (tmp_path / name / "model.safetensors" for name in ("whole", "deltas"))
    assert one.read_bytes() == two.read_bytes()
    (tmp_path / "c1" / "delta.safetensors").write_bytes(b"another")
    with pytest.raises(ManifestError, match="c1: its delta.safetensors is not there, or not the one"):
        fuse_offline(Recipe(recipe.base, deltas), tmp_path / "again")


def contribution(room: Path, recipe: Recipe, i: int) -> Path:
    folder = room / f"c{i}"
    folder.mkdir()
    delta, body = folder / "delta.safetensors", finetuned(small_body(), i)
    with Checkpoint(Path(recipe.base)) as base:
        write_delta(base, lambda name: np.asarray(body[name]), delta, codec="exact")
    manifest = Manifest(
        contributor=f"c{i}",
        round_index=1,
        base=Revision("0" * 40),
        codec="exact",
        num_examples=1,
        size=delta.stat().st_size,
        sha256=sha256_of(delta),
    )
    (folder / "manifest.json").write_bytes(to_json(manifest))
    return folder
