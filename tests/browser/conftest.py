"""Chromium without a window, and the pages that are opened in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from coldfusion.config import Policy
from coldfusion.coordinator import Coordinator
from coldfusion.federation import read_state
from coldfusion.overview import read_overview
from coldfusion.records import Evaluation
from experiments.config import SimulationConfig
from experiments.page.contents import page_of, published
from experiments.page.rendering import write_page
from experiments.report import Run, page_of_run
from experiments.timing import ROUND, SCORE, TRAIN, Interval, Timeline
from hub_sync.local import LocalHub
from tests.helpers import contribute, finetuned, new_federation, small_body
from tests.pages import evaluation, full_page, large_page, page, start

if TYPE_CHECKING:
    from playwright.sync_api import Browser

MISSING = "no Chromium here: `apt-get install chromium`, or say CHROMIUM=/path/of/one"
OUTPUT = Path(__file__).parents[2] / "test-output" / "pages"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say where the screenshots are, of a run of these tests."""
    if config.getoption("markexpr") == "browser":
        terminalreporter.write_line(f"screenshots: {len(list(OUTPUT.glob('*.png')))} in {OUTPUT}")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    program = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if program is None:
        pytest.fail(MISSING)
    with sync_playwright() as driver:
        options = ["--no-sandbox"] if os.geteuid() == 0 else []  # root cannot have Chromium's sandbox
        started = driver.chromium.launch(executable_path=program, args=options)
        yield started
        started.close()


@pytest.fixture(scope="session")
def federation(tmp_path_factory: pytest.TempPathFactory) -> LocalHub:
    """A real one of two rounds: three contributors, one of them with weights that are no numbers."""
    room, body = tmp_path_factory.mktemp("federation"), small_body()
    hub = LocalHub(room / "store")
    new_federation(hub, room, body, Policy(quorum=2))
    for index in (1, 2):
        for seed, name in enumerate(("ann", "bob")):
            contribute(hub, room / f"{index}", finetuned(body, seed), name=name)
        broken = {key: tensor * float("nan") for key, tensor in body.items()}
        contribute(hub, room / f"{index}", broken, name="mallory")
        scores = replace(evaluation(read_state(hub).open_round), pretrained=evaluation(0).scores)
        Coordinator(hub=hub, workdir=room / "work", evaluate=lambda *_, s=scores: s).run_round()
    return hub


@pytest.fixture(scope="session")
def run(federation: LocalHub) -> Run:
    """The same federation, as a run of this machine."""
    room = federation.root.parent
    timeline = Timeline(room / "timeline.jsonl")
    for kind, begin, end in ((TRAIN, 0, 6), (SCORE, 6, 9), (ROUND, 0, 10)):
        timeline.add(Interval(kind, 1, "x", begin, end))
    config = SimulationConfig(name="small", base="org/encoder", tasks="t", held_out=["rte"], run=str(room))
    records = read_overview(federation).records
    return Run(config, room, records, timeline, published(federation, records))


@pytest.fixture(scope="session")
def files(federation: LocalHub, run: Run) -> dict[str, Path]:
    """What is opened, by name, written to a folder that stays."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    pages = {
        "federation": page_of(federation, read_overview(federation)),
        "run": page_of_run(run),
        "full": full_page(),
        "large": large_page(),
        "young": page([start(evaluation=Evaluation())]),
    }
    return {name: write_page(made, OUTPUT / f"{name}.html") for name, made in pages.items()}
