"""The variables of a sweep's dataset: what each is, and in which unit."""

from __future__ import annotations

from collections.abc import Sequence

from labelnoise.errors import InputError, did_you_mean
from labelnoise.theory.cells import AT_T1

RUN_SEED = "run_seed"

RECORD = {
    "loss": "mean training loss",
    "accuracy": "training accuracy, against given labels",
    "accuracy_clean": "share of clean samples fitted",
    "accuracy_noisy": "share of noisy samples fitted to their given labels",
    "gamma_min": "smallest signal coefficient",
    "gamma_mean": "mean signal coefficient",
    "gamma_max": "largest signal coefficient",
    "rho_clean_max": "largest noise coefficient of a clean sample",
    "rho_noisy_max": "largest noise coefficient of a noisy sample",
    "rho_bar_mean": "mean of the positive noise coefficients",
    "rho_leads_share": "share of noisy samples whose noise leads the signal",
    "selection_precision": "precision of the margin rule",
    "selection_recall": "recall of the margin rule",
    "selection_f1": "F1 of the margin rule",
    "test_error_seen": "test error on seen noise",
    "test_error_perturbed": "test error on perturbed noise",
    "test_error_perturbed_se": "standard error of the test error on perturbed noise",
    "test_error_perturbed_upper": "95% upper bound of the test error on perturbed noise",
    "test_error_fresh": "test error on fresh noise",
    "test_error_fresh_se": "standard error of the test error on fresh noise",
    "test_error_fresh_upper": "95% upper bound of the test error on fresh noise",
    "test_error_given_fresh": "test error on fresh noise against flipped labels",
}
"""What a record holds."""

STAGES = {
    "stage_one": ("whether there is a Stage I; missing without clean or without noisy samples", ""),
    "window_start": ("first step of the window of Stage I", "step"),
    "window_end": ("last step of the window of Stage I", "step"),
    "t1": ("T1, the end of Stage I", "step"),
    "onset": ("onset of Stage II: first step after T1 at which a noisy sample is fitted", "step"),
    "converged": ("whether every given label was fitted and the loss below its bar at the last step", ""),
    "ok": ("whether the run stayed finite", ""),
    RUN_SEED: ("seed of the run, as `SignalNoise.sample` takes it", ""),
}


def check_variables(names: Sequence[str]) -> None:
    """Refuse a variable that does not exist.

    Raises:
        InputError: names it and the nearest one.
    """
    options = [*RECORD, *(f"{name}{AT_T1}" for name in RECORD), *STAGES]
    for name in names:
        if name not in options:
            raise InputError(f"`variables` knows no {name!r}{did_you_mean(str(name), options)}")


def check_once(names: Sequence[str]) -> None:
    """Refuse a variable that is named twice.

    Raises:
        InputError: names it.
    """
    for at, name in enumerate(names):
        if name in names[:at]:
            raise InputError(f"`variables` must differ from each other, got {name!r} twice; list each once")


def describe_variable(name: str) -> tuple[str, str]:
    """Return long name and unit of a variable; a number without unit has 1, as the CF conventions have it."""
    if name in STAGES:
        words, unit = STAGES[name]
    else:
        stem = name.removesuffix(AT_T1)
        words = RECORD.get(stem, stem.replace("_", " ")) + (", at T1" if stem != name else ", at the last step")
        unit = ""
    return words, unit or "1"
