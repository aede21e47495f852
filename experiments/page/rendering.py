"""From what a page is about to its text: HTML that needs no network, no script and no other file."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from coldfusion.cards import describe, describe_fusing, describe_worse
from coldfusion.config import dump
from coldfusion.errors import writing
from coldfusion.layout import record_path, tag_name
from experiments.charts import NARROW, WIDE, gain_chart
from experiments.page import words
from experiments.page.contents import Page
from experiments.page.heat import heat_maps
from experiments.page.likeness import pictures
from experiments.page.lineage import cohort_of, lineage_of
from experiments.page.people import credit_table, rounds_of
from experiments.page.refusals import refusals_of
from experiments.page.scores import groups_of, opening
from experiments.page.shades import STEPS
from experiments.page.traffic import traffic_of

SECTIONS = {
    "scores": "Scores",
    "tasks": "Tasks",
    "contributions": "Contributions",
    "refusals": "Refusals",
    "similarity": "Similarity",
    "traffic": "Bytes and time",
    "lineage": "Lineage",
    "reproduce": "How to reproduce it",
}
"""Anchor -> heading, in the order of the page."""


def write_page(page: Page, file: Path) -> Path:
    """Write the page; the one from before stays until this one is whole."""
    partial = file.with_name(f"{file.name}.partial")
    html = render(page)
    with writing(file):
        partial.write_bytes(html.encode("utf-8", "replace"))  # a name may hold half a character
        partial.replace(file)
    return file


def render(page: Page) -> str:
    """The page as HTML. The same page gives the same text."""
    shown, left_out = pictures(page.records)
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            page=page,
            newest=page.newest,
            sections=SECTIONS,
            opening=opening(page.records),
            groups=groups_of(page.records),
            charts=_charts(page),
            heat_maps=heat_maps(page.records),
            credit=credit_table(page.records),
            rounds=rounds_of(page.records),
            refusals=refusals_of(page.records),
            pictures=shown,
            pictures_left_out=left_out,
            traffic=traffic_of(page),
            lineage=lineage_of(page),
            cohort=cohort_of(page.newest),
            policy=dump(page.policy) if page.policy else None,
        )
    )


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("experiments"),
        autoescape=True,  # what strangers wrote is text
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    told = (words.size_text, words.span_text, words.moment_text, words.count_text, words.signed)
    made.globals.update(
        {function.__name__: function for function in told},
        STEPS=STEPS,
        describe=describe,
        describe_fusing=describe_fusing,
        describe_worse=describe_worse,
        interval_text=words.interval_text,
        record_path=record_path,
        tag_name=tag_name,
        zip=zip,
    )
    return made


def _charts(page: Page) -> dict[str, tuple[Markup, Markup]]:
    """Protocol -> its chart for a desk and for a phone. They are our own SVG and hold no names."""
    found = {}
    for protocol in dict.fromkeys(group.protocol for group in groups_of(page.records)):
        wide, narrow = (gain_chart(page.records, protocol, size) for size in (WIDE, NARROW))
        if wide and narrow:
            found[protocol] = (Markup(wide), Markup(narrow))
    return found
