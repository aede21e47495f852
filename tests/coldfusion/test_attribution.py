"""What contributions are worth, where the score of a base is known: what its `scale` is, in points."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from coldfusion import attribution
from coldfusion.attribution import Assessor, Compared, first_order
from coldfusion.config import Policy
from coldfusion.coordinator import Coordinator
from coldfusion.credits import correlation
from coldfusion.federation import read_records
from coldfusion.records import Evaluation, Gain, TaskGain, Worth
from hub_sync.local import LocalHub
from tests.helpers import contribute, new_federation, small_body

BODY = small_body()


def gain(mean: float) -> Gain:
    return Gain(protocol="probe", held_out=True, mean=mean, low=mean - 1, high=mean + 1, num_tasks=2)


def scale(folder: Path) -> float:
    return 100 * float(load_file(folder / "model.safetensors")["scale"])


def compare(base: Path, without: Path) -> Compared:
    mean = round(scale(base) - scale(without), 4)
    return Compared(gain(mean), (TaskGain(task="cola", mean=mean, low=mean, high=mean),))


def falling(base: Path, into: Path) -> None:
    """The loss is -100 times the scale, and nothing else counts."""
    values = {name: np.zeros(tensor.shape, np.float32) for name, tensor in BODY.items()}
    save_file({**values, "scale": np.array(-100, np.float32)}, into)


ASSESSOR = Assessor(compare=compare, gradient=falling)


def run(room: Path, policy: Policy, **steps: float) -> tuple[LocalHub, tuple[Worth, ...]]:
    """One round of contributors that move every number by a step."""
    hub = LocalHub(room / "store")
    new_federation(hub, room, BODY, policy)
    for name, step in steps.items():
        moved = {key: np.asarray(tensor + np.float32(step)) for key, tensor in BODY.items()}
        contribute(hub, room, moved, name=name)
    coordinator = Coordinator(
        hub=hub, workdir=room / "work", evaluate=lambda *_: Evaluation(), assessor=ASSESSOR
    )
    coordinator.run_round()
    return hub, read_records(hub)[-1].worths


def test_a_contribution_is_worth_what_is_lost_without_it(tmp_path: Path) -> None:
    # The mean of 0.1, 0.2 and 0.6 is 0.3; without each of them it is 0.4, 0.35 and 0.15.
    hub, worths = run(tmp_path, Policy(), alice=0.1, bob=0.2, carol=0.6)
    assert [w.gain and w.gain.mean for w in worths] == pytest.approx([-10, -5, 15], abs=1e-3)
    # The loss is linear here, so the first order is all there is; nats that it took away.
    assert [w.estimate for w in worths] == pytest.approx([-10, -5, 15], rel=1e-3)
    assert correlation(worths) == 1.0
    (comment,) = hub.discussions.comments(hub.repo_id, 3)
    assert "**What it was worth: +15.00 [+14.00, +16.00] points** on 2 held-out tasks." in comment
    assert "| cola | +15.00 | +15.00 to +15.00 |" in comment


def test_of_a_larger_round_there_is_the_estimate_alone(tmp_path: Path) -> None:
    hub, worths = run(tmp_path, Policy(leave_one_out=1, outer="momentum", outer_lr=0.5), alice=0.1, bob=0.3)
    assert [w.gain for w in worths] == [None, None]
    assert [w.estimate for w in worths] == pytest.approx([-5, 5], rel=1e-3)
    (comment,) = hub.discussions.comments(hub.repo_id, 1)
    assert comment.endswith("it took -5 nats off the loss on held-out tasks; it was not left out to see.")


def test_a_policy_can_ask_for_neither(tmp_path: Path) -> None:
    assert run(tmp_path, Policy(leave_one_out=0, estimates=False), alice=0.1, bob=0.3)[1] == ()


def test_an_estimate_does_not_depend_on_the_company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = {name: 0.01 * i for i, name in enumerate("abcde", 1)}
    together = run(tmp_path / "together", Policy(leave_one_out=0), **steps)[1]
    monkeypatch.setattr(attribution, "AT_ONCE", 2)
    assert run(tmp_path / "apart", Policy(leave_one_out=0), **steps)[1] == together


def test_where_steps_differ_by_parameter_nothing_is_estimated(tmp_path: Path) -> None:
    _, worths = run(tmp_path, Policy(outer="adam", outer_lr=1e-3), alice=0.1, bob=0.3)
    assert [w.estimate for w in worths] == [None, None] and all(w.gain for w in worths)


def test_one_contribution_alone_is_worth_the_whole_step(tmp_path: Path) -> None:
    _, (only,) = run(tmp_path, Policy(), alice=0.25)
    assert only.gain and only.gain.mean == pytest.approx(25, abs=1e-3)
    assert only.estimate == pytest.approx(25, rel=1e-3)


@given(
    deltas=st.lists(st.floats(-3, 3), min_size=2, max_size=6),
    weights=st.lists(st.integers(1, 9), min_size=6, max_size=6),
)
def test_the_first_order_is_the_slope_times_what_leaving_out_moves(
    deltas: list[float], weights: list[int]
) -> None:
    d, w = np.array(deltas), np.array(weights[: len(deltas)], float)
    slope, rate = -2.0, 0.5
    whole = rate * np.average(d, weights=w)
    for i, found in enumerate(first_order(slope * d, w / w.sum(), rate)):
        left = rate * np.average(np.delete(d, i), weights=np.delete(w, i))
        assert found == pytest.approx(slope * (left - whole), abs=1e-9)
