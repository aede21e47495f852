"""The pages as people see them: opened from the disk in Chromium, on a phone and a desk, in light and dark.

`make browser-test` runs this; the screenshots stay in test-output/pages.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from experiments.page.rendering import SECTIONS
from tests.browser.conftest import OUTPUT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

NAMES = ["federation", "run", "full", "large", "young"]
PHONE, DESK = 390, 1200
LOOK = (Path(__file__).parent / "looking.js").read_text()
LEAST_LETTER = 12.0  # pixels
LEAST_CONTRAST = 4.5  # WCAG 2.2, level AA


@dataclass
class Opened:
    """A page in the browser, with what it said and asked for."""

    page: Page
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@contextmanager
def opened(browser: Browser, file: Path, *, width: int = DESK, theme: str = "light") -> Iterator[Opened]:
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=theme)  # type: ignore[arg-type]
    found = Opened(context.new_page())
    found.page.on("console", lambda message: found.said.append(f"{message.type}: {message.text}"))
    found.page.on("pageerror", lambda error: found.said.append(str(error)))
    found.page.on("request", lambda request: found.asked.append(request.url))
    found.page.goto(file.as_uri(), wait_until="networkidle")
    yield found
    context.close()


@pytest.mark.parametrize("name", NAMES)
def test_a_page_asks_for_nothing_and_complains_of_nothing(
    browser: Browser, files: dict[str, Path], name: str
) -> None:
    with opened(browser, files[name]) as found:
        assert found.asked == [files[name].as_uri()] and found.said == []


@pytest.mark.parametrize("name", NAMES)
def test_every_section_is_there_with_something_in_it(
    browser: Browser, files: dict[str, Path], name: str
) -> None:
    with opened(browser, files[name]) as found:
        shown = found.page.locator("main > section")
        assert [section.get_attribute("id") for section in shown.all()] == list(SECTIONS)
        for section, title in zip(shown.all(), SECTIONS.values(), strict=True):
            text = section.inner_text()
            assert text.startswith(title) and len(text) > len(title) + 20
        for anchor in found.page.locator("nav a").all():
            assert found.page.locator(anchor.get_attribute("href") or "").count() == 1


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESK])
@pytest.mark.parametrize("name", NAMES)
def test_a_page_can_be_read(
    browser: Browser, files: dict[str, Path], name: str, width: int, theme: str
) -> None:
    with opened(browser, files[name], width=width, theme=theme) as found:
        found.page.screenshot(path=OUTPUT / f"{name}-{width}-{theme}.png", full_page=True)
        for details in ("as it opens", "all of it"):
            seen = found.page.evaluate(LOOK)
            assert seen["width"] <= width, f"{details}: {seen['width']} pixels wide"
            assert seen["smallest"][0] >= LEAST_LETTER, f"{details}: {seen['smallest']}"
            assert seen["faintest"][0] >= LEAST_CONTRAST, f"{details}: {seen['faintest']}"
            found.page.evaluate("document.querySelectorAll('details').forEach((d) => (d.open = true))")


def test_what_strangers_wrote_is_shown_and_does_nothing(browser: Browser, files: dict[str, Path]) -> None:
    with opened(browser, files["full"]) as found:
        assert "<script>alert('x')</script>" in found.page.locator("#refusals").inner_text()
        assert found.page.locator("script, img, iframe, link, object").count() == 0


def test_a_wide_table_scrolls_inside_itself(browser: Browser, files: dict[str, Path]) -> None:
    with opened(browser, files["full"], width=PHONE) as found:
        table = found.page.locator("#contributions .wide").nth(1)
        table.evaluate("(box) => box.scrollTo(1000, 0)")
        assert table.evaluate("(box) => box.scrollLeft") > 0
        name = table.locator("tbody th").first  # stays where it is
        assert name.evaluate("(cell) => cell.getBoundingClientRect().left") >= 0
