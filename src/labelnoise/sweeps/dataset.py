"""The result of a sweep as one xarray Dataset, and as one NetCDF file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import h5netcdf  # noqa: F401  xarray would miss it only when all runs are done
import numpy as np
import xarray

from labelnoise.errors import InputError
from labelnoise.runs.files import to_json, write_whole
from labelnoise.sweeps.chunks import FACTS, Finished
from labelnoise.sweeps.grid import Axis
from labelnoise.sweeps.parameters import Parameter, Setup, parameters_of
from labelnoise.sweeps.variables import RUN_SEED, describe_variable

FILE = "sweep.nc"
REFINED = "refined"
"""The group of the file that holds the cells of the refinement."""
POINT, SEED = "point", "seed"


def grid_dataset(base: Setup, axes: Sequence[Axis], result: Finished) -> xarray.Dataset:
    """Return a dataset whose dimensions are the parameters of several values, and the seed."""
    swept = [axis for axis in axes if len(axis.values) > 1]
    coordinates = {
        axis.name: _coordinate(axis.parameter, axis.values, (axis.name,) if axis in swept else ()) for axis in axes
    }
    sizes = {axis.name: len(axis.values) for axis in swept}
    return _dataset(base, result, sizes, coordinates)


def point_dataset(base: Setup, axes: Sequence[Axis], cells: np.ndarray, result: Finished) -> xarray.Dataset:
    """Return a dataset whose dimensions are the point and the seed; cells (C, k) are the points."""
    coordinates = {
        axis.name: _coordinate(axis.parameter, values, (POINT,)) for axis, values in zip(axes, cells.T, strict=True)
    }
    return _dataset(base, result, {POINT: len(cells)}, coordinates)


def write_dataset(path: Path, dataset: xarray.Dataset, refined: xarray.Dataset | None) -> None:
    """Write a dataset as NetCDF, whole or not at all; the refinement is a group in it.

    Raises:
        InputError: the file cannot be written.
    """

    def write(file: IO[bytes]) -> None:
        _write_group(dataset, file.name, None)
        if refined is not None:
            _write_group(refined, file.name, REFINED)

    write_whole(path, write)


def read_dataset(path: Path, group: str | None = None) -> xarray.Dataset:
    """Read what `write_dataset` wrote.

    Raises:
        InputError: the file is absent or damaged.
    """
    try:
        with xarray.open_dataset(path, engine="h5netcdf", group=group) as dataset:
            return dataset.load()
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} is damaged ({error}); make the run again with --overwrite") from None


def _dataset(
    base: Setup, result: Finished, sizes: Mapping[str, int], coordinates: Mapping[str, xarray.Variable]
) -> xarray.Dataset:
    cells, shape, count = tuple(sizes), tuple(sizes.values()), result.seeds.shape[1]
    variables = {}
    for name, values in {**result.columns, RUN_SEED: result.seeds}.items():
        if name in FACTS:
            if name not in coordinates:
                variables[name] = _fact(base, name, values[:, 0].reshape(shape), cells)
        else:
            words, unit = describe_variable(name)
            attributes = {"long_name": words, "units": unit}
            variables[name] = xarray.Variable((*cells, SEED), values.reshape(*shape, count), attributes)
    seeds = xarray.Variable((SEED,), np.arange(count), {"long_name": "which of the cell's seeds", "units": "1"})
    return xarray.Dataset(variables, coords={**coordinates, SEED: seeds})


def _coordinate(parameter: Parameter, values: Any, dimensions: tuple[str, ...]) -> xarray.Variable:
    numbers = np.asarray(values, dtype=np.int64 if parameter.whole else np.float64)
    return xarray.Variable(dimensions, numbers if dimensions else numbers[0], _attributes(parameter))


def _attributes(parameter: Parameter) -> dict[str, str]:
    return {"long_name": parameter.long_name, "units": parameter.unit or "1", "symbol": parameter.symbol}


def _fact(base: Setup, name: str, values: np.ndarray, dimensions: tuple[str, ...]) -> xarray.Variable:
    """What the cells are, in a number that was not swept itself; without the dimensions on which it does not depend."""
    kept = []
    for at, dimension in reversed(list(enumerate(dimensions))):
        first = values.take([0], axis=at)
        if (values == first).all():
            values = first.squeeze(at)
        else:
            kept.append(dimension)
    return xarray.Variable(tuple(reversed(kept)), values, _attributes(parameters_of(base)[name]))


def _write_group(dataset: xarray.Dataset, path: str, group: str | None) -> None:
    packed = {"zlib": True, "complevel": 1, "shuffle": True}
    encoding = {name: packed for name, variable in dataset.data_vars.items() if variable.ndim}
    mode: Any = "w" if group is None else "a"
    dataset.to_netcdf(path, mode=mode, group=group, engine="h5netcdf", encoding=encoding)


def provenance(config: Mapping[str, Any], axes: Sequence[Axis], engines: Sequence[str]) -> dict[str, str]:
    """Return the attributes of the file: what made it.

    Args:
        config: the content of `config.json`.
        axes: what was swept; the settings that it replaced say so.
        engines: names of the engines that trained the runs.
    """
    versions, packages = config["versions"], {name for engine in engines for name in ENGINE_PACKAGES[engine]}
    words = ", ".join(f"{name} {versions[name]}" for name in sorted(packages & versions.keys()))
    settings = json.loads(to_json(config["settings"]))
    for axis in axes:
        _mark(settings, axis.parameter)
    return {
        "title": "A sweep of the two-layer model with label noise",
        "source": f"labelnoise {versions['labelnoise']} sweep, {' and '.join(engines)} engine; {words}",
        "settings": to_json(settings),
        "git_commit": config["git_commit"] or "",
    }


ENGINE_PACKAGES = {"compiled": ("numba", "numpy", "scipy"), "span": ("numpy", "scipy")}
"""What each engine computes with."""


def _mark(settings: dict[str, Any], parameter: Parameter) -> None:
    """Put words in the place of a setting that a parameter sets, or of what would hold it: its value was not used."""
    *path, last = parameter.sets
    table, above, name = settings, settings, last
    for name in path:
        above, table = table, table[name]
        if not isinstance(table, dict):
            return
    at, key = (table, last) if last in table else (above, name)
    at[key] = f"set by {parameter.name}"
