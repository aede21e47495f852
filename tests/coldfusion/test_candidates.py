from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from coldfusion.admission import contribution_paths
from coldfusion.candidates import Candidates, source_of
from coldfusion.checkpoint import Checkpoint
from coldfusion.config import Policy
from coldfusion.errors import ConfigError
from coldfusion.federation import read_state
from coldfusion.hub import Proposal, materialise
from coldfusion.jsonrecords import from_json
from coldfusion.records import Contribution, Manifest
from coldfusion.stepping import measure
from coldfusion.tensorfile import TensorFile
from hub_sync.local import LocalHub
from tests.helpers import contribute, finetuned, new_federation, small_body

BODY = small_body()
NAMES = ("alice", "bob", "carol", "dan", "erin")


def contribution_of(hub: LocalHub, name: str, proposal: Proposal) -> Contribution:
    manifest = hub.fetch(contribution_paths(name)[1], at=proposal.revision).read_bytes()
    return Contribution(
        manifest=from_json(Manifest, manifest, source=name),
        proposal=proposal.number,
        revision=proposal.revision,
    )


@contextmanager
def candidates(room: Path, policy: Policy, names: tuple[str, ...] = NAMES) -> Iterator[Candidates]:
    """Of a first round to which so many contributed, with 1, 2, 3, ... training examples."""
    hub = LocalHub(room / "store")
    new_federation(hub, room, BODY, policy)
    found = []
    for i, name in enumerate(names):
        proposal = contribute(hub, room, finetuned(BODY, i + 1), name=name, says={"num_examples": i + 1})
        found.append(contribution_of(hub, name, proposal))
    state, work = read_state(hub), room / "work"
    (work / "base").mkdir(parents=True)
    with ExitStack() as stack:
        base = stack.enter_context(Checkpoint(materialise(hub, state.base, work / "base")))
        paths = {c: contribution_paths(c.manifest.contributor)[0] for c in found}
        files = {c: stack.enter_context(TensorFile(hub.fetch(p, at=c.revision))) for c, p in paths.items()}
        stats = measure(base, [source_of(c, file) for c, file in files.items()], policy.fuser)
        yield Candidates(hub=hub, state=state, base=base, files=files, stats=stats, workdir=work)


@pytest.mark.parametrize(
    "policy",
    [
        Policy(),
        Policy(outer="momentum", outer_lr=1.0),
        Policy(fuser="median"),
        Policy(fuser="ties"),
    ],
    ids=["mean", "momentum", "median", "ties"],
)
def test_the_base_without_a_contribution_is_a_fusion_of_the_others_to_the_last_byte(
    tmp_path: Path, policy: Policy
) -> None:
    with candidates(tmp_path, policy) as made:
        cohort = tuple(made.files)
        whole = made.fuse(cohort)
        for one, left in made.without_each(whole):
            others = made.fuse([c for c in cohort if c is not one], "others").directory
            for name in ("model.safetensors", "config.json"):
                assert (left / name).read_bytes() == (others / name).read_bytes()
        assert (whole.directory / "model.safetensors").exists()  # it is still to be published


def test_without_a_contribution_of_another_weight_it_is_the_same_to_1e_6(tmp_path: Path) -> None:
    with candidates(tmp_path, Policy(weights="examples", outer_lr=0.7)) as made:
        cohort = tuple(made.files)
        for one, left in made.without_each(made.fuse(cohort)):
            others = made.fuse([c for c in cohort if c is not one], "others").directory
            found, wanted = (load_file(folder / "model.safetensors") for folder in (left, others))
            for name, tensor in wanted.items():
                np.testing.assert_allclose(found[name], tensor, rtol=0, atol=1e-6)


def test_without_its_only_contribution_a_candidate_is_the_base(tmp_path: Path) -> None:
    with candidates(tmp_path, Policy(), ("alice",)) as made:
        ((_, left),) = made.without_each(made.fuse(tuple(made.files)))
        assert left == made.workdir / "base"


def test_a_rule_that_cannot_do_with_one_less_says_so(tmp_path: Path) -> None:
    krum = Policy(fuser="krum", fuser_options={"f": 1})
    with candidates(tmp_path, krum) as made:
        whole = made.fuse(tuple(made.files))
        with pytest.raises(ConfigError, match="Krum with f = 1 needs at least 5"):
            list(made.without_each(whole))
