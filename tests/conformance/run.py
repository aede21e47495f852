"""`make conformance`: the client's own test-suite, from its source distribution, against `coldfusion serve`.

Runs it once without Xet and once with it, on a fresh store each time, and prints what was counted. Fails
where a test fails that was not left out by a rule (rules.py), or where fewer tests pass than have to.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rules import FILES

VERSION = "2.4.0"
AT_LEAST = {"lfs": 250, "xet": 264}  # tests that pass
STAGING = "https://hub-ci.huggingface.co"  # what the suite has in the place of our address
MARKERS = "api transfer inference xet no_xet production deprecated git_lfs vcr asyncio"
HERE, LOGS = Path(__file__).parent, Path("runs/conformance")
PEOPLE = (
    ("__DUMMY_HUB_USER__", "--token", "hf_HubCITokenXXXXXXXXXXXXXXXXXXXXX", "--fullname", "Dummy User")
    + ("--org", "valid_org_hub=Dummy Hub Org"),
    ("DVUser", "--token", "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"),
    (
        "EnterpriseAdmin",
        "--token",
        "hf_enterprise_admin_token",
        "--org",
        "EnterpriseOrgPrivate",
        "--org-private",
    ),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--modes", nargs="*", default=list(AT_LEAST), choices=list(AT_LEAST))
    parser.add_argument("--all-files", action="store_true", help="also files whose tests reach no Hub")
    parser.add_argument("--tests", help="only tests whose names match, as pytest -k")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="conformance-") as name:
        room = Path(name)
        source = fetch(room)
        results = [conform(room, source, mode, options) for mode in options.modes]
    return 0 if all(results) else 1


def fetch(room: Path) -> Path:
    """The tests of the client's source distribution."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    wanted = ["--no-binary", ":all:", f"huggingface_hub=={VERSION}", "--dest", str(room)]
    subprocess.run([*pip, *wanted], check=True, stderr=subprocess.DEVNULL)
    with tarfile.open(room / f"huggingface_hub-{VERSION}.tar.gz") as archive:
        archive.extractall(room, filter="data")
    return room / f"huggingface_hub-{VERSION}" / "tests"


def conform(room: Path, source: Path, mode: str, options: argparse.Namespace) -> bool:
    """One run; whether it is as good as it has to be."""
    place = room / mode
    with served(place / "store") as endpoint:
        files = lay_out(source, place / "suite" / "tests", endpoint)
        chosen = files if options.all_files else [file for file in files if file.name in FILES]
        found = run_suite(place, endpoint, mode, chosen, options.tests)
    outcomes = {test: found["outcomes"].get(test, "failed") for test in found["reached"] if test}
    counts = Counter(outcomes.values())
    print(f"\n{mode}: {len(outcomes)} tests reached the Hub: {dict(counts)}; {AT_LEAST[mode]} have to pass")
    for reason, number in Counter(found["left_out"].values()).most_common():
        print(f"    {number:4} left out: {reason}")
    for test in [test for test, outcome in outcomes.items() if outcome == "failed"]:
        print(f"    FAILED {test}")
    LOGS.mkdir(parents=True, exist_ok=True)
    shutil.copy(place / "log.txt", LOGS / f"{mode}.log")
    print(f"    log: {LOGS / mode}.log")
    return not counts["failed"] and (counts["passed"] >= AT_LEAST[mode] or bool(options.tests))


@contextmanager
def served(store: Path) -> Iterator[str]:
    """A Hub on a fresh store with the people whom the suite knows; its address."""
    coldfusion = [sys.executable, "-m", "coldfusion.cli"]
    for person in PEOPLE:
        add = [*coldfusion, "users", "add", str(store), *person]
        subprocess.run(add, check=True, stdout=subprocess.DEVNULL)
    serve = [*coldfusion, "serve", str(store), "--port", "0", "--rate-limit", "0"]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            line = server.stdout.readline()
            yield line.split("HF_ENDPOINT=")[1].split(")")[0]
        finally:
            server.terminate()


def lay_out(source: Path, target: Path, endpoint: str) -> list[Path]:
    """The suite with our address in the place of its own, and our conftest; its test files."""
    shutil.copytree(source, target)
    for file in target.glob("*.py"):
        file.write_text(file.read_text().replace(STAGING, endpoint))
    shutil.copy(HERE / "suite_conftest.py", target / "conftest.py")
    shutil.copy(HERE / "rules.py", target / "rules.py")
    (target / "__init__.py").touch()
    markers = "".join(f"    {marker}\n" for marker in MARKERS.split())
    (target.parent / "pytest.ini").write_text(f"[pytest]\nmarkers =\n{markers}")
    return sorted(target.glob("test_*.py"))


def run_suite(place: Path, endpoint: str, mode: str, files: list[Path], only: str | None) -> dict[str, dict]:
    """What the tests did, as the conftest wrote it down."""
    out = place / "out.json"
    kept = {name: value for name, value in os.environ.items() if not re.match("HF_|HUGGING", name)}
    settings = {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(place / "home"),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "CONFORMANCE_MODE": mode,
        "CONFORMANCE_OUT": str(out),
    }
    if mode == "lfs":
        settings["HF_HUB_DISABLE_XET"] = "1"
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", "--color=no"]
    pytest += ["-W", "ignore", "--continue-on-collection-errors", *(["-k", only] if only else [])]
    with (place / "log.txt").open("w") as log:
        command = [*pytest, *(str(file.relative_to(place / "suite")) for file in files)]
        subprocess.run(command, cwd=place / "suite", env=kept | settings, stdout=log, stderr=log)
    if not out.exists():
        print((place / "log.txt").read_text()[-4000:])
        raise SystemExit("the suite did not run")
    found: dict[str, dict] = json.loads(out.read_text())
    return found


if __name__ == "__main__":
    sys.exit(main())
