"""Compiles kernels.c into a library beside it: at installation, or by `python -m coldfusion.native.building`.

Imports nothing but the standard library: whoever builds a package has no other.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).with_name("kernels.c")
LIBRARY = Path(__file__).with_name("libkernels.so")
OPTIONS = (
    *("-O3", "-std=c11", "-fPIC", "-shared", "-Wno-psabi", "-fno-strict-aliasing"),
    "-ffp-contract=off",  # what is rounded where must be numpy's
    *("-fno-trapping-math", "-fno-math-errno"),  # nobody looks: loops with conditions become vectors
)


def digest() -> str:
    """Of the source: the library says of which one it was made."""
    return hashlib.sha256(SOURCE.read_bytes()).hexdigest()


def build() -> bool:
    """Whether there is a library now. The compiler is the one that CC names, or cc."""
    partial = LIBRARY.with_name(f".{LIBRARY.name}.{os.getpid()}")
    command = [*shlex.split(os.environ.get("CC", "cc")), *OPTIONS, f'-DSOURCE="{digest()}"']
    try:
        subprocess.run([*command, str(SOURCE), "-o", str(partial), "-lm"], check=True)
        os.replace(partial, LIBRARY)  # a process that uses the old one keeps it
    except (OSError, subprocess.CalledProcessError) as exc:
        print(f"coldfusion: no C kernels ({exc}); numpy computes the same bytes", file=sys.stderr)
        return False
    finally:
        partial.unlink(missing_ok=True)
    return True


if __name__ == "__main__":
    raise SystemExit(0 if build() else 1)
