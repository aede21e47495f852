"""Tasks of EleutherAI's lm-eval: found by name, loaded, with what they hold by digest.

lm-eval is an extra and slow to import, so that this happens in the functions.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

from coldfusion.errors import ConfigError, DataError
from contributors.config import LmEvalConfig

SEED = 1234
"""By which examples are drawn into a prompt: lm-eval's own."""


def check_installed() -> None:
    """Raise ConfigError where the extra is not there."""
    if find_spec("lm_eval") is None:
        raise ConfigError("lm_eval: lm-eval is not installed; pip install 'coldfusion[lm-eval]'")


def load_lm_tasks(name: str, config: LmEvalConfig) -> dict[str, Any]:
    """The one or many tasks that a name stands for in lm-eval, by their own names, in order.

    Raises ConfigError for a name that it does not know, DataError where data or code of a task fail.
    """
    manager = _manager_with(name, config.include_path)
    if name not in manager.all_tasks:
        raise ConfigError(f"lm_eval: unknown task {name!r}; `lm-eval ls tasks` lists what there is")
    try:
        tasks: dict[str, Any] = manager.load([name])["tasks"]
    except Exception as exc:  # whatever datasets, a template or a task's own code raises
        reason = next(iter(str(exc).strip().splitlines()), type(exc).__name__)
        raise DataError(f"lm_eval: task {name!r} cannot be loaded: {reason}") from exc
    for task in tasks.values():
        own = task.get_config("num_fewshot")
        shots = own if own == 0 or config.num_fewshot is None else config.num_fewshot
        task.set_config("num_fewshot", shots or 0)
        task.set_fewshot_seed(SEED)
    return dict(sorted(tasks.items()))


def metrics_of(name: str, task: Any, config: LmEvalConfig) -> tuple[str, ...]:
    """Those metrics of the config that a task has, as `metric,filter`; of several filters, the first.

    Only what is a mean over documents can be paired document by document, and a gain is more of it: what is
    better lower is left out. Raises ConfigError where the task has none.
    """
    filters = [one["name"] for one in getattr(task.config, "filter_list", None) or [{"name": "none"}]]
    rises, aggregates = task.higher_is_better(), task.aggregation()
    means = [
        metric
        for metric, how in aggregates.items()
        if getattr(how, "__name__", "") == "mean" and rises.get(metric) is not False
    ]
    split = [wanted.partition(",") for wanted in config.metrics]
    full = [(metric, chosen or filters[0]) for metric, _, chosen in split]
    if found := [",".join(one) for one in full if one[0] in means and one[1] in filters]:
        return tuple(dict.fromkeys(found))
    if means:
        has = ", ".join(f"{metric},{one}" for metric in means for one in filters)
        raise ConfigError(
            f"lm_eval: task {name!r} has none of the metrics {', '.join(config.metrics)}; it has {has}"
        )
    raise ConfigError(
        f"lm_eval: task {name!r} has no metric that is a mean over documents and better higher; "
        f"it has {', '.join(aggregates)}"
    )


def digest_of(tasks: Mapping[str, Any], config: LmEvalConfig) -> str:
    """sha256 of how tasks ask and judge, and of their documents as far as they are used."""
    digest = hashlib.sha256(version("lm_eval").encode())
    for path in sorted(Path(config.include_path).rglob("*.py")) if config.include_path else ():
        digest.update(path.read_bytes())
    for name, task in tasks.items():
        settings = {key: value for key, value in task.dump_config().items() if key != "dataset_kwargs"}
        settings["metadata"] = {
            key: value for key, value in (settings.get("metadata") or {}).items() if key != "config_source"
        }
        shots = task.fewshot_docs() if task.get_config("num_fewshot") else None
        for part in (name, task.VERSION, settings, *islice(task.eval_docs, config.limit), *(shots or ())):
            digest.update(json.dumps(part, sort_keys=True, default=_named).encode())
    return digest.hexdigest()


def _named(value: Any) -> str:
    """Of what JSON has no word for. A function's repr would hold its address."""
    return getattr(value, "__qualname__", None) or str(value)


def _manager_with(name: str, include_path: str | None) -> Any:
    """An index that knows a name, if there is one.

    To index lm-eval's own 14,000 tasks takes seconds, which a folder's own ones do without.
    """
    if include_path is not None and name in _manager(include_path, False).all_subtasks:
        return _manager(include_path, False)
    return _manager(include_path, True)


@cache
def _manager(include_path: str | None, defaults: bool) -> Any:
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval").setLevel(logging.ERROR)  # it tells of every default that it takes
    return TaskManager(include_path=include_path, include_defaults=defaults)
