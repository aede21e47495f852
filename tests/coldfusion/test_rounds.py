import pytest

from coldfusion.errors import RoundError
from coldfusion.records import Contribution, Manifest, Revision, Verdict
from coldfusion.rounds import Round, admit, decide, refuse, verdict_on

BASE = Revision("a" * 40)
START = Round(index=2, base=BASE)


def contribution(name: str, proposal: int, *, base: str = BASE, round_index: int = 2) -> Contribution:
    manifest = Manifest(
        contributor=name,
        round_index=round_index,
        base=Revision(base),
        codec="exact",
        num_examples=1,
        size=1,
        sha256="b" * 64,
    )
    return Contribution(manifest=manifest, proposal=proposal, revision=Revision("c" * 40))


def test_contributions_are_kept_by_name_whoever_came_first() -> None:
    bob, alice = contribution("bob", 1), contribution("alice", 2)
    assert admit(admit(START, bob), alice).contributions == (alice, bob)


def test_the_first_contribution_of_a_contributor_counts() -> None:
    round_ = admit(admit(START, contribution("bob", 1)), contribution("bob", 4))
    assert [c.proposal for c in round_.contributions] == [1]
    assert round_.refused[0].proposal == 4
    assert "pull request #1" in round_.refused[0].reasons[0]


@pytest.mark.parametrize("changes", [{"base": "d" * 40}, {"round_index": 1}, {"round_index": 3}])
def test_a_contribution_for_another_base_or_round_is_refused(changes: dict[str, object]) -> None:
    round_ = admit(START, contribution("bob", 1, **changes))  # type: ignore[arg-type]
    assert round_.contributions == ()
    assert "the open round is 2, on base aaaaaaaaaaaa" in round_.refused[0].reasons[0]


def test_the_cohort_is_what_the_screens_accepted() -> None:
    alice, bob = contribution("alice", 2), contribution("bob", 1)
    round_ = admit(admit(START, alice), bob)
    judged = decide(round_, [verdict_on(alice, ["NaN"]), verdict_on(bob, [])])
    assert judged.cohort == (bob,)


def test_every_contribution_gets_exactly_one_verdict() -> None:
    alice = contribution("alice", 1)
    with pytest.raises(RoundError, match="verdicts do not match"):
        decide(admit(START, alice), [])
    with pytest.raises(RoundError, match="verdicts do not match"):
        decide(admit(START, alice), [verdict_on(contribution("bob", 1), [])])


def test_a_refusal_needs_a_reason() -> None:
    with pytest.raises(RoundError, match="refusal of 'bob' gives no reason"):
        refuse(START, [Verdict(contributor="bob")])
