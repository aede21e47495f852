"""`coldfusion join`: one contributor's part in a federation, for one round or for every one that opens.

Pull, fine-tune, check, show what would leave, ask, submit. A finished contribution waits in the outbox while
the Hub is away, and is submitted exactly once.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from coldfusion.admission import check_account
from coldfusion.checkpoint import Checkpoint
from coldfusion.errors import ConfigError, ContributionError, HubUnavailable
from coldfusion.federation import State, read_state
from coldfusion.heldout import HELD_OUT, fetch_held_out
from coldfusion.hub import Hub, Proposal, materialise
from coldfusion.records import DELTA, Revision, is_contributor_name, is_name_of
from coldfusion.seeds import seed_for
from coldfusion.selfcheck import reasons_against
from contributors.config import JoinConfig
from contributors.consent import Consent, describe_parcel
from contributors.data import Examples, load_examples
from contributors.devices import limit_threads
from contributors.hygiene import refuse_name, sift
from contributors.node import Turn, prepare, submit, submitted
from contributors.reporting import Milestones, Report
from hub_sync.address import Remote, open_hub, proposal_address
from hub_sync.outbox import Outbox, Parcel
from hub_sync.rooms import short_digest, state_folder


def join(
    repo: str,
    data: str,
    config: JoinConfig,
    *,
    watch: bool,
    consent: Consent,
    say: Callable[[str], None],
) -> None:
    """Contribute to the federation at an address: once, or to every round as it opens."""
    room = Path(config.outbox) if config.outbox else state_folder() / "outbox"
    fetched = room / f"fetched-{short_digest(repo, config.name)}"
    hub = open_hub(repo, author=config.name or "local", remote=Remote(timeout=config.timeout, cache=fetched))
    limit_threads(config.threads or os.cpu_count() or 1)
    contributor = name_for(hub.author, config.name)
    joiner = Joiner(
        hub=hub,
        contributor=contributor,
        data=data,
        config=config,
        outbox=Outbox(room, address=hub.address, contributor=contributor),
        consent=consent,
        say=say,
        report=Milestones(say),
        fetched=fetched,
    )
    if watch:
        joiner.rounds()
    else:
        joiner.contribute()


@dataclass(frozen=True, slots=True, kw_only=True)
class Joiner:
    """What a contributor brings: data, settings, a yes or no, and room on the disk."""

    hub: Hub
    contributor: str
    data: str  # see contributors.data.load_examples
    config: JoinConfig
    outbox: Outbox
    consent: Consent
    say: Callable[[str], None]
    report: Report
    sleep: Callable[[float], None] = time.sleep
    fetched: Path | None = None  # the hub's cache: emptied after every round, or it would fill the disk

    def contribute(self) -> Proposal | None:
        """Contribute to the open round; None where it is done already, or its owner said no.

        Raises ContributionError where the federation would refuse it, DataError where the data cannot be
        used or is of a held-out task: nothing leaves then.
        """
        state = read_state(self.hub)
        if self.contributor in submitted(self.hub, state.open_round):
            self.say(f"{self.contributor} contributes to round {state.open_round} already")
            return None
        held_out = self._held_out(state)
        origin = self._origin(held_out)
        parcel = self.outbox.parcel(base=state.base, origin=origin) or self._make(state, origin)
        proposal = self._submit(parcel, held_out) if self._is_agreed(parcel) else None
        if self.fetched is not None:
            shutil.rmtree(self.fetched, ignore_errors=True)
        return proposal

    def rounds(self) -> None:
        """Contribute to every round as it opens, for ever. An outage is waited out."""
        done: Revision | None = None
        while True:
            nap = self.config.poll
            try:
                head = self.hub.head()
                if head != done:
                    self.contribute()
                    done = head
            except HubUnavailable as exc:
                nap = max(nap, exc.retry_after or 0.0)
                self.say(f"{exc}; trying again in {nap:.0f} s")
            self.sleep(nap)

    def _held_out(self, state: State) -> list[str]:
        """The digests of the list of held-out texts as main has it: none or one."""
        return [info.digest for info in self.hub.paths(HELD_OUT, at=state.head)]

    def _origin(self, held_out: list[str]) -> str:
        """Names what a contribution is made from: a file that was changed is other data.

        What is held out now may not have been when it was made.
        """
        path = Path(self.data)
        stamp = (path.stat().st_size, path.stat().st_mtime_ns) if path.is_file() else None
        return short_digest(self.data, stamp, asdict(self.config.training), self.config.seed, held_out)

    def _make(self, state: State, origin: str) -> Parcel:
        """Fine-tune from the newest base and leave the contribution in the outbox, checked."""
        # What can be known before hours of work is.
        if reasons := check_account(self.contributor, self.hub.author, state.policy):
            raise ContributionError(_refused(reasons))
        examples, checked = self._read(state)
        self.say(f"round {state.open_round}: fetching base {state.base[:12]}")
        with tempfile.TemporaryDirectory(prefix="coldfusion-") as scratch:
            base = materialise(self.hub, state.base, Path(scratch) / "base")
            self.say(f"round {state.open_round}: fine-tuning on {self.data}")
            made = prepare(base, self._turn(state), examples, into=Path(scratch), report=self.report)
            with Checkpoint(base) as checkpoint:
                reasons = reasons_against(
                    made.manifest,
                    Path(scratch) / DELTA,
                    checkpoint,
                    policy=state.policy,
                    account=self.hub.author,
                )
            if reasons:
                raise ContributionError(_refused(reasons))
            return self.outbox.put(Path(scratch), made.manifest, origin=origin, checked=checked)

    def _read(self, state: State) -> tuple[Examples, str]:
        """(the data without what is held out, what it was checked against and what was found)."""
        # As main says now: the file may be younger than the base.
        held_out = fetch_held_out(self.hub, at=state.head)
        if held_out is None:
            return load_examples(self.data), "The federation names no held-out tasks to check against."
        refuse_name(self.data, held_out)
        sifted = sift(self.data, load_examples(self.data), held_out)
        self.say(sifted.line)
        tasks = f"the federation's held-out tasks ({len(held_out.terms.tasks)})"
        return sifted.examples, f"Checked against {tasks}: {sifted.line}. What was found stays here."

    def _turn(self, state: State) -> Turn:
        return Turn(
            contributor=self.contributor,
            hub=self.hub.address,
            round_index=state.open_round,
            base=state.base,
            data=self.data,
            training=self.config.training,
            codec=state.policy.codecs[0],
            seed=seed_for(self.config.seed, "round", state.open_round, self.contributor),
        )

    def _is_agreed(self, parcel: Parcel) -> bool:
        """Whether its owner said yes, now or before a kill or an outage."""
        if parcel.is_agreed:
            return True
        text = describe_parcel(parcel, address=self.hub.address, account=self.hub.author)
        if not self.consent(text):
            self.outbox.clear()
            self.say("nothing left this machine")
            return False
        parcel.agree()
        return True

    def _submit(self, parcel: Parcel, held_out: list[str]) -> Proposal | None:
        """held_out: what the parcel was checked against. Hours may have passed since."""
        manifest, state = parcel.manifest, read_state(self.hub)
        if state.base != manifest.base:
            self.outbox.clear()
            self.say(f"round {manifest.round_index} was closed meanwhile; this contribution came too late")
            return None
        if self._held_out(state) != held_out:
            self.outbox.clear()
            self.say("other texts are held out meanwhile: the data is checked and fine-tuned on anew")
            return self.contribute()
        try:
            proposal = submit(self.hub, manifest, parcel.files)
        except HubUnavailable as exc:
            kept = f"{exc}; the contribution is kept in {parcel.folder} and is submitted when this runs again"
            raise HubUnavailable(kept, retry_after=exc.retry_after) from exc
        self.outbox.clear()
        self.say(f"round {manifest.round_index}: {proposal_address(self.hub, proposal.number)}")
        return proposal


def name_for(account: str, wanted: str | None) -> str:
    """The contributor's name: the account's, or one that the account may use. Raises ConfigError."""
    name = wanted or account
    if not is_name_of(name, account) or not is_contributor_name(name):
        raise ConfigError(f"name {name!r}: {account!r} contributes as {account} or {account}--NAME")
    return name


def _refused(reasons: list[str]) -> str:
    return f"the federation would refuse this: {'; '.join(reasons)}"
