"""Compiles the C kernels when the package is built or installed; without a compiler it goes without them."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class KernelsHook(BuildHookInterface[Any]):
    """Runs coldfusion/native/building.py, for wheels and for editable installations."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        building = runpy.run_path(str(Path(self.root) / "coldfusion" / "native" / "building.py"))
        if building["build"]():
            build_data["artifacts"].append("coldfusion/native/libkernels.so")
            build_data["pure_python"], build_data["infer_tag"] = False, True
