"""Which tensor of the base each pair of LoRA factors belongs to, and which way round.

The names are those of the model that PEFT wrapped, which may be the base with a head on top ("bert.encoder"
for "encoder"), or the other way about. Shapes decide the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from coldfusion.errors import TensorMismatch
from coldfusion.lora.config import LoraConfig
from coldfusion.tensorfile import TensorFile, TensorInfo

PREFIX = "base_model.model."  # PEFT's, before the names of the model that it wraps
LONGEST = 500  # characters of a name

_ENDINGS = {  # of a factor's name -> (which one it is, whether it belongs to an embedding)
    ".lora_A.weight": ("A", False),
    ".lora_B.weight": ("B", False),
    ".lora_embedding_A": ("A", True),
    ".lora_embedding_B": ("B", True),
}


@dataclass(frozen=True, slots=True)
class Product:
    """scale * left @ right for one tensor. The factors' names in the file; A is (r, in), B (out, r)."""

    a: str
    b: str
    rank: int
    scale: float
    is_transposed: bool  # the tensor is (B A)^T = A^T B^T: left is A^T


@dataclass(frozen=True, slots=True)
class Module:
    """An adapted module: the base's tensor that it changes, and its factors' names by A and B."""

    name: str
    tensor: str
    is_embedding: bool
    factors: dict[str, str]


class Names:
    """Finds the base's tensor of a name that may have a prefix more or less."""

    def __init__(self, names: Mapping[str, TensorInfo]) -> None:
        self._names = names
        self._by_ending: dict[str, list[str]] = {}
        for name in names:
            for ending in _endings(name):
                self._by_ending.setdefault(ending, []).append(name)

    def find(self, name: str) -> str | None:
        """None where the base has no such tensor. Raises TensorMismatch where it has several."""
        if name in self._names:
            return name
        found = {*self._by_ending.get(name, []), *(e for e in _endings(name) if e in self._names)}
        if len(found) > 1:
            raise TensorMismatch(f"{name}: could be {' or '.join(sorted(found)[:3])} of the base")
        return next(iter(found), None)


def _endings(name: str) -> Iterator[str]:
    """The name, and what follows each of its dots."""
    yield name
    while "." in name:
        name = name.split(".", 1)[1]
        yield name


def sorted_out(file: TensorFile, names: Names) -> tuple[list[Module], tuple[str, ...]]:
    """(adapted modules, heads) of the tensors in an adapter's file."""
    modules: dict[str, Module] = {}
    whole = []
    for key in file.tensors:
        name = key.removeprefix(PREFIX)
        if len(name) > LONGEST:
            raise TensorMismatch(f"{file.path}: holds a name of {len(name)} characters: {name[:40]}...")
        ending = next((e for e in _ENDINGS if name.endswith(e)), None)
        if ending is None:
            whole.append(name)
            continue
        module, (factor, is_embedding) = name.removesuffix(ending), _ENDINGS[ending]
        if module not in modules:
            tensor = names.find(f"{module}.weight")
            if tensor is None:
                raise TensorMismatch(
                    f"{file.path}: {key} changes {module}.weight, which the base does not have"
                )
            modules[module] = Module(module, tensor, is_embedding, {})
        modules[module].factors[factor] = key
    _check_complete(file, modules)
    return list(modules.values()), _heads(file, names, modules, whole)


def _check_complete(file: TensorFile, modules: Mapping[str, Module]) -> None:
    by_tensor: dict[str, str] = {}
    for name, module in modules.items():
        if missing := {"A", "B"} - module.factors.keys():
            raise TensorMismatch(f"{file.path}: {name} has no factor {missing.pop()}")
        if module.tensor in by_tensor:
            raise TensorMismatch(
                f"{file.path}: {name} and {by_tensor[module.tensor]} both change {module.tensor} of the base"
            )
        by_tensor[module.tensor] = name


def _heads(
    file: TensorFile, names: Names, modules: Mapping[str, Module], whole: list[str]
) -> tuple[str, ...]:
    """The tensors that are saved whole and belong to no base; those that do are refused by name."""
    heads = []
    for name in whole:
        if ".lora_" in name or ".token_adapter." in name:
            raise TensorMismatch(f"{file.path}: {name} is not a factor of plain LoRA")
        layer, _, rest = name.partition(".base_layer.")
        if rest == "weight" and layer in modules and modules[layer].is_embedding:
            continue  # PEFT saves an adapted embedding's own weight with it; it is the base's
        tensor = names.find(f"{layer}.{rest}" if rest else name)
        if tensor is not None:
            raise TensorMismatch(
                f"{file.path}: holds {tensor} of the base whole (bias or modules_to_save); train it without, "
                "or merge it and fuse the checkpoint"
            )
        heads.append(name)
    return tuple(heads)


def fitted(
    file: TensorFile, config: LoraConfig, base: Mapping[str, TensorInfo], modules: list[Module]
) -> dict[str, Product]:
    """The product of every module by the base's tensor. Raises TensorMismatch where shapes do not fit."""
    ways = {m.tensor: _ways(file, base[m.tensor], m) for m in modules}
    # A square weight fits both ways round. The config knows, unless it is at odds with the other layers.
    others = {ways[m.tensor] for m in modules if not m.is_embedding} - {(False, True)}
    is_known = all(way == (config.is_transposed,) for way in others)
    products = {}
    for module in modules:
        way = ways[module.tensor]
        if len(way) > 1 and not is_known:
            raise TensorMismatch(
                f"{file.path}: {module.name} is square, and fan_in_fan_out is at odds with other layers; "
                "merge it into its base, and fuse the checkpoint"
            )
        a, b = module.factors["A"], module.factors["B"]
        rank = file.tensors[a].shape[0]
        products[module.tensor] = Product(
            a=a,
            b=b,
            rank=rank,
            scale=config.scale(module.name, rank),
            is_transposed=config.is_transposed if len(way) > 1 else way[0],
        )
    return products


def _ways(file: TensorFile, weight: TensorInfo, module: Module) -> tuple[bool, ...]:
    """Whether the product fits the base's weight as it is (False), transposed (True), or both."""
    a, b = (file.tensors[module.factors[factor]] for factor in "AB")
    if len(weight.shape) != 2 or len(a.shape) != 2 or len(b.shape) != 2:
        raise TensorMismatch(
            f"{file.path}: {module.name} is {list(weight.shape)}; linear layers and embeddings can be fused"
        )
    if not (a.is_float and b.is_float and weight.is_float):
        raise TensorMismatch(
            f"{file.path}: {module.name} is {a.dtype} and {b.dtype} on {weight.dtype}, not floats"
        )
    inner, outer = a.shape[1], b.shape[0]
    fits = {
        False: (outer, inner) == weight.shape and not module.is_embedding,
        True: (inner, outer) == weight.shape,
    }
    ways = tuple(way for way, fit in fits.items() if fit)
    if not ways or a.shape[0] != b.shape[1] or not a.shape[0]:
        raise TensorMismatch(
            f"{file.path}: {module.name} has factors {list(b.shape)} and {list(a.shape)}, "
            f"the base's weight is {list(weight.shape)}"
        )
    return ways
