"""What the maps show: numbers of each cell from those of its seeds, and where lines of constant theory run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from xarray import DataArray, Dataset

from labelnoise.sweeps.dataset import SEED
from labelnoise.sweeps.variables import RECORD
from labelnoise.sweeps.variables import STAGES as RUN_STAGES
from labelnoise.theory.cells import AT_T1


@dataclass(frozen=True)
class Quantity:
    """A number of each run that a map shows as its mean over the seeds."""

    title: str
    of: Callable[[Dataset], DataArray]
    """Its values over cells and seeds; NaN for seeds that do not count."""
    limits: tuple[float | None, float | None] = (None, None)
    """Ends of the colour scale; None for the data's."""

    def known(self, dataset: Dataset) -> bool:
        """Whether the dataset holds a value of it."""
        return bool(self.of(dataset).notnull().any())

    def mean(self, dataset: Dataset) -> DataArray:
        """Return the mean over the seeds that count; NaN where none does."""
        return self.of(dataset).mean(SEED)


def _window(dataset: Dataset) -> DataArray:
    return (dataset.window_end - dataset.window_start + 1) / dataset.stage_one_scale


SHARE = Quantity("share of seeds with a Stage I", lambda dataset: dataset.stage_one.where(dataset.ok == 1), (0, 1))
STAGES = (
    SHARE,
    Quantity("T1 over its scale", lambda dataset: dataset.t1 / dataset.stage_one_scale, (0, None)),
    Quantity("length of the window over the scale", _window, (0, None)),
)
ERRORS = {
    "seen": "seen noise",
    "perturbed": "perturbed noise",
    "fresh": "fresh noise",
    "given_fresh": "fresh noise, flipped labels",
}
"""Kinds of test error, and how the maps call them."""


def error_quantities(kind: str) -> tuple[Quantity, Quantity, Quantity]:
    """Return the test error of a kind at T1 and at the last step, and how much lower it is at T1."""
    name = f"test_error_{kind}"
    return (
        Quantity("at T1", lambda dataset: dataset[name + AT_T1], (0, None)),
        Quantity("at the last step", lambda dataset: dataset[name], (0, None)),
        Quantity("gain of stopping at T1", lambda dataset: dataset[name] - dataset[name + AT_T1]),
    )


def completed(dataset: Dataset) -> Dataset:
    """Return the dataset with NaN for what was not kept of the runs."""
    names = {*RECORD, *(f"{name}{AT_T1}" for name in RECORD), *RUN_STAGES} - set(map(str, dataset.data_vars))
    return dataset.assign(dict.fromkeys(names, dataset.ok * np.nan))


def known_errors(dataset: Dataset) -> list[str]:
    """Return the kinds of test error of which the dataset holds a number."""
    return [kind for kind in ERRORS if bool(dataset.get(f"test_error_{kind}", DataArray(np.nan)).notnull().any())]


def diverged(dataset: Dataset) -> DataArray:
    """Return the share of seeds of each cell that diverged."""
    return (dataset.ok == 0).mean(SEED)


def why_missing(dataset: Dataset) -> list[str]:
    """Return why cells of the maps have no number, in words."""
    whole, staged = (dataset.ok == 1).any(SEED), dataset.stage_one.notnull()
    reached = whole & False
    for name in dataset.data_vars:
        if name == "t1" or str(name).endswith(AT_T1):
            reached = reached | dataset[name].notnull().any(SEED)
    undecided = staged.any() & whole & ~staged.any(SEED)
    reasons = {
        "no Stage I": reached.any() & (whole & ~reached & ~undecided).any(),
        "no noisy or no clean samples": undecided.any(),
        "all seeds diverged": (~whole).any(),
    }
    return [words for words, holds in reasons.items() if bool(holds)]


THEORY: Mapping[str, tuple[str, str, Callable[[Dataset], DataArray]]] = {
    "n_snr2": (
        r"$n\,\mathrm{SNR}^2$", "n SNR^2",
        lambda ds: ds.n * ds.mu_norm**2 / (ds.noise_std**2 * ds.d),
    ),
    "benign": (
        r"$n\Vert\mu\Vert^4/(\sigma_\xi^4 d)$", "n ||mu||^4 / (sigma_xi^4 d)",
        lambda ds: ds.n * ds.mu_norm**4 / (ds.noise_std**4 * ds.d),
    ),
}  # fmt: skip
"""Quantities of theory whose lines of equal value the maps show: symbol, the same in words, and value of each cell."""


