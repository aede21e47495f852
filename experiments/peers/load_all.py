"""The mean of checkpoints as one writes it in a minute: python load_all.py OUT FILE...

Everything is loaded with safetensors, summed tensor by tensor, and saved.
"""

from __future__ import annotations

import sys
from functools import reduce

import numpy as np
from safetensors.numpy import load_file, save_file


def main(target: str, *files: str) -> None:
    models = [load_file(file) for file in files]
    fused = {name: reduce(np.add, (model[name] for model in models)) / len(models) for name in models[0]}
    save_file(fused, target)


if __name__ == "__main__":
    main(*sys.argv[1:])
