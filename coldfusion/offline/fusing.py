"""`coldfusion fuse`: checkpoints in, one checkpoint out, for anybody and without a federation.

The output directory appears whole or not at all: everything is written beside it and renamed at the end.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from coldfusion.checkpoint import INDEX, Checkpoint, weight_files
from coldfusion.engine.crews import Crew
from coldfusion.engine.fusing import Rule, fuse_cohort
from coldfusion.engine.sources import Cohort
from coldfusion.errors import ConfigError, writing
from coldfusion.fusers import fuser_named, make_options
from coldfusion.lora.adapters import FACTORS
from coldfusion.lora.refactoring import become_adapter, changed_layers
from coldfusion.offline.card import fuse_card
from coldfusion.offline.inputs import Opened, OpenInput, open_all
from coldfusion.offline.recipes import DTYPES, Recipe, dump_recipe
from coldfusion.places import Directory, Place, contents

RECIPE, CONFIG = "fuse.yaml", "config.json"
LEFT_BEHIND = (".safetensors", ".bin", ".pt", ".pth", ".h5", ".msgpack", ".ckpt", ".onnx", ".gguf")
"""Endings of the base's files that hold weights: the output has its own."""

Digests = dict[str, dict[str, str]]
"""Whose file it is, an input's name, "base" or "output" -> name of the file -> sha256."""


@dataclass(frozen=True, slots=True)
class Made:
    """What a fusion made."""

    directory: Path
    elements: int  # of the body, each counted once
    bytes_read: int  # of the inputs, each counted once
    digests: Digests = field(default_factory=dict)  # where they were taken


def fuse_offline(
    recipe: Recipe,
    into: Path,
    *,
    crew: Crew | None = None,
    digests: bool = True,
    on_elements: Callable[[int, int], None] = lambda done, total: None,
    open_input: OpenInput = lambda name: Checkpoint(Path(name)),
) -> Made:
    """Fuse what a recipe names into the new directory `into`: a checkpoint that `from_pretrained` opens.

    digests: sha256 of every weight file that went in and came out, for the model card. on_elements is told
    how many elements of all inputs were read, and how many there are in one pass. Raises ConfigError,
    BaseError and TensorMismatch before anything is written, StorageError when the disk refuses.
    """
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise ConfigError(f"{into} is there already; name a new directory, or delete it yourself")
    with ExitStack() as stack:
        opened = open_all(recipe, open_input, stack)
        if recipe.rank:
            changed_layers(opened.cohort)  # refused before the work, not after it
        partial = into.with_name(f".{into.name}.{os.getpid()}.partial")
        stack.callback(shutil.rmtree, partial, ignore_errors=True)
        with writing(into):
            partial.mkdir(parents=True)
        elements = sum(info.count for info in opened.cohort.body.values())
        done, total = 0, elements * len(opened.cohort.sources)

        def count(read: int) -> None:
            nonlocal done
            done += read
            on_elements(done, total)

        fuse_cohort(opened.cohort, _rule(recipe, opened.cohort), partial, crew=crew, on_elements=count)
        found = _finish(recipe, opened, partial, digests=digests)
        with writing(into):
            if into.exists():
                into.rmdir()
            os.replace(partial, into)
        return Made(into, elements, opened.bytes_read, found)


def _rule(recipe: Recipe, cohort: Cohort) -> Rule:
    fuser, weights = fuser_named(recipe.fuser), {one.key: one.weight for one in recipe.inputs}
    return Rule(
        fuser=fuser,
        options=make_options(fuser, recipe.options),
        weights=tuple(weights[key] for key in cohort.keys),
        seed=recipe.seed,
        outer_lr=recipe.outer_lr,
        dtype=DTYPES.get(recipe.dtype),
    )


def _finish(recipe: Recipe, opened: Opened, partial: Path, *, digests: bool) -> Digests:
    """Everything beside the weights; the digests, if they are wanted."""
    left_out = None
    with writing(partial):
        if recipe.rank:
            left_out = become_adapter(partial, opened.cohort, recipe.base, recipe.rank)
        else:
            _copy_companions(opened.cohort.base.place, partial)
            _note_dtype(partial, recipe.dtype)
        made = [FACTORS] if recipe.rank else weight_files(partial)
        found = _digests(opened.files | {"output": (Directory(partial), made)}) if digests else {}
        (partial / RECIPE).write_text(dump_recipe(recipe), encoding="utf-8")
        (partial / "README.md").write_text(fuse_card(recipe, found, left_out), encoding="utf-8")
    return found


def _digests(files: Mapping[str, tuple[Place, list[str]]]) -> Digests:
    """Of every weight file, by whose it is; hashed side by side, which the interpreter's lock allows."""
    each = [(who, place, name) for who, (place, names) in files.items() for name in names]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        hashes = list(pool.map(lambda file: file[1].sha256(file[2]), each))
    found: Digests = {who: {} for who in files}
    for (who, _, name), digest in zip(each, hashes, strict=True):
        found[who][name] = digest
    return found


def _copy_companions(base: Place, into: Path) -> None:
    """The base's config, tokenizer and whatever else is no weight."""
    for name in sorted(base.names()):
        weights = name.endswith((*LEFT_BEHIND, ".index.json")) or name in ("README.md", RECIPE)
        if not weights and not name.startswith("."):
            (into / name).write_bytes(contents(base, name))


def _note_dtype(directory: Path, dtype: str) -> None:
    """Say in config.json and in the index what the floats are now: transformers loads what it says."""
    if dtype and (directory / CONFIG).exists():
        config = json.loads((directory / CONFIG).read_text(encoding="utf-8"))
        config |= {key: dtype for key in ("dtype", "torch_dtype") if key in config}
        (directory / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    if dtype and (directory / INDEX).exists():
        index = json.loads((directory / INDEX).read_text(encoding="utf-8"))
        with Checkpoint(directory) as made:
            index.setdefault("metadata", {})["total_size"] = sum(i.nbytes for i in made.tensors.values())
        (directory / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
