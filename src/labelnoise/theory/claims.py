"""The claims of the paper, each as a function that examines one run (Han et al. 2025).

A verdict is given only where the claim has no unknown constant; elsewhere the *implied constant* is reported, the value
the claim's constant would have on this run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from labelnoise.record.stages import separation
from labelnoise.theory.draws import Draw
from labelnoise.theory.findings import Finding, compare, constant_only, not_measured, premise_fails
from labelnoise.theory.scales import stage_one_scale
from labelnoise.theory.trajectory import Trajectory

Examine = Callable[[Trajectory], Finding]
TEST_ERRORS = ("seen", "perturbed", "fresh")


def _stage_one(run: Trajectory) -> Finding | None:
    return None if run.stages.t1 is not None else premise_fails(f"there is no Stage I: {run.stages.reason}")


def _convergence(run: Trajectory) -> Finding | None:
    if not run.draw.noisy.any():
        return premise_fails("there are no noisy samples")
    if run.stages.convergence is None:
        return premise_fails(f"the loss has not converged (last loss {run.table['loss'][-1]:.3g}); raise `steps`")
    return None


def _clean_labels(run: Trajectory) -> Finding | None:
    return premise_fails("there is label noise") if run.draw.noisy.any() else None


def _coefficients(run: Trajectory) -> Finding | None:
    if np.isnan(run.track["gamma_min"][0]):
        return not_measured("the decomposition is not unique for d < n + 1; the span engine defines it")
    return None


def _needs(*premises: Callable[[Trajectory], Finding | None]) -> Callable[[Examine], Examine]:
    """Examine only runs of which every premise is true; of others the first that is not is the finding."""

    def decorate(examine: Examine) -> Examine:
        def guarded(run: Trajectory) -> Finding:
            return next(filter(None, (premise(run) for premise in premises)), None) or examine(run)

        return guarded

    return decorate


def _window(run: Trajectory) -> Finding:
    stages, noisy = run.stages, run.draw.noisy
    if noisy.all() or not noisy.any():
        return premise_fails(stages.reason)
    gap = separation(run.track["margin_clean_min"], run.track["margin_noisy_max"])[1:]
    if np.isnan(gap).all():
        return not_measured(stages.reason)
    reason = stages.reason
    if stages.window is not None:
        reason = f"T1 = {stages.t1}, window from step {stages.window[0]} to {stages.window[1]}"
    return compare(stages.window is not None, np.nanmax(gap), 0.0, reason)


@_needs(_stage_one)
def _time(run: Trajectory) -> Finding:
    t1, problem = float(run.stages.t1 or 0), run.draw.problem
    if problem is None:
        return not_measured("the draw has no problem, so the scale is unknown", t1)
    scale = stage_one_scale(problem, run.config.lr)
    return constant_only(t1, t1 / scale, "the constant is unknown", bound=scale)


@_needs(_stage_one, _coefficients)
def _signal_leads(run: Trajectory) -> Finding:
    t1, lead = run.stages.t1 or 0, run.stages.lead
    signal, noise = float(run.track["gamma_min"][t1]), float(run.track["rho_bar_max"][t1])
    within = (
        f"within the window it leads from step {lead[0]} to {lead[1]}" if lead else "it leads nowhere in the window"
    )
    return compare(signal > noise, signal, noise, f"min gamma against max rho-bar at T1 = {t1}; {within}")


def _order_one(name: str) -> Examine:
    @_needs(_stage_one, _coefficients)
    def examine(run: Trajectory) -> Finding:
        if np.isnan(run.at_t1[name]):
            return not_measured("no rho-bar is positive at T1")
        return constant_only(run.at_t1[name], run.at_t1[name], "order one has an unknown constant")

    return examine


@_needs(_convergence)
def _clean_right(run: Trajectory) -> Finding:
    least = float(run.track["margin_clean_min"][-1])
    if np.isnan(least):
        return premise_fails("there are no clean samples")
    reason = f"smallest clean margin at the last step; converged at step {run.stages.convergence}"
    return compare(least > 0, least, 0.0, reason)


@_needs(_convergence, _coefficients)
def _memorised_share(run: Trajectory) -> Finding:
    share = float(run.table["rho_leads_share"][-1])
    return constant_only(share, share, "the fraction is an unknown constant")


STAGE_TWO_ERRORS = {
    "seen": "an identity, no evidence: once all is fitted, every noisy patch errs for one of the two signals",
    "perturbed": "the paper's test distribution",
    "fresh": "not claimed by the theorem, which is about patches that recur",
}
"""What each test error says of Theorem 4.2."""


def _stage_two_error(kind: str) -> Examine:
    words = STAGE_TWO_ERRORS[kind]

    @_needs(_convergence)
    def examine(run: Trajectory) -> Finding:
        rate = _smaller_class_rate(run.draw)
        if rate == 0:
            return premise_fails("a class without noisy samples makes the bound 0")
        bound = 0.5 * rate
        error, spread = _test_error({name: values[-1] for name, values in run.table.items()}, kind)
        if np.isnan(error):
            return not_measured("it was not measured; give the draw a problem and set test_draws", bound=bound)
        reason = f"{words}; bound from the smaller realised class rate {rate:.3f}"
        if kind == "fresh":
            return premise_fails(reason, error, bound)
        if kind == "seen":
            cases = run.draw.n_classes * run.draw.n
            reason += f"; {error * cases:.0f} of {cases} cases against {bound * cases:.1f}"
        elif abs(error - bound) <= 2 * spread:
            return not_measured(f"{reason}; undecided within two standard errors, raise test_draws", error, bound)
        return compare(error >= bound - 1e-12, error, bound, reason)

    return examine


def _smaller_class_rate(draw: Draw) -> float:
    """The smallest realised flip rate of the classes; 0 where a class is absent."""
    rates = [float(draw.noisy[draw.y_true == label].mean()) for label in draw.classes if (draw.y_true == label).any()]
    return min(rates) if len(rates) == draw.n_classes else 0.0


def _test_error(row: Mapping[str, float], kind: str) -> tuple[float, float]:
    """A test error and its uncertainty; where no draw disagrees the distance to the upper bound stands for it."""
    stem = f"test_error_{kind}"
    if stem not in row:
        return float("nan"), float("nan")
    error = float(row[stem])
    if kind == "seen":
        return error, 0.0
    spread = float(row[f"{stem}_se"])
    return error, spread if np.isfinite(spread) else (float(row[f"{stem}_upper"]) - error) / 2


def _early_stopping(kind: str) -> Examine:
    @_needs(_stage_one)
    def examine(run: Trajectory) -> Finding:
        draw = run.draw
        error, _ = _test_error(run.at_t1, kind)
        if np.isnan(error) or draw.problem is None:
            return not_measured("it needs a problem and test_draws > 0", error)
        bound, source = error, "implied C from the error"
        if error == 0:
            if kind == "seen":
                return constant_only(error, 0.0, "no mistake in any case, which any C > 0 allows")
            bound = float(run.at_t1[f"test_error_{kind}_upper"])
            source = f"implied C at most this, from no error in {run.config.test_draws} draws (95%)"
        constant = draw.problem.d / (draw.n * np.log(1 / bound)) if bound < 1 else float("inf")
        return constant_only(error, constant, f"the constant C is unknown; {source}")

    return examine


@_needs(_stage_one)
def _selection(run: Trajectory) -> Finding:
    precision, recall, f1 = (run.at_t1[f"selection_{name}"] for name in ("precision", "recall", "f1"))
    reason = (
        f"precision {precision:.3f}, recall {recall:.3f} at T1; the accuracy claim restated, no second confirmation"
    )
    return compare(f1 == 1, f1, 1.0, reason)


@_needs(_clean_labels)
def _without_noise(run: Trajectory) -> Finding:
    wrong = np.flatnonzero(~(run.track["margin_clean_min"] > 0))
    first = int(wrong[-1]) + 1 if wrong.size else 0
    if first > run.config.steps:
        return compare(False, np.nan, np.nan, "some sample is wrong at the last step")
    return compare(True, first, np.nan, f"all samples are right from step {first} to the end")


@_needs(_clean_labels)
def _without_noise_error(run: Trajectory) -> Finding:
    draw, problem = run.draw, run.draw.problem
    last = {name: values[-1] for name, values in run.table.items()}
    error, _ = _test_error(last, "fresh")
    if problem is None or np.isnan(error):
        return not_measured("it needs a problem and test_draws > 0")
    upper = float(last["test_error_fresh_upper"])
    with np.errstate(over="ignore"):
        exponent = draw.n * np.float64(problem.mu_norm / problem.noise_std) ** 4 / problem.d
    constant = exponent / np.log(1 / upper) if upper < 1 else float("inf")
    reason = f"the constant C_D is unknown; implied C_D from the 95% upper bound {upper:.2g} of the last error"
    return constant_only(error, constant, reason)


@_needs(_coefficients)
def _decomposition(run: Trajectory) -> Finding:
    if "margin" not in run.values or "margin_predicted" not in run.values:
        return not_measured('it needs record=("margin", "margin_predicted")')
    actual, predicted = (run.values[name][1:].ravel() for name in ("margin", "margin_predicted"))
    known = np.isfinite(actual) & np.isfinite(predicted)
    actual, predicted = actual[known], predicted[known]
    if actual.size < 2 or np.ptp(predicted) == 0:
        return not_measured("it needs predicted margins that differ, at records after step 0")
    with np.errstate(over="ignore", invalid="ignore"):
        covariance = np.cov(predicted, actual)
        slope = covariance[0, 1] / covariance[0, 0]
        r2 = slope * covariance[0, 1] / covariance[1, 1]
        offset, gap = actual.mean() - slope * predicted.mean(), np.abs(actual - predicted).max()
    fit = f"R^2 of actual on predicted margin; slope {slope:.3f}, offset {offset:.3g}, largest gap {gap:.3g}"
    return constant_only(r2, gap, f"{fit} over all records; lower order is not quantified, the largest gap is implied")


CLAIMS: list[tuple[str, str, Examine]] = [
    (
        "Thm 4.1, stages",
        "at some step all clean samples are fitted and every noisy sample is classified by its true label",
        _window,
    ),
    ("Thm 4.1, time", "T1 is of the order n m / (eta sigma_xi^2 d)", _time),
    ("Thm 4.1, signal", "at T1 signal leads: min gamma > max rho-bar", _signal_leads),
    ("Thm 4.1, size of gamma", "the mean gamma at T1 is of order one", _order_one("gamma_mean")),
    ("Thm 4.1, size of rho-bar", "the mean of the positive rho-bar at T1 is of order one", _order_one("rho_bar_mean")),
    ("Thm 4.2, clean", "after convergence clean samples are still right", _clean_right),
    (
        "Thm 4.2, memorisation",
        "after convergence rho-bar is above gamma for a constant fraction of the noisy samples",
        _memorised_share,
    ),
    *(
        (
            f"Thm 4.2, test error ({kind})",
            f"after convergence the {kind}-noise test error is at least half the smaller flip rate",
            _stage_two_error(kind),
        )
        for kind in TEST_ERRORS
    ),
    *(
        (
            f"Prop 4.3, early stopping ({kind})",
            f"at T1 the {kind}-noise test error is at most exp(-d / (C n))",
            _early_stopping(kind),
        )
        for kind in TEST_ERRORS
    ),
    ("Prop 4.3, selection", "at T1 the threshold log 2 on the loss separates clean from noisy samples", _selection),
    ("Thm 4.4, accuracy", "without label noise all samples stay right from some step on", _without_noise),
    (
        "Thm 4.4, test error",
        "without label noise the fresh-noise test error is at most exp(-n ||mu||^4 / (C_D sigma_xi^4 d))",
        _without_noise_error,
    ),
    ("Lemma 5.1", "the margin is, up to lower order, its signal and noise coefficients", _decomposition),
]
"""Every claim: where it stands, what it says, and the function that checks it on one run."""
