"""The arguments of `coldfusion fuse`. Imports nothing that is heavy before the command runs."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Annotated

import typer

_INTO = Path("fused")
_FUSER = "Rule: mean, ties, median, ...; all of them with --list."
_SET = "Of the rule."
_MISMATCH = "Tensors that differ from the base's: refuse, base (keep its), rows (shared ones)."


def fuse(  # noqa: PLR0913 - one parameter per option
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            help="Directories, .safetensors files, org/name[@revision], LoRA adapters, contributions.",
            metavar="INPUT...",
        ),
    ] = None,
    base: Annotated[str | None, typer.Option(help="The checkpoint that they were finetuned from.")] = None,
    into: Annotated[Path, typer.Option("-o", "--output", help="New directory for the result.")] = _INTO,
    fuser: Annotated[str, typer.Option(help=_FUSER)] = "mean",
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help=_SET)] = None,
    weights: Annotated[list[float] | None, typer.Option("--weight", help="One for each input.")] = None,
    recipe: Annotated[Path | None, typer.Option(help="YAML file with all of this instead.")] = None,
    seed: Annotated[int, typer.Option(help="Of rules that drop elements at random.")] = 0,
    outer_lr: Annotated[float, typer.Option(help="Output = base + outer_lr * fused delta.")] = 1.0,
    mismatch: Annotated[str, typer.Option(help=_MISMATCH)] = "refuse",
    dtype: Annotated[str, typer.Option(help="Of the output's floats; else the base's.")] = "",
    rank: Annotated[int, typer.Option(help="Of LoRA inputs: make an adapter of this rank.", min=0)] = 0,
    threads: Annotated[int | None, typer.Option(help="Else one per core.", min=1)] = None,
    ray: Annotated[bool, typer.Option("--ray", help="On Ray's workers in place of threads.")] = False,
    ray_address: Annotated[str | None, typer.Option(help="Of a cluster; else Ray starts here.")] = None,
    digests: Annotated[bool, typer.Option(help="sha256 of inputs and output, for the model card.")] = True,
    show: Annotated[bool, typer.Option("--list", help="Show the rules and their options.")] = False,
) -> None:
    """Fuse finetuned checkpoints into one, offline. Memory does not grow with the models or their number."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the engine has threads of its own
    gc.disable()  # imports leave no garbage, and looking for it is a tenth of the start
    from coldfusion.engine.crews import Crew, Threads
    from coldfusion.offline import command
    from coldfusion.offline.recipes import parse_settings
    from hub_sync.inputs import open_input

    gc.enable()
    if show:
        print(command.rules())
        return
    made = command.recipe_from(
        recipe,
        base,
        inputs or [],
        weights or [],
        fuser=fuser,
        options=parse_settings(settings or []),
        seed=seed,
        outer_lr=outer_lr,
        mismatch=mismatch,
        dtype=dtype,
        rank=rank,
    )
    crew: Crew = Threads(threads)
    if ray or ray_address:
        from contributors.crew import ray_crew

        crew = ray_crew(ray_address)
    command.run(made, into, crew=crew, digests=digests, open_input=open_input)
