"""Small real things to test with: checkpoints of a few numbers, contributions, a federation in a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from coldfusion.admission import contribution_paths
from coldfusion.checkpoint import Checkpoint
from coldfusion.config import Policy
from coldfusion.deltas import write_delta
from coldfusion.federation import Start, found, read_state
from coldfusion.hub import Proposal, materialise
from coldfusion.jsonrecords import to_json
from coldfusion.places import sha256_of
from coldfusion.records import Entry, Evaluation, Manifest
from hub_sync.local import LocalHub

Tensors = Mapping[str, NDArray[np.float32]]
NOTHING: Mapping[str, object] = {}


def small_body(seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Five tensors of odd shapes, with magnitudes like those of a real encoder."""
    rng = np.random.default_rng(seed)
    shapes = {"embed": (11, 3), "layer.weight": (5, 7), "layer.bias": (5,), "norm": (1,), "scale": ()}
    return {name: rng.normal(0, 0.02, shape).astype(np.float32) for name, shape in shapes.items()}


def finetuned(body: Tensors, seed: int, step: float = 1e-3) -> dict[str, NDArray[np.float32]]:
    """The body after some made-up training."""
    rng = np.random.default_rng(seed)
    return {n: np.asarray(t + rng.normal(0, step, t.shape), dtype=np.float32) for n, t in body.items()}


def write_checkpoint(directory: Path, body: Tensors) -> Path:
    """A checkpoint directory with an integer buffer beside the body, and a config."""
    directory.mkdir(parents=True, exist_ok=True)
    tensors = {**body, "position_ids": np.arange(4)}
    save_file(
        {n: np.array(t, order="C") for n, t in tensors.items()},
        directory / "model.safetensors",
        {"format": "pt"},
    )
    (directory / "config.json").write_text("{}")
    return directory


def new_federation(hub: LocalHub, room: Path, body: Tensors, policy: Policy | None = None) -> Path:
    """Publish round 0 on an empty Hub; the directory of its base."""
    base = write_checkpoint(room / "pretrained", body)
    found(hub, Start(base), policy or Policy(), evaluate=lambda *_: Evaluation(), workdir=room / "founding")
    return base


def contribute(
    hub: LocalHub,
    room: Path,
    body: Tensors,
    *,
    name: str,
    codec: str = "exact",
    says: Mapping[str, object] = NOTHING,
) -> Proposal:
    """Submit what `name` finetuned from the newest base; the manifest says `says` instead of the truth."""
    state, folder = read_state(hub), room / name
    folder.mkdir(parents=True, exist_ok=True)
    delta, description = folder / "delta.safetensors", folder / "manifest.json"
    with Checkpoint(materialise(hub, state.base, folder / "base")) as checkpoint:
        write_delta(checkpoint, lambda tensor: np.asarray(body[tensor]), delta, codec=codec)
    return propose(hub, delta, description, {"contributor": name, "codec": codec, **says})


def propose(hub: LocalHub, delta: Path, description: Path, fields: Mapping[str, object]) -> Proposal:
    """Open a pull request with a delta file and a manifest that says `fields` about it."""
    state = read_state(hub)
    known: dict[str, object] = {
        "codec": "exact",
        "base": state.base,
        "round_index": state.open_round,
        "num_examples": 10,
        "size": delta.stat().st_size,
        "sha256": sha256_of(delta),
    }
    manifest = Manifest(**{**known, **fields})  # type: ignore[arg-type]
    description.write_bytes(to_json(manifest))
    files = dict(zip(contribution_paths(manifest.contributor), (delta, description), strict=True))
    account = signed_in(hub, manifest.contributor.split("--")[0])
    return account.propose(files, title=manifest.title, message="a test contributes", parent=state.base)


def signed_in(hub: LocalHub, account: str) -> LocalHub:
    """The same repo, as another account."""
    return LocalHub(hub.root, repo_id=hub.repo_id, author=account)


def entry(name: str, *reasons: str, **said: Any) -> Entry:
    """A contribution in a record: fused, unless there are reasons. `said` replaces what is made up."""
    made: dict[str, Any] = {
        "proposal": 1,
        "revision": None,
        "sha256": None,
        "codec": "exact",
        "num_examples": 40,
        "size": 2048,
        "weight": 0.0 if reasons else 1.0,
        "norm": None if reasons else 0.25,
    }
    return Entry(contributor=name, reasons=reasons, **(made | said))
