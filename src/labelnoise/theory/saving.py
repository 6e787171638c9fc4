"""A trajectory as one .npz file: arrays, and a header in JSON; no pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from labelnoise.errors import InputError
from labelnoise.runs.files import read_arrays, to_json, write_arrays
from labelnoise.runs.settings import config_of, settings_of
from labelnoise.theory.config import SimulateConfig
from labelnoise.theory.draws import Draw, Vectors
from labelnoise.theory.problem import SignalNoise
from labelnoise.theory.trajectory import Trajectory

SCHEMA = 1
"""Version of the form of the file."""
COLUMNS = ("values", "track", "table", "at_t1")
DRAW_ARRAYS = ("inner", "y_true", "y_given", "held_out_true", "held_out_given")
"""The arrays of a draw."""
MAYBE = ("bias0", "probe")
"""Those that it may lack."""


def write_trajectory(run: Trajectory, path: Path) -> None:
    """Write a trajectory, whole or not at all.

    Raises:
        InputError: the file cannot be written.
    """
    draw = run.draw
    header = {
        "schema": SCHEMA,
        "config": settings_of(run.config),
        "problem": None if draw.problem is None else settings_of(draw.problem),
        "m": draw.m,
        "n_classes": draw.n_classes,
        "one_patch": draw.one_patch,
        "seed": draw.seed,
        "status": run.status,
    }
    arrays = {f"draw/{name}": getattr(draw, name) for name in DRAW_ARRAYS}
    arrays |= {f"draw/{name}": getattr(draw, name) for name in MAYBE if getattr(draw, name) is not None}
    if draw.vectors is not None:
        arrays |= {f"vectors/{name}": rows for name, rows in asdict(draw.vectors).items() if rows is not None}
    for part in COLUMNS:
        arrays |= {f"{part}/{name}": np.asarray(value) for name, value in getattr(run, part).items()}
    write_arrays(path, {"header": np.array(to_json(header)), **arrays})


def read_trajectory(path: Path) -> Trajectory:
    """Read what `write_trajectory` wrote.

    Raises:
        InputError: no such file, a damaged one, or one of something else.
    """
    if not path.is_file():
        raise InputError(f"no file at {path}; give a file that Trajectory.save wrote")
    arrays = read_arrays(path, "give a file that Trajectory.save wrote")
    try:
        header = json.loads(str(arrays["header"]))
        if header["schema"] > SCHEMA:
            raise InputError(f"{path} was written by a newer labelnoise; upgrade labelnoise")
        parts = {part: _part(arrays, part) for part in COLUMNS}
        at_t1 = {name: float(value) for name, value in parts.pop("at_t1").items()}
        config = config_of(SimulateConfig, header["config"])
        return Trajectory(_draw(header, arrays), config, **parts, status=header["status"], at_t1=at_t1)
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise InputError(f"{path} holds no trajectory ({error}); give a file that Trajectory.save wrote") from None


def _draw(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Draw:
    vectors = _part(arrays, "vectors")
    return Draw(
        **{name: arrays[f"draw/{name}"] for name in DRAW_ARRAYS},
        m=header["m"],
        problem=header["problem"] and config_of(SignalNoise, header["problem"]),
        seed=header["seed"],
        n_classes=header.get("n_classes", 2),
        one_patch=header.get("one_patch", False),
        bias0=arrays.get("draw/bias0"),
        probe=arrays.get("draw/probe"),
        vectors=Vectors(**vectors) if vectors else None,
    )


def _part(arrays: Mapping[str, np.ndarray], part: str) -> dict[str, np.ndarray]:
    """The arrays of one part, by their names in it."""
    return {name.removeprefix(f"{part}/"): array for name, array in arrays.items() if name.startswith(f"{part}/")}
