"""What a recipe names, opened: its base, its inputs, and where the files lie that hold their weights."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from coldfusion.checkpoint import Checkpoint
from coldfusion.engine.sources import CheckpointSource, Cohort, Source
from coldfusion.lora.adapters import FACTORS, Adapter, is_adapter
from coldfusion.lora.source import AdapterSource
from coldfusion.offline.recipes import Input, Recipe
from coldfusion.places import Directory, Place
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
        if is_adapter(Path(one.model)):
            adapter = stack.enter_context(Adapter(Path(one.model), base.tensors))
            sources.append(AdapterSource(one.key, adapter, _fisher(one, stack)))
            files[one.key] = (Directory(Path(one.model)), [FACTORS])
            size += (Path(one.model) / FACTORS).stat().st_size
        else:
            checkpoint = stack.enter_context(open_input(one.model))
            sources.append(CheckpointSource(one.key, checkpoint, recipe.mismatch, _fisher(one, stack)))
            files[one.key] = (checkpoint.place, checkpoint.files)
            size += sum(info.nbytes for info in checkpoint.tensors.values())
    return Opened(Cohort(base, tuple(sources)), files, size)


def _fisher(one: Input, stack: ExitStack) -> TensorFile | None:
    return stack.enter_context(TensorFile(Path(one.fisher))) if one.fisher else None
