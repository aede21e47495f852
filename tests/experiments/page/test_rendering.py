import re
from html.parser import HTMLParser

import pytest

from coldfusion.records import Evaluation
from experiments.page.contents import Page
from experiments.page.rendering import SECTIONS, render
from tests.pages import NASTY, digest, full_page, large_page, page, start

VOID = {"meta", "br", "hr", "img", "input", "link"}


class Outline(HTMLParser):
    """Fails on a tag that is not closed where it should be."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [
            value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "action")
        ]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("made", [full_page(), page([start(evaluation=Evaluation())])], ids=["full", "young"])
def test_a_page_is_whole_and_asks_for_nothing(made: Page) -> None:
    outline = Outline()
    outline.feed(render(made))
    assert outline.open == []
    assert not outline.tags & {"script", "link", "img", "iframe", "object", "base", "form"}
    assert all(link.startswith("#") for link in outline.links)


def test_every_section_says_something_before_the_first_round() -> None:
    html = render(page([start(evaluation=Evaluation())]))
    for anchor in SECTIONS:
        (inside,) = re.findall(rf'<section id="{anchor}".*?</h2>(.*?)</section>', html, flags=re.DOTALL)
        assert len(re.sub(r"<[^>]*>|\s", "", inside)) > 20, anchor


def test_what_strangers_wrote_is_text() -> None:
    html = render(full_page())
    assert NASTY not in html and "<img" not in html and "&lt;script&gt;" in html


def test_the_page_opens_with_the_newest_gain_and_its_interval() -> None:
    text = re.sub(r"<[^>]*>|\s+", " ", render(full_page()))
    said = " ".join(text.split())
    assert "After round 3 the probe score on 4 held-out tasks differs from the pretrained model's by" in said
    assert "+4.50 [+3.50, +5.50] points: the 95 % interval excludes zero" in said
    assert "9 of 12 that came" in said.replace("contributions fused 9 of 12", "9 of 12")


def test_how_a_base_comes_about_is_there_to_the_last_digit() -> None:
    html = render(full_page())
    for told in (
        digest(3, 40),
        digest(30, 40),
        digest(31),
        digest(4),
        digest(5),
        "seed 7",
        "ties (density 0.2",
    ):
        assert told in html, told
    assert "org/encoder" in html


def test_the_same_records_give_the_same_page() -> None:
    assert render(full_page()) == render(full_page())


def test_a_large_federation_is_a_page_of_a_megabyte() -> None:
    html = render(large_page(rounds=60, people=70))
    assert len(html) < 1_200_000
    assert "48 earlier rounds are left out here" in html and "contributors between these" in html
