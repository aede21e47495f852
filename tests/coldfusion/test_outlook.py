from datetime import UTC, datetime, timedelta

from coldfusion.config import Policy
from coldfusion.hub import Proposal
from coldfusion.outlook import Outlook, outlook
from coldfusion.records import Revision

NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


def look(*titles: str, **policy: object) -> Outlook:
    proposals = [
        Proposal(number=i, title=title, author=(title.split() + [""] * 3)[2], revision=Revision("a" * 40))
        for i, title in enumerate(titles)
    ]
    return outlook(3, Policy(**policy), NOON, proposals)  # type: ignore[arg-type]


def titled(name: str, index: int = 3) -> str:
    return f"round {index}: {name} [{'0' * 12}]"


def test_only_contributions_to_this_round_count_and_each_contributor_once() -> None:
    there = look(titled("bob"), titled("alice"), titled("bob"), titled("carol", 2), "a typo", quorum=3)
    assert there.contributors == ("alice", "bob")


def test_a_title_counts_only_from_an_account_that_may_contribute_under_the_name() -> None:
    there = Proposal(number=1, title=titled("bob"), author="mallory", revision=Revision("a" * 40))
    assert outlook(3, Policy(), NOON, [there]).contributors == ()
    assert look(titled("bob"), titled("alice"), contributors=["alice"]).contributors == ("alice",)


def test_a_round_is_due_when_its_quorum_is_there() -> None:
    assert look(titled("a"), quorum=2).quorum_at(NOON) is None
    assert look(titled("a"), titled("b"), quorum=2).quorum_at(NOON) == 2


def test_at_the_deadline_one_contribution_is_enough_and_none_is_not() -> None:
    one, none = look(titled("a"), quorum=5, deadline_hours=2.0), look(quorum=5, deadline_hours=2.0)
    for hours, quorum in ((1.9, None), (2.0, 1)):
        assert one.quorum_at(NOON + timedelta(hours=hours)) == quorum
        assert none.quorum_at(NOON + timedelta(hours=hours)) is None


def test_after_the_deadline_even_a_quorum_may_turn_out_to_be_one() -> None:
    """Some of them may be refused, and the round must not wait for ever."""
    there = look(titled("a"), titled("b"), quorum=2, deadline_hours=2.0)
    assert there.quorum_at(NOON + timedelta(hours=2)) == 1


def test_it_says_what_it_waits_for() -> None:
    assert str(look(titled("a"), quorum=3)) == "round 3: 1 of 3 contributions are there; it waits for 2 more"
    assert "or until 2026-11-25 14:00 UTC" in str(look(quorum=3, deadline_hours=2.0))
    assert str(look(titled("a"))) == "round 3: 1 of 1 contributions are there; it is ready to be fused"
