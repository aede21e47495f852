"""Ray: that of a cluster, or one on this machine for as long as this process lives."""

from __future__ import annotations

import logging
import math
import os
import socket

import ray

from coldfusion.errors import ConfigError
from contributors.config import PoolConfig


def start_ray(config: PoolConfig) -> None:
    """Connect to the Ray that a config asks for, or start it. Raises ConfigError where there is none."""
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")  # of many calls that fail, the first is told
    if config.address is not None:
        try:
            _knock(config.address)
            ray.init(address=config.address, log_to_driver=False)
        except (OSError, ValueError) as exc:
            reason = f"no Ray cluster at {config.address}: start one with `ray start --head`"
            raise ConfigError(f"{reason} ({(str(exc).splitlines() or [''])[0]})") from exc
        return
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # else Ray writes a token file into the home directory
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    workers = config.workers or max(1, int((os.cpu_count() or 1) / config.cpus))
    ray.init(
        num_cpus=max(1, math.ceil(workers * config.cpus)),
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )


def _knock(address: str) -> None:
    """Raise OSError where nobody listens: Ray itself would go on trying for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=5).close()
