"""The door: what a pull request must be before anybody looks at its numbers.

It holds one manifest and one delta and touches nothing else; the delta is not too large, is the file that
the manifest describes, and has the base's tensors. Sizes are known from the tree, so nothing is fetched
that is over the cap, and nothing that a stranger sent is ever unpickled or imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from coldfusion.checkpoint import Checkpoint
from coldfusion.config import Policy
from coldfusion.deltas import check_delta
from coldfusion.errors import ManifestError, TensorMismatch
from coldfusion.hub import Hub, PathInfo, Proposal
from coldfusion.jsonrecords import from_json
from coldfusion.places import sha256_of
from coldfusion.records import DELTA, MANIFEST, Contribution, Manifest, is_contributor_name, is_name_of
from coldfusion.tensorfile import TensorFile

FOLDER = "contributions/"
MAX_MANIFEST_BYTES = 65_536

Tree = Sequence[PathInfo]
"""The files of one revision, by path."""


def contribution_paths(contributor: str) -> tuple[str, str]:
    """(delta, manifest): the only two files of a contribution, as they are named on the Hub."""
    return f"{FOLDER}{contributor}/{DELTA}", f"{FOLDER}{contributor}/{MANIFEST}"


def read_contribution(hub: Hub, proposal: Proposal, tree: Tree, touched: Sequence[str]) -> Contribution:
    """The contribution that a pull request carries, by its manifest alone. Raises ManifestError.

    touched: the paths that it changes, see `touched_paths`.
    """
    sizes = {info.path: info.size for info in tree}
    found = [path for path in touched if path.startswith(FOLDER)]
    name = found[0].split("/")[1] if found else ""
    # Before anything is fetched: a path that a stranger chose becomes a path on this machine's disk.
    if not is_contributor_name(name) or tuple(found) != contribution_paths(name) or found[1] not in sizes:
        raise ManifestError(f"not the two files of one contributor in {FOLDER}: {found[:5]!r}")
    path = found[1]
    if sizes[path] > MAX_MANIFEST_BYTES:
        raise ManifestError(f"manifest of {sizes[path]} bytes, at most {MAX_MANIFEST_BYTES} are read")
    manifest = from_json(Manifest, hub.fetch(path, at=proposal.revision).read_bytes(), source=MANIFEST)
    if manifest.contributor != name:
        raise ManifestError(f"the manifest is of {manifest.contributor!r}, its folder of {name!r}")
    return Contribution(manifest=manifest, proposal=proposal.number, revision=proposal.revision)


def check_account(contributor: str, account: str, policy: Policy) -> list[str]:
    """Reasons why an account may not contribute under this name, or at all."""
    reasons = []
    if not is_name_of(contributor, account):
        reasons.append(f"{account!r} contributes as {account} or {account}--NAME, not as {contributor!r}")
    if policy.contributors is not None and account not in policy.contributors:
        reasons.append(f"{account!r} is not among the accounts that may contribute")
    return reasons


def check_contribution(
    contribution: Contribution, tree: Tree, touched: Sequence[str], policy: Policy
) -> list[str]:
    """Reasons to turn a contribution away that show before its delta is fetched."""
    delta, manifest = contribution_paths(contribution.manifest.contributor)
    size = next(info.size for info in tree if info.path == delta)
    reasons = check_terms(size, contribution.manifest.codec, policy)
    if odd := [path for path in touched if path not in (delta, manifest)]:
        reasons.append(f"changes {odd[0]!r}: a contribution adds its own two files and nothing else")
    return reasons


def check_terms(size: int, codec: str, policy: Policy) -> list[str]:
    """Reasons why a delta of so many bytes in this codec is not accepted."""
    reasons = []
    if size > policy.max_delta_bytes:
        reasons.append(f"delta of {size} bytes, at most {policy.max_delta_bytes} are accepted")
    if codec not in policy.codecs:
        reasons.append(f"codec {codec!r}; this federation accepts {', '.join(policy.codecs)}")
    return reasons


def check_file(path: Path, manifest: Manifest, base: Checkpoint) -> list[str]:
    """Why a delta file is not what its manifest says, or does not fit the base."""
    if path.stat().st_size != manifest.size or sha256_of(path) != manifest.sha256:
        return ["the delta is not the file that the manifest describes (size or sha256)"]
    try:
        with TensorFile(path, max_header=header_limit(base)) as file:
            return check_delta(base, file.tensors, codec=manifest.codec)
    except TensorMismatch as exc:
        return [str(exc).replace(f"{path}: ", "")]


def header_limit(base: Checkpoint) -> int:
    """Bytes that the header of a delta may have: a stranger's megabytes of JSON are not worth reading."""
    return 65_536 + 1024 * len(base.tensors)


def touched_paths(before: Tree, after: Tree) -> list[str]:
    """Paths that were added, removed or changed, in order."""
    one = {info.path: info.digest for info in before}
    two = {info.path: info.digest for info in after}
    return sorted(path for path in one.keys() | two.keys() if one.get(path) != two.get(path))
