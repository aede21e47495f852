"""The commands that `coldfusion bench fuse` measures: ours, mergekit's, Flower's, and loops by hand."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from coldfusion.checkpoint import WEIGHTS
from experiments.bench_inputs import Inputs

Command = Callable[[Path], list[str]]  # where to write -> what to run
Options = dict[str, Any]

OURS = [str(Path(sys.executable).with_name("coldfusion")), "fuse"]
PEERS = Path(__file__).parent / "peers"
SPARSE: Options = {"density": 0.2}
OPTIONS: dict[str, Options] = {
    "ties": SPARSE,
    "dare_linear": SPARSE,
    "dare_ties": SPARSE,
    "della": SPARSE,
    "della_linear": SPARSE,
    "breadcrumbs": SPARSE,
    "breadcrumbs_ties": SPARSE,
    "sce": {"select_topk": 0.2},
}
"""What is set, in both tools; a rule that is not named has its defaults."""

TRIM = 0.25

MERGEKIT = {name: name for name in (*OPTIONS, "task_arithmetic", "model_stock", "karcher")} | {
    "mean": "linear"
}
"""Our name for a rule -> mergekit's."""

FLOWER = ("mean", "median", "trimmed_mean", "krum", "multi_krum")


def ours(inputs: Inputs, count: int, fuser: str, *flags: str) -> Command:
    """`coldfusion fuse` of the first `count` contributions; without digests, which nobody else takes."""
    folders = [str(folder) for folder in inputs.contributions(count)]
    settings: list[str] = []
    for key, value in (OPTIONS | robust(count)).get(fuser, {}).items():
        settings += ["--set", f"{key}={value}"]
    command = [
        *OURS,
        "--base",
        str(inputs.base),
        *folders,
        "--fuser",
        fuser,
        *settings,
        *(flags or ["--no-digests"]),
    ]
    return lambda out: [*command, "-o", str(out)]


def mergekits(python: Path, inputs: Inputs, count: int, fuser: str) -> Command:
    """mergekit's method for the same, through its own command, in the inputs' dtype as its users run it."""
    method = MERGEKIT[fuser]
    models = [{"model": str(f), "parameters": {"weight": 1.0}} for f in inputs.contributions(count)]
    recipe: Options = {"merge_method": method, "dtype": inputs.dtype, "models": models}
    recipe["parameters"] = OPTIONS.get(fuser, {})
    if method not in ("linear", "karcher"):  # which take a base for one more model
        recipe["base_model"] = str(inputs.base)
    config = inputs.room / f"{method}.yml"
    config.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return lambda out: [str(python), str(PEERS / "mergekit_merge.py"), str(config), str(out)]


def flowers(python: Path, inputs: Inputs, count: int, fuser: str) -> Command:
    """Flower's aggregator for the same, on arrays; it writes nothing."""
    script, krum = PEERS / "flower_aggregate.py", robust(count)["multi_krum"]
    options = [f"--trim={TRIM}", f"--f={krum['f']}", f"--keep={krum['m']}"]
    return lambda out: [str(python), str(script), fuser, *_files(inputs, count), *options]


def by_hand(inputs: Inputs, count: int) -> dict[str, Command]:
    """The mean, as somebody writes it in an hour (positioned reads on 2 threads), and in a minute."""
    loop, load_all = (str(PEERS / name) for name in ("read_loop.py", "load_all.py"))
    files = _files(inputs, count)
    rows: dict[str, Command] = {
        "numpy loop": lambda out: [sys.executable, loop, inputs.dtype, str(out), *files]
    }
    if inputs.dtype != "bfloat16":  # which safetensors does not give to numpy
        rows["load all"] = lambda out: [sys.executable, load_all, str(out), *files]
    return rows


def robust(count: int) -> dict[str, Options]:
    """What is set for robust rules: Krum's bounds are as far as they go."""
    f = (count - 3) // 2
    return {"trimmed_mean": {"trim": TRIM}, "krum": {"f": f}, "multi_krum": {"f": f, "m": count // 2}}


def environment() -> dict[str, str]:
    """Of every command: no network, which a missing tokenizer would be looked for on."""
    return os.environ | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}


def _files(inputs: Inputs, count: int) -> list[str]:
    return [str(folder / WEIGHTS) for folder in inputs.contributions(count)]
