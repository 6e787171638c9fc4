"""Learning with wrong labels: networks fit the signal first and memorise the wrong labels later.

Public names load on first use, so that `import labelnoise` needs neither torch nor SciPy nor matplotlib.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    # label noise
    "Symmetric": "noise",
    "ClassConditional": "noise",
    "Pair": "noise",
    "Matrix": "noise",
    "FromFile": "noise",
    "flip_labels": "noise",
    # record, stages, selection
    "Recorder": "record",
    "HeldOut": "stages",
    "find_stages": "stages",
    "oracle_stop": "stages",
    "select_by_margin": "stages",
    # the paper's model
    "SignalNoise": "problem",
    "Draw": "problem",
    "stack": "problem",
    "simulate": "simulation",
    "Trajectory": "simulation",
    # real data
    "load_data": "data",
    "build_model": "models",
    "fit": "train",
    "TrainConfig": "train_config",
    # run directories
    "read_run": "runs",
    "InputError": "errors",
}
_MODULES = ("theory",)

__all__ = ["__version__", *_PUBLIC, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(f"labelnoise.{_PUBLIC[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"labelnoise.{name}")
    raise AttributeError(f"module 'labelnoise' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
