"""`coldfusion bench serve`: a large file up and down, beside a bare file server on the same machine.

Two questions. What does serving cost? The same plain copy, from the disk through a PUT and through a GET back
to it, by the bare server and by ours. And what does a user get? The stock client beside the bare server
through the client's own HTTP library, which is slower than the plain copy. The client also hashes the file,
and with Xet cuts it into chunks and hashes and compresses these, on the same cores.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path

from rich.table import Table

from coldfusion.errors import ConfigError, writing
from experiments.report import machine

RUNS = 5
TOKEN = "hf_benchmark_benchmark"
COPY = """
import http.client, shutil, time, urllib.parse
def copy(put, get, source, target):
    "Seconds of a PUT and of a GET."
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(put).netloc, blocksize=1 << 20)
    with open(source, "rb") as file:
        size, start = file.seek(0, 2), time.perf_counter()
        file.seek(0)
        connection.request("PUT", put[put.index("/", 8):], file, {"Content-Length": str(size)})
        assert connection.getresponse().read() is not None
    up = time.perf_counter()
    get = get()
    down = time.perf_counter()
    connection.request("GET", get[get.index("/", 8):])
    with open(target, "wb") as file:
        shutil.copyfileobj(connection.getresponse(), file, 1 << 20)
    print(up - start, time.perf_counter() - down)
"""
BARE = f"""{COPY}
import sys
address, source, target, _ = sys.argv[1:]
copy(address + "/file", lambda: address + "/file", source, target)
"""
OURS = f"""{COPY}
import hashlib, json, sys, uuid
address, source, target, token = sys.argv[1:]
headers = {{"Authorization": "Bearer " + token}}
def post(path, body):
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(address).netloc)
    connection.request("POST", path, body, headers)
    return json.load(connection.getresponse())
with open(source, "rb") as file:
    oid, size = hashlib.file_digest(file, "sha256").hexdigest(), file.tell()
repo = post("/api/repos/create", json.dumps({{"name": uuid.uuid4().hex}}))["id"]
wanted = {{"operation": "upload", "objects": [{{"oid": oid, "size": size}}]}}
found = post(f"/{{repo}}.git/info/lfs/objects/batch", json.dumps(wanted))["objects"][0]
def commit():
    lines = [("header", {{"summary": "m"}}), ("lfsFile", {{"path": "file", "oid": oid}})]
    body = "\\n".join(json.dumps({{"key": key, "value": value}}) for key, value in lines)
    post(f"/api/models/{{repo}}/commit/main", body)
    return f"{{address}}/{{repo}}/resolve/main/file"
copy(found["actions"]["upload"]["href"], commit, source, target)
"""
LIBRARY = """
import sys, time
from huggingface_hub.utils import get_session
address, source, target, _ = sys.argv[1:]
session, start = get_session(), time.perf_counter()
with open(source, "rb") as file:
    session.put(address + "/file", content=file).raise_for_status()
up = time.perf_counter()
with session.stream("GET", address + "/file") as answer, open(target, "wb") as file:
    for piece in answer.iter_bytes(10 << 20):
        file.write(piece)
print(up - start, time.perf_counter() - up)
"""
CLIENT = """
import sys, time, uuid
from huggingface_hub import HfApi
address, source, target, token = sys.argv[1:]
api = HfApi(endpoint=address, token=token)
repo = api.create_repo(uuid.uuid4().hex).repo_id
start = time.perf_counter()
api.upload_file(path_or_fileobj=source, path_in_repo="model.safetensors", repo_id=repo)
up = time.perf_counter()
api.hf_hub_download(repo, "model.safetensors", local_dir=target)
print(up - start, time.perf_counter() - up)
"""
"""Scripts, so that every measurement starts in a process of its own and imports are not measured."""

LFS = {"HF_HUB_DISABLE_XET": "1"}
ROWS = (
    ("bare server, plain copy", 0),
    ("serve, plain copy", 0),
    ("bare server, client's HTTP library", 2),
    ("serve, stock client, LFS", 2),
    ("serve, stock client, Xet", 2),
)
"""And the row that each is compared with."""

Way = tuple[str, str, dict[str, str]]  # a script, an address, environment variables


def bench_serve(megabytes: int) -> Table:
    """Seconds, ratios to the bare server, and the most memory that a server ever held. The best of RUNS."""
    table = Table(title=f"one file of {megabytes:,} MB over loopback", caption=_where())
    for title in ("", "up s", "down s", "up\nratio", "down\nratio", "server\npeak MB"):
        table.add_column(title, justify="right" if title else "left", no_wrap=True)
    with tempfile.TemporaryDirectory() as name, ExitStack() as servers:
        room = Path(name)
        bare, _ = servers.enter_context(_bare(room))
        hubs = [servers.enter_context(_hub(room, str(number))) for number in range(3)]
        (plain, _), (lfs, _), (xet, _) = hubs
        ways: list[Way] = [
            (BARE, bare, {}),
            (OURS, plain, {}),
            (LIBRARY, bare, {}),
            (CLIENT, lfs, LFS),
            (CLIENT, xet, {}),
        ]
        seconds = _best(room, megabytes, ways)
        peaks = [f"{_peak_mb(process):.0f}" for _, process in hubs]
    memory = ["", peaks[0], "", *peaks[1:]]
    for (title, beside), ours, peak in zip(ROWS, seconds, memory, strict=True):
        ratios = [theirs / own for theirs, own in zip(seconds[beside], ours, strict=True)]
        table.add_row(title, *(f"{number:.2f}" for number in (*ours, *ratios)), peak)
    return table


def _best(room: Path, megabytes: int, ways: Sequence[Way]) -> list[list[float]]:
    """For each way its least seconds (up, down). In turns, so that a busy moment of the machine hits all."""
    runs: list[list[list[float]]] = [[] for _ in ways]
    for _ in range(RUNS):
        for found, (script, address, settings) in zip(runs, ways, strict=True):
            with tempfile.TemporaryDirectory(dir=room) as target:
                file = _file(Path(target), megabytes)  # another content each time, or it would not be sent
                quiet = {"HF_HOME": f"{target}/home", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
                others = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
                command = [sys.executable, "-c", script, address, str(file), f"{target}/copy", TOKEN]
                done = subprocess.run(
                    command, env=others | quiet | settings, check=True, capture_output=True, text=True
                )
                found.append([float(seconds) for seconds in done.stdout.split()])
    return [[min(way) for way in zip(*found, strict=True)] for found in runs]


def _file(room: Path, megabytes: int) -> Path:
    """Random bytes: fine-tuned parameters do not compress either."""
    path = room / "file"
    with writing(path), path.open("wb") as out:
        for _ in range(megabytes):
            out.write(os.urandom(1_000_000))
    return path


@contextmanager
def _bare(room: Path) -> Iterator[tuple[str, int]]:
    (room / "bare").mkdir()
    with _running([sys.executable, "-m", "experiments.bare_server", str(room / "bare")], "(http.*)") as found:
        yield found


@contextmanager
def _hub(room: Path, name: str) -> Iterator[tuple[str, int]]:
    store, coldfusion = str(room / name), [sys.executable, "-m", "coldfusion.cli"]
    add = [*coldfusion, "users", "add", store, "bench", "--token", TOKEN]
    subprocess.run(add, check=True, capture_output=True)
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
    return f"best of {RUNS}, in turns, page cache warm; {machine()}; {client}"
