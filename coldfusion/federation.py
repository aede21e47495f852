"""A federation's state, which is all on the Hub: what `main` says, and how a new federation starts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from coldfusion.cardtext import Card, is_model_name, plain_card
from coldfusion.checkpoint import weight_files
from coldfusion.config import Policy, dump, parse
from coldfusion.errors import ConfigError, NotOnHub, RoundError, writing
from coldfusion.hub import Hub
from coldfusion.jsonrecords import from_json, to_json
from coldfusion.layout import record_path, tag_name
from coldfusion.places import sha256_of
from coldfusion.records import PROTOCOL, Evaluation, Revision, RoundRecord

POLICY = "federation.yaml"

Evaluate = Callable[[Path, Path | None], Evaluation]
"""(a checkpoint directory, that of the base before it if there is one) -> its scores."""


@dataclass(frozen=True, slots=True)
class Start:
    """What a federation starts from: a checkpoint, and the name of that model on the Hub, if it has one.

    Raises ConfigError where the name cannot be one.
    """

    directory: Path
    name: str | None = None

    def __post_init__(self) -> None:
        if self.name is not None and not is_model_name(self.name):
            raise ConfigError(f"{self.name!r} is not the name of a model on the Hub; that is org/name")


@dataclass(frozen=True, slots=True)
class State:
    """What `main` says at one revision.

    A commit of people (a mended card, another policy) moves the head; the base stays what it was.
    """

    head: Revision  # of main: what the next commit is made against
    base: Revision  # that published the newest round: what contributions start from
    policy: Policy
    record: RoundRecord  # of the newest round

    @property
    def open_round(self) -> int:
        """The round that contributions are collected for now."""
        return self.record.round_index + 1


def read_state(hub: Hub, *, at: str | None = None) -> State:
    """The state of a federation, now or at a revision, tag or branch.

    Raises RoundError where the repo is none, NotOnHub where it is not there.
    """
    head = hub.head() if at is None else hub.resolve(at)
    try:
        policy = hub.fetch(POLICY, at=head).read_text(encoding="utf-8")
    except NotOnHub as exc:
        raise RoundError(f"not a federation: no {POLICY} at {head[:12]}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{POLICY}: not text: {exc.reason}") from exc
    newest = _record_paths(hub, head)[-1:]
    if not newest:
        raise RoundError(f"not a federation: no rounds/ at {head[:12]}")
    record = _read_record(hub, newest[0], head)
    return State(head, _published(hub, record, head), parse_policy(policy), record)


def _published(hub: Hub, record: RoundRecord, head: Revision) -> Revision:
    """The revision that published a round: its tag, or the head where nobody came to set that yet."""
    try:
        return hub.resolve(tag_name(record.round_index))
    except NotOnHub:
        return head


def parse_policy(text: str) -> Policy:
    """The policy that federation.yaml holds. One of a newer protocol is refused before its keys are.

    It is a stranger's file: it may not make this machine fill in a value of its own, such as a token.
    """
    if "${" in text:
        raise ConfigError(f"{POLICY}: holds '${{'; a policy spells its values out")
    found = re.search(r"^protocol:\s*(\S+)", text, flags=re.MULTILINE)
    if found and found[1] != str(PROTOCOL):
        raise ConfigError(f"{POLICY}: protocol {found[1]}, this coldfusion speaks {PROTOCOL}: upgrade it")
    return parse(Policy, text, source=POLICY)


def read_records(hub: Hub, *, at: Revision | None = None) -> list[RoundRecord]:
    """The records of all rounds, from the first, as they stand now or at a revision."""
    head = hub.head() if at is None else at
    return [_read_record(hub, path, head) for path in _record_paths(hub, head)]


def read_record(hub: Hub, round_index: int, *, at: Revision) -> RoundRecord:
    """The record of one round, as it stands at a revision."""
    return _read_record(hub, record_path(round_index), at)


def _record_paths(hub: Hub, head: Revision) -> list[str]:
    return sorted(i.path for i in hub.paths("rounds/", at=head) if i.path.endswith("/record.json"))


def _read_record(hub: Hub, path: str, head: Revision) -> RoundRecord:
    return from_json(RoundRecord, hub.fetch(path, at=head).read_bytes(), source=path)


def found(
    hub: Hub, start: Start, policy: Policy, *, evaluate: Evaluate, workdir: Path, card: Card = plain_card
) -> Revision:
    """Publish round-0000: the files of what it starts from, the policy, the model card, the first record.

    A federation that exists already is left as it is; it gets its tag if its founder was interrupted.
    """
    try:
        head = hub.resolve(tag_name(0))
    except NotOnHub:
        try:
            head = read_state(hub).base
        except NotOnHub:
            record = _first_record(start, evaluate(start.directory, None))
            texts = {**round_files([record], card), POLICY: dump(policy.spelt_out()).encode()}
            files = _files_of(start.directory) | write_files(workdir, texts)
            head = hub.commit(files, message="round 0: the pretrained model", parent=None)
        hub.tag(tag_name(0), at=head)
    return head


def _first_record(start: Start, evaluation: Evaluation) -> RoundRecord:
    return RoundRecord(
        round_index=0,
        parent=None,
        fusing=None,
        output={name: sha256_of(start.directory / name) for name in weight_files(start.directory)},
        evaluation=evaluation,
        pretrained=start.name,
    )


def _files_of(directory: Path) -> dict[str, Path]:
    return {p.relative_to(directory).as_posix(): p for p in sorted(directory.rglob("*")) if p.is_file()}


def round_files(records: Sequence[RoundRecord], card: Card) -> dict[str, bytes]:
    """The small files that the newest of these rounds publishes beside its weights; path -> contents."""
    return {**card(records), record_path(records[-1].round_index): to_json(records[-1])}


def write_files(workdir: Path, contents: Mapping[str, bytes]) -> dict[str, Path]:
    """Write the contents below `workdir`; path on the Hub -> local file."""
    files = {}
    for name, data in contents.items():
        files[name] = workdir / name
        with writing(files[name]):
            files[name].parent.mkdir(parents=True, exist_ok=True)
            files[name].write_bytes(data)
    return files
