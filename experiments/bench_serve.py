"""`coldfusion bench serve`: a large file up and down through the stock client, beside a bare file server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from statistics import median

from rich.table import Table

from coldfusion.errors import ConfigError, writing
from experiments.report import machine

RUNS = 3
TOKEN = "hf_benchmark_benchmark"
BARE = """
import http.client, os, shutil, sys, time, urllib.parse
address, source, target = urllib.parse.urlsplit(sys.argv[1]).netloc, sys.argv[2], sys.argv[3]
start = time.perf_counter()
connection = http.client.HTTPConnection(address, blocksize=1 << 20)
with open(source, "rb") as file:
    connection.request("PUT", "/file", file, {"Content-Length": str(os.path.getsize(source))})
    connection.getresponse().read()
up = time.perf_counter()
connection.request("GET", "/file")
with open(target, "wb") as file:
    shutil.copyfileobj(connection.getresponse(), file, 1 << 20)
print(up - start, time.perf_counter() - up)
"""
CLIENT = """
import sys, time, uuid
from huggingface_hub import HfApi
address, source, target = sys.argv[1:]
api = HfApi(endpoint=address, token="{token}")
repo = api.create_repo(uuid.uuid4().hex).repo_id
start = time.perf_counter()
api.upload_file(path_or_fileobj=source, path_in_repo="model.safetensors", repo_id=repo)
up = time.perf_counter()
api.hf_hub_download(repo, "model.safetensors", local_dir=target)
print(up - start, time.perf_counter() - up)
"""
"""Scripts, so that every measurement starts in a process of its own and imports are not measured."""


def bench_serve(megabytes: int) -> Table:
    """Seconds and ratios, and the most memory that the server ever held."""
    table = Table(title=f"one file of {megabytes:,} MB over loopback", caption=_where())
    for title in ("through", "up s", "down s", "up ratio", "down ratio", "server peak MB"):
        table.add_column(title, justify="left" if title == "through" else "right")
    with tempfile.TemporaryDirectory() as name:
        room = Path(name)
        file = _file(room, megabytes)
        with _bare(room) as (address, _):
            bare = _measure(room, file, BARE, address, {})
        table.add_row("a bare HTTP file server", f"{bare[0]:.2f}", f"{bare[1]:.2f}", "1", "1", "")
        for title, settings in (("serve, LFS", {"HF_HUB_DISABLE_XET": "1"}), ("serve, Xet", {})):
            with _hub(room, title) as (address, process):
                ours = _measure(room, file, CLIENT.format(token=TOKEN), address, settings)
                cells = [
                    *(f"{s:.2f}" for s in ours),
                    *(f"{b / o:.2f}" for b, o in zip(bare, ours, strict=True)),
                ]
                table.add_row(title, *cells, f"{_peak_mb(process):.0f}")
    return table


def _file(room: Path, megabytes: int) -> Path:
    """Random bytes: fine-tuned parameters do not compress either."""
    path = room / "file"
    with writing(path), path.open("wb") as out:
        for _ in range(megabytes):
            out.write(os.urandom(1_000_000))
    return path


def _measure(room: Path, file: Path, script: str, address: str, settings: dict[str, str]) -> list[float]:
    """Medians of (seconds up, seconds down)."""
    runs = []
    for _ in range(RUNS):
        with tempfile.TemporaryDirectory(dir=room) as target:
            quiet = {"HF_HOME": f"{target}/home", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
            command = [sys.executable, "-c", script, address, str(file), f"{target}/file"]
            environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")} | quiet | settings
            done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
            runs.append([float(seconds) for seconds in done.stdout.split()])
    return [median(way) for way in zip(*runs, strict=True)]


@contextmanager
def _bare(room: Path) -> Iterator[tuple[str, int]]:
    (room / "bare").mkdir()
    with _running([sys.executable, "-m", "experiments.bare_server", str(room / "bare")], "(http.*)") as found:
        yield found


@contextmanager
def _hub(room: Path, title: str) -> Iterator[tuple[str, int]]:
    store, coldfusion = str(room / title), [sys.executable, "-m", "coldfusion.cli"]
    subprocess.run(
        [*coldfusion, "users", "add", store, "bench", "--token", TOKEN], check=True, capture_output=True
    )
    with _running([*coldfusion, "serve", store, "--port", "0"], r"HF_ENDPOINT=(\S+)\)") as found:
        yield found


@contextmanager
def _running(command: Sequence[str], address: str) -> Iterator[tuple[str, int]]:
    """A server that says in its first line where it is: (address, process id)."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            found = re.search(address, server.stdout.readline())
            if found is None:
                raise ConfigError(f"{' '.join(command)} did not start")
            yield found[1], server.pid
        finally:
            server.terminate()


def _peak_mb(process: int) -> float:
    """Resident memory at its highest, where the system tells (Linux)."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    return int(found[1]) / 1000 if found else float("nan")


def _where() -> str:
    client = f"huggingface_hub {version('huggingface_hub')}"
    return f"medians of {RUNS} processes, page cache warm; {machine()}; {client}"
