"""What a command costs is measured on the command, with its children, and on nothing else."""

import sys
from pathlib import Path

import pytest

from coldfusion.errors import ConfigError
from experiments import processes
from experiments.processes import Measured, cost_of, run_in_turns

HOLD = "import time; held = bytearray({mb} << 20); time.sleep(0.2)"


def python(script: str) -> list[str]:
    return [sys.executable, "-c", script]


def test_the_peak_is_the_commands_own_however_much_its_parent_holds() -> None:
    held = bytearray(300 << 20)
    assert 50 < cost_of(python(HOLD.format(mb=50))).peak_mb < 150
    assert len(held) == 300 << 20


def test_children_count_while_they_run() -> None:
    child = HOLD.format(mb=100)
    parent = (
        f"import subprocess, sys; {HOLD.format(mb=50)}; subprocess.run([sys.executable, '-c', {child!r}])"
    )
    assert 150 < cost_of(python(parent)).peak_mb < 250


def test_time_is_from_start_to_end_and_processor_time_is_told_apart() -> None:
    cost = cost_of(python("import time; time.sleep(0.5); print('done')"))
    assert 0.5 < cost.seconds < 5 and cost.cpu_seconds < cost.seconds and cost.output == "done\n"


def test_a_command_that_fails_is_an_error_that_says_what_it_said() -> None:
    with pytest.raises(ConfigError, match="failed: ValueError: no such thing"):
        cost_of(python("raise ValueError('no such thing')"))


def test_commands_run_in_turns_and_a_long_one_only_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "LONG", 0.4)
    order: list[str] = []

    def command(name: str, seconds: float) -> Measured:
        def made(out: Path) -> list[str]:
            order.append(name)
            return python(f"import time; time.sleep({seconds}); open({str(out)!r}, 'w')")

        return Measured(made)

    run_in_turns(
        [command("quick", 0), command("long", 0.5)], 3, tmp_path, {}, warm=lambda: order.append("warm")
    )
    assert order == ["warm", "quick", "long", "warm", "quick", "warm", "quick"]
    assert list(tmp_path.iterdir()) == []
