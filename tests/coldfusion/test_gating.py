"""The gate, on candidates whose worth is the sum of what their contributions are worth."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from coldfusion.errors import ConfigError
from coldfusion.gating import Candidate, Promotion, promote, reasons_against
from coldfusion.records import Contribution, Evaluation, Gain, Manifest, Revision


def contribution(name: str) -> Contribution:
    revision = Revision("0" * 40)
    manifest = Manifest(
        contributor=name,
        round_index=1,
        base=revision,
        codec="exact",
        num_examples=1,
        size=1,
        sha256="0" * 64,
    )
    return Contribution(manifest=manifest, proposal=ord(name[0]), revision=revision)


def gain(mean: float, *, width: float = 1.0, worst: float = 0.0, worst_high: float = 0.0) -> Gain:
    return Gain(
        protocol="probe",
        held_out=True,
        against="previous",
        mean=mean,
        low=mean - width,
        high=mean + width,
        num_tasks=4,
        worst="cola",
        worst_gain=worst,
        worst_high=worst_high,
    )


@dataclass
class Federation:
    """Contributions and what each is worth in points; how often something was fused and judged."""

    worth: dict[str, float]
    least: int = 1  # contributions that the rule needs
    fused: list[str] = field(default_factory=list)
    judged: int = 0

    def fuse(self, cohort: Sequence[Contribution]) -> Candidate:
        if len(cohort) < self.least:
            raise ConfigError(f"{len(cohort)} contributions are too few")
        names = "".join(c.manifest.contributor for c in cohort)
        self.fused.append(names)
        return Candidate(
            cohort=tuple(cohort), step=cast(Any, names), directory=Path(names), outer=Path("none")
        )

    def without_each(self, candidate: Candidate) -> Iterator[tuple[Contribution, Path]]:
        for one in candidate.cohort:
            yield one, self.fuse([c for c in candidate.cohort if c is not one]).directory

    def judge(self, candidate: Path) -> Evaluation:
        self.judged += 1
        return Evaluation(gains=(gain(sum(self.worth[name] for name in str(candidate))),))

    def promote(self) -> Promotion:
        cohort = tuple(contribution(name) for name in self.worth)
        return promote(cohort, self, self.judge, task_drop=5.0)


def kept(promotion: Promotion) -> str | None:
    return str(promotion.candidate.directory) if promotion.candidate else None


def test_a_candidate_that_holds_is_fused_and_judged_once() -> None:
    federation = Federation({"a": 1.0, "b": -1.5})  # -0.5 +- 1: not below by more than the interval
    promotion = federation.promote()
    assert (kept(promotion), promotion.refused, federation.fused) == ("ab", {}, ["ab"])
    (trial,) = promotion.trials
    assert (trial.without, trial.gain.mean, trial.reasons) == ((), -0.5, ())


def test_what_hurts_most_is_left_out_first() -> None:
    promotion = Federation({"a": 1.0, "b": -1.5, "c": -9.0, "d": 2.0}).promote()
    assert kept(promotion) == "abd"
    assert promotion.refused == {"c": "the gate: without it the candidate's validation score is +9.00 points"}
    assert [(t.without, bool(t.reasons)) for t in promotion.trials] == [((), True), (("c",), False)]
    assert promotion.trials[0].reasons == ("-7.50 [-8.50, -6.50] points on 4 held-out tasks",)


def test_nobody_is_left_out_by_chance() -> None:
    promotion = Federation({"a": 0.5, "b": -0.7, "c": -9.0}).promote()  # without c: -0.2 +- 1 holds
    assert kept(promotion) == "ab" and list(promotion.refused) == ["c"]


def test_two_that_hurt_are_both_left_out() -> None:
    promotion = Federation({"a": 0.5, "b": -3.0, "c": -9.0}).promote()
    assert kept(promotion) == "a" and list(promotion.refused) == ["c", "b"]
    assert promotion.trials[1].reasons == ("-2.50 [-3.50, -1.50] points on 4 held-out tasks",)


def test_where_nothing_holds_the_base_stays() -> None:
    promotion = Federation({"a": -3.0, "b": -4.0}).promote()
    assert kept(promotion) is None and list(promotion.refused) == ["a", "b"]
    assert promotion.refused["a"].startswith("the gate: no candidate of this round holds; -7.00 [")
    assert cast(Any, promotion.step) == "ab"  # what the record says was tried


@pytest.mark.parametrize("worth", [{"a": -3.0}, {"a": 1.0, "b": -9.0}])
def test_a_rule_that_cannot_do_with_less_leaves_the_base(worth: dict[str, float]) -> None:
    promotion = Federation(worth, least=len(worth)).promote()
    assert kept(promotion) is None and set(promotion.refused) == set(worth)


def test_without_a_judge_everything_holds() -> None:
    federation = Federation({"a": -9.0})
    cohort = (contribution("a"),)
    assert kept(promote(cohort, federation, None, task_drop=5.0)) == "a"
    nothing_held_out = promote(cohort, federation, lambda _: Evaluation(), task_drop=5.0)
    assert kept(nothing_held_out) == "a" and nothing_held_out.trials == ()


def test_a_single_task_may_not_lose_too_much() -> None:
    assert reasons_against(gain(2.0, worst=-4.9, worst_high=-4.0), 5.0) == ()
    assert reasons_against(gain(2.0, worst=-9.0, worst_high=0.1), 5.0) == ()  # as chance would have it
    assert reasons_against(gain(2.0, worst=-5.5, worst_high=-0.1), 5.0) == (
        "cola loses 5.50 points, at most 5 are allowed",
    )
