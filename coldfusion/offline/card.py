"""The model card of a fused checkpoint: what went in, by which recipe, and the digest of what came out."""

from __future__ import annotations

from collections.abc import Mapping

from coldfusion import __version__
from coldfusion.fusers import fuser_named
from coldfusion.offline.recipes import Recipe, dump_recipe

_CARD = """\
---
library_name: {library}
{lineage}tags:
- coldfusion
- merge
---

# {count} models fused by {fuser}

{summary}.{adapter}

| | model | weight |
| --- | --- | --- |
{table}

## Recipe

`fuse.yaml` holds it too; `coldfusion fuse --recipe fuse.yaml -o OUT` gives the same bytes again, on any
machine and on any number of threads.

```yaml
{recipe}```
{digests}
Fused with coldfusion {version}.
"""


def fuse_card(recipe: Recipe, digests: Mapping[str, Mapping[str, str]], left_out: float | None = None) -> str:
    """README.md of a fused checkpoint. digests: input or "output" -> file -> sha256, if they were taken.

    left_out: of an adapter, the largest share of a layer's delta that its rank had no room for.
    """
    rows = [f"| base | `{recipe.base}` | |"]
    rows += [f"| {one.key} | `{one.model}` | {one.weight:g} |" for one in recipe.inputs]
    return _CARD.format(
        library="peft" if recipe.rank else "transformers",
        lineage=_lineage(recipe),
        count=len(recipe.inputs),
        fuser=recipe.fuser,
        summary=_sentence(fuser_named(recipe.fuser).summary),
        adapter=_adapter(recipe, left_out),
        table="\n".join(rows),
        recipe=dump_recipe(recipe),
        digests=_digest_table(digests),
        version=__version__,
    )


def _lineage(recipe: Recipe) -> str:
    """Front matter for those that the Hub knows; a folder of this machine means nothing to it."""
    names = [name for name in (recipe.base, *(one.model for one in recipe.inputs)) if _is_on_hub(name)]
    if not names:
        return ""
    return (
        "base_model:\n"
        + "".join(f"- {name.split('@')[0]}\n" for name in names)
        + "base_model_relation: merge\n"
    )


def _is_on_hub(name: str) -> bool:
    return name.count("/") == 1 and not name.startswith((".", "/", "~"))


def _digest_table(digests: Mapping[str, Mapping[str, str]]) -> str:
    if not digests:
        return ""
    rows = [f"| {who} | {file} | `{digest}` |" for who, of in digests.items() for file, digest in of.items()]
    return "\n## Digests\n\n| | file | sha256 |\n| --- | --- | --- |\n" + "\n".join(rows) + "\n"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _adapter(recipe: Recipe, left_out: float | None) -> str:
    if left_out is None:
        return ""
    return f" Cut to rank {recipe.rank}, which leaves out {left_out:.1%} of a layer's change at most."
