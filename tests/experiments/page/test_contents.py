from datetime import UTC, datetime, timedelta
from pathlib import Path

from coldfusion.coordinator import Coordinator
from coldfusion.federation import read_records
from coldfusion.overview import read_overview
from coldfusion.records import Evaluation
from experiments.page.contents import page_of
from experiments.page.lineage import lineage_of
from experiments.page.rendering import SECTIONS, render
from experiments.page.traffic import traffic_of
from hub_sync.local import LocalHub
from tests.helpers import contribute, finetuned, new_federation, small_body

BODY = small_body()


def test_a_federation_on_a_store_becomes_a_page(tmp_path: Path) -> None:
    hub = LocalHub(tmp_path / "store")
    new_federation(hub, tmp_path, BODY)
    for name in ("ann", "bob"):
        contribute(hub, tmp_path / "1", finetuned(BODY, 1), name=name)
    Coordinator(hub=hub, workdir=tmp_path / "w", evaluate=lambda *_: Evaluation()).run_round()
    page = page_of(hub, read_overview(hub))
    assert page.title == "store" and page.address == str(tmp_path / "store")
    assert page.published.revisions == {0: hub.resolve("round-0000"), 1: hub.resolve("round-0001")}
    now = datetime.now(UTC)
    assert all(now - timedelta(minutes=5) < moment <= now for moment in page.published.moments.values())
    sizes = {info.path: info.size for info in hub.paths(at=hub.head())}
    assert page.published.base_bytes == sizes["model.safetensors"]
    (load,) = traffic_of(page).loads
    assert load.fused_bytes == sum(e.size or 0 for e in read_records(hub)[1].entries) > 0
    assert [step.revision for step in lineage_of(page).later] == [hub.head()]
    html = render(page)
    for words in ("Round 2: 0 of 1 contributions are there", "it was not scored", hub.head()):
        assert words in html
    assert all(f'<section id="{anchor}"' in html for anchor in SECTIONS)
