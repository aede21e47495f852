"""A fusion of LoRA adapters as an adapter again: the fused delta of every layer, cut to a rank."""

from __future__ import annotations

from pathlib import Path

from coldfusion.checkpoint import Checkpoint
from coldfusion.dtypes import widen
from coldfusion.engine.sources import Cohort
from coldfusion.errors import ConfigError, writing
from coldfusion.lora.lowrank import Factors, refactor, write_adapter
from coldfusion.lora.source import AdapterSource


def changed_layers(cohort: Cohort) -> list[str]:
    """The tensors that a cohort of adapters changes, in the base's order.

    Raises ConfigError where an input is no adapter, or has layers that are stored transposed.
    """
    names: set[str] = set()
    for source in cohort.sources:
        if not isinstance(source, AdapterSource):
            raise ConfigError(f"{source.key}: is no LoRA adapter; a rank is for a fusion of adapters alone")
        if odd := source.adapter.transposed:
            raise ConfigError(f"{source.key}: {odd[0]} is stored transposed; leave the rank out to fuse it")
        names |= set(source.adapter.tensors)
    return [name for name in cohort.base.tensors if name in names]


def become_adapter(directory: Path, cohort: Cohort, base_name: str, rank: int) -> float:
    """Put an adapter of this rank into `directory` in place of the fused checkpoint that is there.

    The largest share of a layer's delta that did not fit into the rank (Frobenius norm, 0 to 1).
    """
    factors: dict[str, Factors] = {}
    with Checkpoint(directory) as fused:
        for name in changed_layers(cohort):
            info = cohort.base.tensors[name]
            new, old = (widen(one.read(name), one.tensors[name].dtype) for one in (fused, cohort.base))
            factors[name] = refactor((new - old).reshape(info.shape), rank)
        files = fused.files
    write_adapter(directory, base_name, factors, rank)
    with writing(directory):
        for name in files:
            (directory / name).unlink()
    return max((one.error for one in factors.values()), default=0.0)
