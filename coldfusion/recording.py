"""What a round comes to, as its record says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from coldfusion.gating import Promotion
from coldfusion.places import sha256_of
from coldfusion.records import MOST_COMPARED, Entry, RoundRecord, Similarity, Verdict
from coldfusion.rounds import Round
from coldfusion.stats import RoundStats


def gated(round_: Round, promotion: Promotion) -> Round:
    """The round with a refusal of everybody who was left out at the gate."""

    def after(verdict: Verdict) -> Verdict:
        reason = promotion.refused.get(verdict.contributor) if verdict.accepted else None
        return verdict if reason is None else replace(verdict, reasons=(reason,))

    return replace(round_, verdicts=tuple(map(after, round_.verdicts)))


def record_of(
    round_: Round, stats: RoundStats, promotion: Promotion, files: Mapping[str, Path]
) -> RoundRecord:
    """The record of a round that is decided, but for the scores of what it publishes."""
    contributions = {c.proposal: c for c in round_.contributions}
    norms = dict(zip(stats.keys, stats.norms, strict=True))
    step, cohort = promotion.step, round_.cohort
    weights: dict[int | None, float] = dict(
        zip((c.proposal for c in cohort), step.weights if cohort else (), strict=True)
    )
    entries = []
    for verdict in round_.all_verdicts:
        contribution = contributions.get(verdict.proposal) if verdict.proposal is not None else None
        manifest = contribution.manifest if contribution else None
        entries.append(
            Entry(
                contributor=verdict.contributor,
                proposal=verdict.proposal,
                revision=verdict.revision,
                sha256=manifest.sha256 if manifest else None,
                codec=manifest.codec if manifest else None,
                num_examples=manifest.num_examples if manifest else None,
                size=manifest.size if manifest else None,
                weight=weights.get(verdict.proposal, 0.0),
                norm=float(f"{norms[verdict.contributor]:.6g}") if verdict.accepted else None,
                reasons=verdict.reasons,
            )
        )
    stays = () if cohort else ("nothing that was contributed held at the gate: the base stays what it was",)
    return RoundRecord(
        round_index=round_.index,
        parent=round_.base,
        fusing=step.fusing,
        entries=tuple(entries),
        output={path: sha256_of(file) for path, file in files.items()},
        notes=(*step.notes, *stays),
        trials=promotion.trials,
        similarity=similarity_of(stats),
    )


def similarity_of(stats: RoundStats) -> Similarity:
    """The cosines of a round's deltas; 0 with one that is zero or not finite."""
    keys = stats.keys[:MOST_COMPARED]
    norms = np.sqrt(np.diagonal(stats.gram))[: len(keys)]
    lengths = np.outer(norms, norms)
    cosines = stats.gram[: len(keys), : len(keys)] / np.where(lengths > 0, lengths, 1.0)
    rows = tuple(tuple(round(float(c), 4) + 0.0 for c in cosines[i, :i]) for i in range(len(keys)))
    return Similarity(contributors=keys, rows=rows)
