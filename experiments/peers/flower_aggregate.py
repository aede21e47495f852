"""One aggregation by Flower: python flower_aggregate.py RULE FILE... [--trim P] [--f F] [--keep M] [-o OUT].

Loads safetensors files into numpy arrays, as Flower's strategies hold them, and calls the function that the
strategy calls. Prints the seconds of loading and of aggregating as JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

from flwr.server.strategy.aggregate import aggregate, aggregate_krum, aggregate_median, aggregate_trimmed_avg
from safetensors.numpy import load_file, save_file

Results = list[tuple[list[Any], int]]


def rules(asked: argparse.Namespace) -> dict[str, Callable[[Results], list[Any]]]:
    """The aggregators by the names that we have for them."""
    return {
        "mean": aggregate,
        "median": aggregate_median,
        "trimmed_mean": lambda results: aggregate_trimmed_avg(results, asked.trim),
        "krum": lambda results: aggregate_krum(results, asked.f, 0),
        "multi_krum": lambda results: aggregate_krum(results, asked.f, asked.keep),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rule")
    parser.add_argument("files", nargs="+")
    parser.add_argument("--trim", type=float, default=0.25, help="trimmed_mean: share cut from each end")
    parser.add_argument("--f", type=int, default=2, help="krum, multi_krum: how many may be malicious")
    parser.add_argument("--keep", type=int, default=4, help="multi_krum: how many are averaged")
    parser.add_argument("-o", "--out")
    asked = parser.parse_args()
    started = time.perf_counter()
    models = [load_file(file) for file in asked.files]
    names = sorted(models[0])
    results: Results = [([model[name] for name in names], 1) for model in models]
    del models
    loaded = time.perf_counter()
    fused = rules(asked)[asked.rule](results)
    done = time.perf_counter()
    if asked.out:
        save_file(dict(zip(names, fused, strict=True)), asked.out)
    print(json.dumps({"load": loaded - started, "aggregate": done - loaded}))


if __name__ == "__main__":
    main()
