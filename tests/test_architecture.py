"""The house keeps its shape: imports go one way, the core stays light, the pure modules stay pure."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ["coldfusion", "hub_sync", "contributors", "experiments"]  # each may import the earlier ones
CORE_LAYERS = [
    "native",
    "exact",
    "fusers",
    "engine",
    "lora",
    "offline",
]  # in coldfusion/: so may each of these
COMPOSITION_ROOT = ROOT / "coldfusion" / "cli.py"  # imports all of them, per command

CORE_MAY_IMPORT = {"coldfusion", "numpy", "safetensors", "omegaconf", "yaml", "typer", "rich", "__future__"}


def modules(package: str) -> list[Path]:
    """Of a package of the core."""
    return sorted((ROOT / "coldfusion" / package).glob("*.py"))


PURE = [
    *("codecs", "dtypes", "errors", "options", "outer", "records", "rounds", "scores", "screens"),
    *("groups", "layout", "seeds", "stats", "weighting"),
    *("exact/gram", "exact/sums", "exact/wholesums", "engine/spans"),
    *(f"fusers/{path.stem}" for path in modules("fusers")),
]
IMPURE = {
    "os",
    "time",
    "random",
    "socket",
    "subprocess",
    "shutil",
    "tempfile",
    "ray",
    "huggingface_hub",
    "torch",
}
NO_TRACE_OF = {
    "huggingface_hub": {"hub_sync"},
    "ray": {"contributors"},
    "dulwich": {"hub_sync"},
    "starlette": {"hub_sync"},
    "uvicorn": {"hub_sync"},
    "lz4": {"hub_sync"},
    "lm_eval": {"contributors"},
}
"""Libraries that only these layers import by name."""


def sources(layer: str) -> list[Path]:
    return [path for path in sorted((ROOT / layer).rglob("*.py")) if path != COMPOSITION_ROOT]


@cache
def nodes(file: Path) -> list[ast.AST]:
    """Everything in a file, parsed once for all tests."""
    return list(ast.walk(ast.parse(file.read_text())))


def imported(file: Path, depth: int = 1) -> Iterator[str]:
    """What a file imports, to the first so many parts of the names."""
    for node in nodes(file):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield ".".join(node.module.split(".")[:depth])
        elif isinstance(node, ast.Import):
            yield from (".".join(alias.name.split(".")[:depth]) for alias in node.names)


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_only_go_down(layer: str) -> None:
    above = set(LAYERS[LAYERS.index(layer) + 1 :])
    for file in sources(layer):
        assert not set(imported(file)) & above, f"{file} imports upwards"


@pytest.mark.parametrize("package", CORE_LAYERS)
def test_imports_within_the_core_only_go_down(package: str) -> None:
    above = {f"coldfusion.{name}" for name in CORE_LAYERS[CORE_LAYERS.index(package) + 1 :]}
    for file in modules(package):
        assert not set(imported(file, 2)) & above, f"{file} imports upwards"


def test_the_core_imports_its_few_libraries_and_nothing_else() -> None:
    for file in sources("coldfusion"):
        foreign = set(imported(file)) - set(sys.stdlib_module_names) - CORE_MAY_IMPORT
        assert not foreign, f"{file} imports {foreign}"


@pytest.mark.parametrize("module", ["coldfusion.coordinator", "contributors.coordinating"])
def test_a_coordinator_starts_without_the_heavy_libraries(module: str) -> None:
    script = (
        f"import sys, {module}\n"
        "print([m for m in ('torch', 'ray', 'transformers', 'huggingface_hub') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


@pytest.mark.parametrize("name", PURE)
def test_a_pure_module_touches_neither_files_nor_clock_nor_network(name: str) -> None:
    assert not set(imported(ROOT / "coldfusion" / f"{name}.py")) & IMPURE


@pytest.mark.parametrize("library", NO_TRACE_OF)
def test_a_library_stays_in_its_layer(library: str) -> None:
    for layer in set(LAYERS) - NO_TRACE_OF[library]:
        for file in sources(layer):
            assert library not in set(imported(file)), f"{file} imports {library}"


@pytest.mark.parametrize("layer", LAYERS)
def test_every_module_says_what_it_is(layer: str) -> None:
    for file in sources(layer):
        module = nodes(file)[0]
        assert isinstance(module, ast.Module) and ast.get_docstring(module), f"{file} has no docstring"


@pytest.mark.parametrize("layer", LAYERS)
def test_files_and_functions_keep_their_size(layer: str) -> None:
    for file in sources(layer):
        assert len(file.read_text().splitlines()) <= 300, f"{file} is too long"
        for node in nodes(file):
            if isinstance(node, ast.FunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                assert length <= 60, f"{file}: {node.name} is {length} lines"
