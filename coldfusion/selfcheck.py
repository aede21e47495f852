"""What a federation would say to a contribution, asked by its own contributor before anything leaves."""

from __future__ import annotations

from pathlib import Path

from coldfusion.admission import check_account, check_file, check_terms
from coldfusion.checkpoint import Checkpoint
from coldfusion.codecs import codec_named
from coldfusion.config import Policy
from coldfusion.engine.crews import Threads
from coldfusion.engine.measuring import measure_cohort
from coldfusion.engine.sources import Cohort, DeltaSource
from coldfusion.records import Manifest
from coldfusion.screens import SCREENS
from coldfusion.tensorfile import TensorFile


def reasons_against(
    manifest: Manifest, delta: Path, base: Checkpoint, *, policy: Policy, account: str
) -> list[str]:
    """Every reason that the door and the screens would have to refuse it; none where it is welcome.

    The screens see it alone: those that compare a contribution with its cohort may still refuse it later.
    """
    reasons = check_account(manifest.contributor, account, policy)
    reasons += check_terms(manifest.size, manifest.codec, policy)
    reasons += check_file(delta, manifest, base)
    if reasons:
        return reasons
    with TensorFile(delta) as file:
        source = DeltaSource(manifest.contributor, file, codec_named(manifest.codec))
        stats = measure_cohort(Cohort(base, (source,)), Threads())
    return [reason for screen in SCREENS.values() if (reason := screen(0, stats))]
