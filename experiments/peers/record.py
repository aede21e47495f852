"""Record what mergekit and Flower make of small models, as fixtures for the tests.

python -m experiments.peers.record MERGEKIT FLOWER [FOLDER]: two Python interpreters, and where to write. One
safetensors file per architecture holds the flat outputs, tensors in the order of their names, and the bits of
random masks; its metadata the tensors' shapes and the versions. The inputs are made again from models.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from safetensors.numpy import load_file, save_file

from experiments.peers.cases import EIGHT, FLOWER, OTHER, SAME, THREE, WEIGHTS, Case
from experiments.peers.models import Model, Shapes, base_model, deltas, fine_tuned

HERE = Path(__file__).parent
DATA = HERE.parents[1] / "tests" / "peers" / "data"


def record(mergekit: str, flower: str, into: Path = DATA) -> None:
    """Write one file per architecture."""
    into.mkdir(parents=True, exist_ok=True)
    found = {"mergekit": _version(mergekit, "mergekit"), "torch": _version(mergekit, "torch")}
    found["flwr"] = _version(flower, "flwr")
    for name, (config, shapes) in architectures().items():
        with tempfile.TemporaryDirectory() as folder:
            room = Room(Path(folder), config, shapes)
            outputs = dict(room.merged(mergekit, (*SAME, *OTHER) if name == "bert" else SAME))
            if name == "bert":
                outputs |= dict(room.aggregated(flower))
        save_file(outputs, into / f"{name}.safetensors", found | {"shapes": json.dumps(shapes)})


def architectures() -> dict[str, tuple[dict[str, Any], Shapes]]:
    """Config and shapes of a BERT with a classifier and of a Llama, as small as they get, by transformers."""
    from transformers import BertConfig, BertForSequenceClassification, LlamaConfig, LlamaForCausalLM

    small: dict[str, Any] = {
        "hidden_size": 12,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": 24,
    }
    llama = LlamaForCausalLM(LlamaConfig(**small, intermediate_size=20, num_key_value_heads=1))
    labels: dict[str, Any] = {"num_labels": 8}
    bert = BertForSequenceClassification(
        BertConfig(**small, **labels, intermediate_size=24, max_position_embeddings=8)
    )
    found: dict[str, tuple[dict[str, Any], Shapes]] = {}
    for name, model in (("bert", bert), ("llama", llama)):
        config = model.config.to_dict() | {"architectures": [type(model).__name__]}
        found[name] = config, {n: tuple(p.shape) for n, p in sorted(model.named_parameters())}
    return found


class Room:
    """A directory with models as the tools read them, made as they are asked for."""

    def __init__(self, folder: Path, config: dict[str, Any], shapes: Shapes) -> None:
        self.folder, self.config, self.shapes = folder, config, shapes

    def checkpoint(self, name: str, model: Model) -> Path:
        folder = self.folder / name
        if not folder.exists():
            folder.mkdir()
            (folder / "config.json").write_text(json.dumps(self.config), encoding="utf-8")
            save_file(model, folder / "model.safetensors", {"format": "pt"})
        return folder

    def merged(self, python: str, cases: tuple[Case, ...]) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
        """The output of every case, and the bits of its masks (models, elements)."""
        for case in cases:
            config, out, masks = (self.folder / f"{case.name}{end}" for end in (".yml", "", ".masks"))
            config.write_text(yaml.safe_dump(self._recipe(case)), encoding="utf-8")
            drawing = ["--masks", str(masks)] if case.draws else []
            _run([python, str(HERE / "mergekit_merge.py"), str(config), str(out), *drawing])
            yield case.name, self._flat(load_file(out / "model.safetensors"))
            if case.draws:
                drawn = load_file(masks)
                rows = [
                    self._flat({name: drawn[f"{name}/{i}"] for name in self.shapes})
                    for i in range(len(case.models))
                ]
                yield f"{case.name}.masks", np.packbits(np.stack(rows), axis=1)

    def aggregated(self, python: str) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
        """What Flower makes of eight fine-tunes."""
        folders = [self.checkpoint(key, fine_tuned(self.shapes, key)) for key in EIGHT]
        files = [str(folder / "model.safetensors") for folder in folders]
        for rule in FLOWER:
            out = self.folder / f"{rule}.safetensors"
            _run([python, str(HERE / "flower_aggregate.py"), rule, *files, "-o", str(out)])
            yield f"flower.{rule}", self._flat(load_file(out))

    def _recipe(self, case: Case) -> dict[str, Any]:
        make = deltas if case.of_deltas else fine_tuned
        models = {
            key: self.checkpoint(f"{make.__name__}-{case.kind}-{key}", make(self.shapes, key, case.kind))
            for key in case.models
        }
        weights = WEIGHTS if case.weighted else dict.fromkeys(THREE, 1.0)
        entries = [{"model": str(f), "parameters": {"weight": weights[key]}} for key, f in models.items()]
        recipe: dict[str, Any] = {"merge_method": case.method, "dtype": "float32", "models": entries}
        recipe["parameters"] = dict(case.theirs)
        if case.method == "slerp":  # from its base to its model
            recipe |= {"base_model": str(models["a"]), "models": entries[1:]}
        elif case.method not in ("linear", "karcher"):  # which take a base for one more model
            recipe["base_model"] = str(self.checkpoint("base", base_model(self.shapes)))
        return recipe

    def _flat(self, tensors: dict[str, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
        return np.concatenate([tensors[name].reshape(-1) for name in self.shapes])


def _run(command: list[str]) -> str:
    done = subprocess.run(command, env=os.environ | {"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def _version(python: str, package: str) -> str:
    return _run(
        [python, "-c", f"from importlib.metadata import version; print(version({package!r}))"]
    ).strip()


if __name__ == "__main__":
    record(sys.argv[1], sys.argv[2], *map(Path, sys.argv[3:4]))
