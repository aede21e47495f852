from pathlib import Path

import numpy as np
import pytest

from coldfusion.admission import contribution_paths
from coldfusion.checkpoint import Checkpoint
from coldfusion.config import Policy
from coldfusion.jsonrecords import from_json
from coldfusion.records import Manifest
from coldfusion.selfcheck import reasons_against
from hub_sync.local import LocalHub
from tests.helpers import contribute, finetuned, new_federation, small_body

BODY = small_body()


def against(room: Path, *, policy: Policy, account: str = "alice", nan: bool = False) -> list[str]:
    hub, body = LocalHub(room / "store"), finetuned(BODY, 1)
    if nan:
        body["norm"] = np.array([np.nan], np.float32)
    base = new_federation(hub, room, BODY)
    proposal = contribute(hub, room, body, name="alice")
    delta, manifest = (hub.fetch(path, at=proposal.revision) for path in contribution_paths("alice"))
    said = from_json(Manifest, manifest.read_bytes(), source="manifest")
    with Checkpoint(base) as checkpoint:
        return reasons_against(said, delta, checkpoint, policy=policy, account=account)


def test_a_good_contribution_is_welcome(tmp_path: Path) -> None:
    assert against(tmp_path, policy=Policy()) == []


@pytest.mark.parametrize(
    "policy, account, nan, reason",
    [
        (Policy(), "alice", True, "holds NaN or Inf"),
        (Policy(max_delta_bytes=10), "alice", False, "at most 10 are accepted"),
        (Policy(codecs=["float32"]), "alice", False, "this federation accepts float32"),
        (Policy(contributors=["bob"]), "alice", False, "'alice' is not among the accounts"),
        (Policy(), "bob", False, "'bob' contributes as bob or bob--NAME, not as 'alice'"),
    ],
)
def test_what_the_federation_would_refuse_is_known_before_it_leaves(
    tmp_path: Path, policy: Policy, account: str, nan: bool, reason: str
) -> None:
    (found,) = against(tmp_path, policy=policy, account=account, nan=nan)
    assert reason in found