SIGNAL = ("snr", "n_snr2")
"""Axes of which a quantity of theory is a function, at given n and d."""


def theory_lines(dataset: Dataset, axes: tuple[str, str]) -> dict[str, tuple[DataArray, np.ndarray]]:
    """Return the values of each quantity of theory over two axes and the levels of its lines, by its name.

    A quantity is left out where it is itself an axis, or constant, or its lines would be those of an earlier one: both
    vary along the same single axis.
    """
    lines: dict[str, tuple[DataArray, np.ndarray]] = {}
    seen: set[tuple[str, ...]] = {(axis,) for axis in axes if axis in SIGNAL}
    for name, (_, _, of) in THEORY.items():
        values = of(dataset)
        varying = tuple(axis for axis in axes if axis in values.dims and bool((values != values.isel({axis: 0})).any()))
        if name in axes or not varying or (len(varying) == 1 and varying in seen):
            continue
        seen.add(varying)
        levels = nice_levels(values.values)
        if levels.size:
            shape = {axis: dataset.sizes[axis] for axis in axes if axis not in values.dims}
            lines[name] = values.expand_dims(shape).transpose(*axes), levels
    return lines


END = 0.02
"""Share of the range of logarithms at either end that holds no level."""
APART = 0.04
"""Least share of the cells between two levels."""


def nice_levels(values: np.ndarray) -> np.ndarray:
    """Return at most six powers of ten, or of two, within the positive values, whose lines have room for labels.

    A line at an end of the values would be a dot in a corner of the map; one with hardly a cell between it and the next
    higher one is left out.
    """
    positive = np.sort(values[values > 0])
    if not positive.size:
        return np.zeros(0)
    for base in (10, 2):
        low, high = np.log(positive.min()) / np.log(base), np.log(positive.max()) / np.log(base)
        margin = END * (high - low)
        powers = np.arange(np.floor(low + margin) + 1, np.ceil(high - margin))
        if powers.size >= 3:
            break
    levels = np.power(float(base), powers[:: max(1, -(-powers.size // 6))])
    below = np.interp(np.log(levels), np.log(positive), np.linspace(0, 1, positive.size))
    kept: list[int] = []
    for at in range(levels.size)[::-1]:
        if not kept or below[kept[-1]] - below[at] > APART:
            kept.append(at)
    return levels[kept[::-1]]


TIMES: Mapping[str, tuple[str, Callable[[Dataset], DataArray]]] = {
    "t1": ("T1", lambda ds: ds.t1),
    "onset": ("onset of Stage II", lambda ds: ds.onset),
    "window": ("length of the window", lambda ds: ds.window_end - ds.window_start + 1),
}
"""Times in steps that the theory puts at n m / (eta sigma_xi^2 d), up to a constant."""


@dataclass(frozen=True)
class PowerLaw:
    """y = constant x^slope, fitted to the logarithms; each number with the half-width of its 95% interval."""

    slope: tuple[float, float]
    ratio: tuple[float, float]
    """Mean of log(y / x), exponentiated: the constant of slope 1, and the factor that its interval spans."""
    runs: int


def power_law(x: np.ndarray, y: np.ndarray) -> PowerLaw | None:
    """Fit a power law to the runs whose y is a positive number; None with fewer than three or a single x."""
    known = np.isfinite(y) & (y > 0)
    log_x, log_y = np.log(x[known]), np.log(y[known])
    if log_x.size < 3 or np.ptp(log_x) == 0:
        return None
    centred = log_x - log_x.mean()
    slope = (centred @ log_y) / (centred @ centred)
    rest = log_y - log_y.mean() - slope * centred
    error = np.sqrt(rest @ rest / (log_x.size - 2) / (centred @ centred))
    ratio = log_y - log_x
    spread = 1.96 * ratio.std(ddof=1) / np.sqrt(ratio.size)
    return PowerLaw((slope, 1.96 * error), (np.exp(ratio.mean()), np.exp(spread)), log_x.size)


def wilson(share: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the 95% interval of a share of so many seeds (Wilson 1927)."""
    z = 1.96
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return middle - half, middle + half
