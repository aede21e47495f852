"""What a recipe names, opened: its base, its inputs, and where the files lie that hold their weights.

An input is a checkpoint, a LoRA adapter, or a contribution: the folder of a delta and its manifest.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from coldfusion.checkpoint import Checkpoint
from coldfusion.codecs import codec_named
from coldfusion.engine.sources import CheckpointSource, Cohort, DeltaSource, Source
from coldfusion.errors import ManifestError
from coldfusion.jsonrecords import from_json
from coldfusion.lora.adapters import FACTORS, Adapter, is_adapter
from coldfusion.lora.source import AdapterSource
from coldfusion.offline.recipes import Input, Recipe
from coldfusion.places import Directory, Place, sha256_of
from coldfusion.records import DELTA, MANIFEST, Manifest
from coldfusion.tensorfile import TensorFile

OpenInput = Callable[[str], Checkpoint]
"""What a recipe calls a checkpoint -> the open checkpoint. Raises BaseError, HubError."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The cohort of a recipe, and by name where its base and every input are, with the files of weights."""

    cohort: Cohort
    files: dict[str, tuple[Place, list[str]]]
    bytes_read: int  # of the inputs, each counted once


def open_all(recipe: Recipe, open_input: OpenInput, stack: ExitStack) -> Opened:
    """Everything that a recipe names, open until the stack is left. Raises what is wrong, naming it."""
    base = stack.enter_context(open_input(recipe.base))
    files, sources, size = {"base": (base.place, base.files)}, list[Source](), 0
    for one in recipe.inputs:
        folder = Path(one.model)
        if is_adapter(folder):
            adapter = stack.enter_context(Adapter(folder, base.tensors))
            sources.append(AdapterSource(one.key, adapter, _fisher(one, stack)))
            files[one.key] = (Directory(folder), [FACTORS])
            size += (folder / FACTORS).stat().st_size
        elif (folder / MANIFEST).is_file():
            sources.append(_contribution(one, stack))
            files[one.key] = (Directory(folder), [DELTA])
            size += (folder / DELTA).stat().st_size
        else:
            checkpoint = stack.enter_context(open_input(one.model))
            sources.append(CheckpointSource(one.key, checkpoint, recipe.mismatch, _fisher(one, stack)))
            files[one.key] = (checkpoint.place, checkpoint.files)
            size += sum(info.nbytes for info in checkpoint.tensors.values())
    return Opened(Cohort(base, tuple(sources)), files, size)


def _contribution(one: Input, stack: ExitStack) -> DeltaSource:
    """The delta of a contribution, as its manifest describes it. Raises ManifestError where it does not."""
    folder = Path(one.model)
    manifest = from_json(Manifest, (folder / MANIFEST).read_bytes(), source=str(folder / MANIFEST))
    delta = folder / DELTA
    if not delta.is_file() or sha256_of(delta) != manifest.sha256:
        raise ManifestError(f"{folder}: its {DELTA} is not there, or not the one that {MANIFEST} describes")
    file = stack.enter_context(TensorFile(delta))
    return DeltaSource(one.key, file, codec_named(manifest.codec), _fisher(one, stack))


def _fisher(one: Input, stack: ExitStack) -> TensorFile | None:
    return stack.enter_context(TensorFile(Path(one.fisher))) if one.fisher else None
