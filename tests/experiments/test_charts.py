import re
from xml.etree import ElementTree

from coldfusion.records import Evaluation
from experiments.charts import NARROW, gain_chart
from tests.pages import evaluation, full_round, start

RECORDS = [start(evaluation=evaluation(0)), full_round(1), full_round(2)]


def test_a_chart_is_wellformed_and_always_the_same() -> None:
    one, two = gain_chart(RECORDS), gain_chart(RECORDS)
    assert one is not None and one == two
    assert "held-out tasks" in one and "contributed tasks" in one
    assert ElementTree.fromstring(one).tag.endswith("svg")


def test_it_takes_its_colours_from_the_page() -> None:
    chart = gain_chart(RECORDS) or ""
    assert "var(--held-out)" in chart and "var(--contributed)" in chart
    assert not re.search(r"#[0-9a-f]{6}\b", chart)


def test_two_charts_of_one_page_share_no_names() -> None:
    names = [
        set(re.findall(r'id="([^"]*)"', gain_chart(RECORDS, size=size) or ""))
        for size in (NARROW, (760, 320))
    ]
    assert names[0] and names[1] and not names[0] & names[1]


def test_without_gains_there_is_no_chart() -> None:
    assert gain_chart([start(evaluation=Evaluation())]) is None and gain_chart(RECORDS, "fine-tune") is None
