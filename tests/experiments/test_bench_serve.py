import pytest
from rich.console import Console

from experiments import bench_serve


@pytest.mark.slow
def test_every_way_is_measured_beside_the_bare_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_serve, "RUNS", 1)
    console = Console(width=120, record=True)
    console.print(bench_serve.bench_serve(3))
    text = console.export_text()
    assert [title in text for title, _ in bench_serve.ROWS] == [True] * 5
    assert "huggingface_hub" in text and "best of 1" in text
