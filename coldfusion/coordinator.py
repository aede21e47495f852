"""Running a round: collect, admit, screen, fuse, evaluate, publish, tag, settle.

All state is on the Hub and every step can be repeated, so a coordinator that was killed anywhere is simply
started again: what was published is finished (tag, settle), what was not is done anew, with the same bytes.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from coldfusion.admission import (
    Tree,
    check_account,
    check_contribution,
    check_file,
    contribution_paths,
    read_contribution,
    touched_paths,
)
from coldfusion.attribution import Assessor, attribute
from coldfusion.candidates import Candidates, source_of
from coldfusion.cardtext import Card, plain_card
from coldfusion.checkpoint import Checkpoint, weight_files
from coldfusion.config import Policy
from coldfusion.errors import (
    ConfigError,
    ManifestError,
    NotOnHub,
    NotYet,
    StaleParent,
    TensorMismatch,
    TooFew,
    writing,
)
from coldfusion.federation import Evaluate, State, read_records, read_state, round_files, write_files
from coldfusion.gating import Promotion, promote
from coldfusion.heldout import publish_held_out
from coldfusion.hub import Hub, Proposal, materialise
from coldfusion.layout import outer_path, tag_name
from coldfusion.recording import gated, record_of
from coldfusion.records import (
    Contribution,
    Revision,
    RoundRecord,
    Verdict,
    Worth,
    parse_title,
)
from coldfusion.rounds import Round, admit, decide, refuse, verdict_on
from coldfusion.screens import judge
from coldfusion.settling import settle
from coldfusion.stepping import measure
from coldfusion.tensorfile import TensorFile

STEPS = (
    *("collect", "admit", "screen", "fuse", "attribute", "evaluate"),
    *("publish", "tag", "settle", "done"),
)
"""What `on_step` is told: the name of each step just before it is taken, in this order, and "done" after."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coordinator:
    """One party's means to run rounds: a Hub, room on the disk, a way to evaluate.

    workdir holds nothing that is needed again: it is emptied when a round starts.
    """

    hub: Hub
    workdir: Path
    evaluate: Evaluate  # on test splits, of what is published and of nothing else
    judge: Evaluate | None = None  # on validation splits, as often as the gate asks; None: there is no gate
    assessor: Assessor | None = None  # finds out what contributions are worth; None: nobody does
    held_out: Path | None = None  # a file of hashes of the held-out texts, to be published; see `heldout`
    card: Card = plain_card  # what is published of every round for people
    on_step: Callable[[str], None] = lambda step: None
    on_trouble: Callable[[str], None] = lambda text: None  # told what went wrong and did not stop the round

    def finish(self) -> State:
        """Tag and settle what was published last, if whoever published it was interrupted. The state now.

        Then what is held out, if that changed: contributors look at it before they begin.
        """
        state = read_state(self.hub)
        self.hub.tag(tag_name(state.record.round_index), at=state.base)
        settle(self.hub, state, on_trouble=self.on_trouble)
        return state if self.held_out is None else publish_held_out(self.hub, state, self.held_out)

    def run_round(
        self, absent: Sequence[Verdict] = (), *, quorum: int | None = None, state: State | None = None
    ) -> RoundRecord:
        """Run the open round to its end. absent: contributors that failed before they submitted.

        quorum: accepted contributions that it needs; None: as many as the policy says. state: of the
        federation when the round was found to be due; None: as it is now.

        Raises TooFew, and leaves the Hub as it was, where fewer contributions than the quorum are left;
        NotYet where the fuser cannot work with those that are, Krum with four and f = 1 for example.
        StaleParent means that somebody else published this round: stop.
        """
        state = state or self.finish()
        quorum = quorum or state.policy.quorum
        base_dir = self._room(state)
        round_ = refuse(Round(index=state.open_round, base=state.base), absent)
        with Checkpoint(base_dir) as base, ExitStack() as stack:
            self.on_step("collect")
            proposals = self.hub.proposals()
            self.on_step("admit")
            round_ = self._admit(round_, proposals, base, state)
            self.on_step("screen")
            files = {c: stack.enter_context(self._open(c)) for c in round_.contributions}
            stats = measure(base, [source_of(c, file) for c, file in files.items()], state.policy.fuser)
            round_ = decide(round_, judge(round_.contributions, stats))
            if len(round_.cohort) < quorum:
                if self.hub.head() != state.head:  # who published it has closed what was there
                    raise StaleParent(
                        f"{self.hub.address}: round {round_.index} was published by somebody else"
                    )
                raise TooFew(_too_few(round_, quorum))
            self.on_step("fuse")
            candidates = Candidates(
                hub=self.hub, state=state, base=base, files=files, stats=stats, workdir=self.workdir
            )
            promotion = self._promote(round_, candidates)
            self.on_step("attribute")
            worths = self._attribute(promotion, candidates)
        self.on_step("evaluate")
        made, output = self._output(promotion, state, base_dir)
        record = replace(
            record_of(gated(round_, promotion), stats, promotion, output),
            evaluation=self.evaluate(made, base_dir),
            worths=worths,
            pretrained=state.record.pretrained,
        )
        self.on_step("publish")
        head = self._publish(record, output, state)
        self.on_step("tag")
        self.hub.tag(tag_name(record.round_index), at=head)
        self.on_step("settle")
        settle(self.hub, State(head, head, state.policy, record), on_trouble=self.on_trouble)
        self.on_step("done")
        return record

    def _publish(self, record: RoundRecord, files: Mapping[str, Path], state: State) -> Revision:
        """One commit of everything that a round publishes; the outer state of the round before goes."""
        old = outer_path(state.record.round_index)
        had = old in state.record.output and self.hub.paths(old, at=state.head)
        records = [*read_records(self.hub, at=state.head), record]
        texts = write_files(self.workdir / "texts", round_files(records, self.card))
        return self.hub.commit(
            {**files, **texts},
            message=f"round {record.round_index}: {record.num_accepted} contributions fused",
            parent=state.head,
            removed=[old] if had else [],
        )

    def _room(self, state: State) -> Path:
        """The base, freshly laid out."""
        with writing(self.workdir):
            shutil.rmtree(self.workdir, ignore_errors=True)
            base = self.workdir / "base"
            base.mkdir(parents=True)
            return materialise(self.hub, state.base, base)

    def _promote(self, round_: Round, candidates: Candidates) -> Promotion:
        policy, judge, base_dir = candidates.state.policy, self.judge, self.workdir / "base"
        try:
            return promote(
                round_.cohort,
                candidates,
                (lambda candidate: judge(candidate, base_dir)) if judge and policy.gate else None,
                task_drop=policy.gate_task_drop,
            )
        except (ConfigError, TensorMismatch) as exc:
            there = len(round_.cohort)
            raise NotYet(f"round {round_.index}: {there} contributions are there; {exc}") from exc

    def _attribute(self, promotion: Promotion, candidates: Candidates) -> tuple[Worth, ...]:
        if self.assessor is None or promotion.candidate is None:
            return ()
        return attribute(promotion.candidate, candidates, self.assessor)

    def _output(self, promotion: Promotion, state: State, base_dir: Path) -> tuple[Path, dict[str, Path]]:
        """(what is published, as a checkpoint; its files): the candidate, or the base that stays."""
        made = promotion.candidate
        directory = base_dir if made is None else made.directory
        files = {name: directory / name for name in weight_files(directory)}
        outer = promotion.step.previous if made is None else made.outer
        if outer is not None and outer.exists():
            files[outer_path(state.open_round)] = outer
        return directory, files

    def _admit(self, round_: Round, proposals: Sequence[Proposal], base: Checkpoint, state: State) -> Round:
        """The round with every pull request admitted or refused that is titled like a contribution.

        Others (a mended model card) are people's business. One for another round is refused unread: what a
        round costs must not grow with what strangers leave lying about.
        """
        base_tree = self.hub.paths(at=state.base)
        for proposal in proposals:
            title = parse_title(proposal.title)
            if title is not None and title[0] != round_.index:
                reason = f"made for round {title[0]}; the open round is {round_.index}"
                round_ = refuse(round_, [_refusal(proposal, reason)])
            elif title is not None:
                with suppress(NotOnHub):  # taken away while it was read: it is nobody's contribution now
                    round_ = self._admit_one(round_, proposal, base, base_tree, state.policy)
        return round_

    def _admit_one(
        self, round_: Round, proposal: Proposal, base: Checkpoint, base_tree: Tree, policy: Policy
    ) -> Round:
        tree = self.hub.paths(at=proposal.revision)
        touched = touched_paths(base_tree, tree)
        try:
            contribution = read_contribution(self.hub, proposal, tree, touched)
        except ManifestError as exc:
            return refuse(round_, [_refusal(proposal, str(exc))])
        if reasons := check_account(contribution.manifest.contributor, proposal.author, policy):
            return refuse(round_, [_refusal(proposal, "; ".join(reasons))])
        admitted = admit(round_, contribution)
        if contribution not in admitted.contributions:
            return admitted
        reasons = check_contribution(contribution, tree, touched, policy)
        reasons = reasons or check_file(self._fetch_delta(contribution), contribution.manifest, base)
        return refuse(round_, [verdict_on(contribution, reasons)]) if reasons else admitted

    def _fetch_delta(self, contribution: Contribution) -> Path:
        path, _ = contribution_paths(contribution.manifest.contributor)
        return self.hub.fetch(path, at=contribution.revision)

    def _open(self, contribution: Contribution) -> TensorFile:
        return TensorFile(self._fetch_delta(contribution))


def _refusal(proposal: Proposal, reason: str) -> Verdict:
    """Of a pull request whose contributor cannot be told for sure: it counts against the account."""
    return Verdict(
        contributor=proposal.author,
        proposal=proposal.number,
        revision=proposal.revision,
        reasons=(reason,),
    )


def _too_few(round_: Round, quorum: int) -> str:
    reasons = "; ".join(f"{v.contributor}: {', '.join(v.reasons)}" for v in round_.all_verdicts if v.reasons)
    return f"round {round_.index}: {len(round_.cohort)} of {quorum} contributions needed are there" + (
        f" ({reasons})" if reasons else ""
    )
