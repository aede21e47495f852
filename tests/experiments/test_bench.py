import io

from rich.console import Console

from experiments.bench import bench_fuse


def test_the_table_says_what_it_took_and_where() -> None:
    out = io.StringIO()
    Console(file=out, width=120).print(bench_fuse(3_000_000, [2, 3], "exact"))
    lines = out.getvalue().splitlines()
    rows = [line.split("│")[1:-1] for line in lines if line.startswith("│")]
    assert [row[0].strip() for row in rows] == ["2", "3"]
    assert all(10 < float(row[4]) < 200 for row in rows)  # MB
    assert "3 M fp32 parameters" in out.getvalue() and "Python" in out.getvalue()
