"""What the paper predicts, as numbers, and every claim checked on a run (Han et al. 2025).

A verdict is given only where the claim has no unknown constant; elsewhere the *implied constant* is reported, the value
the claim's constant would have on this run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from labelnoise.errors import InputError
from labelnoise.record.stages import separation
from labelnoise.theory.scales import stage_one_scale
from labelnoise.theory.simulation import Trajectory

HOLDS, FAILS, NOT_APPLICABLE = "holds", "fails", "not applicable"
TEST_ERRORS = ("seen", "perturbed", "fresh")


@dataclass(frozen=True)
class Check:
    """One claim of the paper against one run or a batch; over a batch the numbers are medians over its runs."""

    claim: str
    """Where the claim stands in the paper, with a word for the part."""
    statement: str
    """The claim in words."""
    measured: float
    """What was measured; NaN if nothing could be."""
    bound: float
    """What it is compared with; NaN where the claim has no number."""
    verdict: str
    """`holds`, `fails` or `not applicable`; over a batch `holds` needs every applicable run to hold."""
    reason: str
    """Why this verdict, in words."""
    holds: int
    """Runs in which the claim holds."""
    runs: int
    """Runs to which it applies."""
    constant: float = float("nan")
    """The implied constant of a claim that has an unknown one."""


@dataclass(frozen=True)
class _Finding:
    """One claim on one run."""

    measured: float = float("nan")
    bound: float = float("nan")
    verdict: str = NOT_APPLICABLE
    reason: str = ""
    constant: float = float("nan")


def checks(trajectory: Trajectory) -> list[Check]:
    """Return every claim of the paper checked on a run; over a batch each says in how many runs it holds."""
    if not isinstance(trajectory, Trajectory):
        raise InputError(f"`trajectory` must come from simulate(...), got {type(trajectory).__name__}")
    return [_over_runs(trajectory, *claim) for claim in CLAIMS]


def _over_runs(trajectory: Trajectory, claim: str, statement: str, find: Callable[[Trajectory], _Finding]) -> Check:
    found = [find(run) if run.status == "ok" else _Finding(reason=run.status) for run in trajectory.runs]
    decided = [finding for finding in found if finding.verdict != NOT_APPLICABLE]
    holds = sum(finding.verdict == HOLDS for finding in decided)
    verdict = NOT_APPLICABLE if not decided else HOLDS if holds == len(decided) else FAILS
    alike = [at for at, finding in enumerate(found) if finding.verdict == verdict]
    typical = next((at for at in alike if not np.isnan(found[at].measured)), alike[0])  # explains the number
    reason = found[typical].reason
    if len(found) > 1 and not np.isnan(found[typical].measured):
        reason = f"seed {trajectory.seeds[typical]}: {reason}"
    if len(found) > 1 and decided:
        reason = f"holds in {holds} of {len(decided)} runs; {reason}"
    numbers = {name: _median([getattr(f, name) for f in found]) for name in ("measured", "bound", "constant")}
    return Check(claim, statement, verdict=verdict, reason=reason, holds=holds, runs=len(decided), **numbers)


def _median(values: list[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.median(known)) if known else float("nan")


def _needs_stage_one(find: Callable[[Trajectory], _Finding]) -> Callable[[Trajectory], _Finding]:
    def guarded(run: Trajectory) -> _Finding:
        if run.stages.t1 is None:
            return _Finding(reason=f"there is no Stage I: {run.stages.reason}")
        return find(run)

    return guarded


def _window(run: Trajectory) -> _Finding:
    track, stages = run.track, run.stages
    gap = separation(track["margin_clean_min"], track["margin_noisy_max"])[1:]
    if np.isnan(gap).all():
        return _Finding(reason=stages.reason)
    if stages.window is None:
        return _Finding(float(np.nanmax(gap)), 0.0, FAILS, stages.reason)
    first, last = stages.window
    return _Finding(float(np.nanmax(gap)), 0.0, HOLDS, f"T1 = {stages.t1}, window from step {first} to {last}")


def _time(run: Trajectory) -> _Finding:
    problem = run.draws[0].problem
    if problem is None:
        return _Finding(run.stages.t1, reason="the draw has no problem, so the scale is unknown")
    scale = stage_one_scale(problem, run.schedule.lr)
    return _Finding(run.stages.t1, scale, reason="the constant is unknown", constant=run.stages.t1 / scale)


def _signal_leads(run: Trajectory) -> _Finding:
    t1, lead = run.stages.t1, run.stages.lead
    signal, noise = run.track["gamma_min"][t1], run.track["rho_bar_max"][t1]
    if np.isnan(signal) or np.isnan(noise):
        return _Finding(reason="the decomposition is not unique for d < n + 1; the span engine defines it")
    within = (
        f"within the window it leads from step {lead[0]} to {lead[1]}" if lead else "it leads nowhere in the window"
    )
    reason = f"min gamma against max rho-bar at T1 = {t1}; {within}"
    return _Finding(float(signal), float(noise), HOLDS if signal > noise else FAILS, reason)


def _order_one(name: str) -> Callable[[Trajectory], _Finding]:
    def find(run: Trajectory) -> _Finding:
        value = float(run.at_t1[name])
        return _Finding(value, reason="order one has an unknown constant", constant=value)

    return find


def _needs_convergence(find: Callable[[Trajectory], _Finding]) -> Callable[[Trajectory], _Finding]:
    def guarded(run: Trajectory) -> _Finding:
        if not run.draws[0].noisy.any():
            return _Finding(reason="there are no noisy samples")
        if run.stages.convergence is None:
            loss = run.table["loss"][-1]
            return _Finding(reason=f"the loss has not converged (last loss {loss:.3g}); raise `steps`")
        return find(run)

    return guarded


def _clean_right(run: Trajectory) -> _Finding:
    least = float(run.track["margin_clean_min"][-1])
    if np.isnan(least):
        return _Finding(reason="there are no clean samples")
    reason = f"smallest clean margin at the last step; converged at step {run.stages.convergence}"
    return _Finding(least, 0.0, HOLDS if least > 0 else FAILS, reason)


def _memorised_share(run: Trajectory) -> _Finding:
    share = float(run.table["rho_leads_share"][-1])
    return _Finding(share, reason="the fraction is an unknown constant", constant=share)


def _stage_two_error(kind: str) -> Callable[[Trajectory], _Finding]:
    words = {
        "seen": "an identity, no evidence: once all is fitted, every noisy patch errs for one of the two signals",
        "perturbed": "the paper's test distribution",
        "fresh": "not claimed by the theorem, which is about patches that recur",
    }[kind]

    def find(run: Trajectory) -> _Finding:
        draw = run.draws[0]
        rates = [float(draw.noisy[draw.y_true == sign].mean()) for sign in (1, -1) if (draw.y_true == sign).any()]
        bound = 0.5 * min(rates) if len(rates) == 2 else 0.0
        if bound == 0:
            return _Finding(reason="a class without noisy samples makes the bound 0")
        error, spread = _test_error(run.table, kind, -1)
        if np.isnan(error):
            return _Finding(bound=bound, reason="it was not measured; give the draw a problem and set test_draws")
        reason = f"{words}; bound from the smaller realised class rate {min(rates):.3f}"
        if kind == "fresh":
            return _Finding(error, bound, reason=reason)
        if kind == "seen":
            cases = 2 * draw.n
            reason += f"; {error * cases:.0f} of {cases} cases against {bound * cases:.1f}"
        elif abs(error - bound) <= 2 * spread:
            return _Finding(error, bound, reason=f"{reason}; undecided within two standard errors, raise test_draws")
        return _Finding(error, bound, HOLDS if error >= bound - 1e-12 else FAILS, reason)

    return _needs_convergence(find)


def _test_error(table: Mapping[str, np.ndarray], kind: str, at: int | tuple) -> tuple[float, float]:
    """A test error and its uncertainty; where no draw disagrees the distance to the upper bound stands for it."""
    stem = f"test_error_{kind}"
    if stem not in table:
        return float("nan"), float("nan")
    error = float(table[stem][at])
    if kind == "seen":
        return error, 0.0
    spread = float(table[f"{stem}_se"][at])
    return error, spread if np.isfinite(spread) else (float(table[f"{stem}_upper"][at]) - error) / 2


def _early_stopping(kind: str) -> Callable[[Trajectory], _Finding]:
    def find(run: Trajectory) -> _Finding:
        draw = run.draws[0]
        error, _ = _test_error(run.at_t1, kind, ())
        if np.isnan(error) or draw.problem is None:
            return _Finding(error, reason="it needs a problem and test_draws > 0")
        bound, source = error, "implied C from the error"
        if error == 0:
            if kind == "seen":
                return _Finding(error, reason="no mistake in all 2n cases; they do not bound the constant")
            bound = float(run.at_t1[f"test_error_{kind}_upper"])
            source = f"implied C at most this, from no error in {run.schedule.test_draws} draws (95 %)"
        constant = draw.problem.d / (draw.n * np.log(1 / bound)) if bound < 1 else float("inf")
        return _Finding(error, reason=f"the constant C is unknown; {source}", constant=float(constant))

    return _needs_stage_one(find)


def _selection(run: Trajectory) -> _Finding:
    precision, recall = (float(run.at_t1[f"selection_{name}"]) for name in ("precision", "recall"))
    reason = (
        f"precision {precision:.3f}, recall {recall:.3f} at T1; the accuracy claim restated, no second confirmation"
    )
    f1 = float(run.at_t1["selection_f1"])
    return _Finding(f1, 1.0, HOLDS if f1 == 1 else FAILS, reason)


def _without_noise(run: Trajectory) -> _Finding:
    if run.draws[0].noisy.any():
        return _Finding(reason="there is label noise")
    wrong = np.flatnonzero(~(run.track["margin_clean_min"] > 0))
    first = int(wrong[-1]) + 1 if wrong.size else 0
    if first > run.schedule.steps:
        return _Finding(verdict=FAILS, reason="some sample is wrong at the last step")
    return _Finding(float(first), verdict=HOLDS, reason=f"all samples are right from step {first} to the end")


def _without_noise_error(run: Trajectory) -> _Finding:
    draw, problem = run.draws[0], run.draws[0].problem
    if draw.noisy.any():
        return _Finding(reason="there is label noise")
    error, _ = _test_error(run.table, "fresh", -1)
    if problem is None or np.isnan(error):
        return _Finding(reason="it needs a problem and test_draws > 0")
    upper = float(run.table["test_error_fresh_upper"][-1])
    exponent = draw.n * problem.mu_norm**4 / (problem.noise_std**4 * problem.d)
    constant = exponent / np.log(1 / upper) if upper < 1 else float("inf")
    reason = f"the constant C_D is unknown; implied C_D from the 95 % upper bound {upper:.2g} of the last error"
    return _Finding(error, reason=reason, constant=float(constant))


def _decomposition(run: Trajectory) -> _Finding:
    if "margin" not in run.values or "margin_predicted" not in run.values:
        return _Finding(reason='it needs record=("margin", "margin_predicted")')
    actual, predicted = (run.values[name][1:].ravel() for name in ("margin", "margin_predicted"))
    known = np.isfinite(actual) & np.isfinite(predicted)
    actual, predicted = actual[known], predicted[known]
    if actual.size < 2 or np.ptp(predicted) == 0:
        return _Finding(reason="it needs a record after step 0")
    with np.errstate(over="ignore", invalid="ignore"):
        covariance = np.cov(predicted, actual)
        slope = covariance[0, 1] / covariance[0, 0]
        r2 = slope * covariance[0, 1] / covariance[1, 1]
        offset, gap = actual.mean() - slope * predicted.mean(), np.abs(actual - predicted).max()
    fit = f"R^2 of actual on predicted margin; slope {slope:.3f}, offset {offset:.3g}, largest gap {gap:.3g}"
    return _Finding(float(r2), reason=f"{fit} over all records; lower order is not quantified")


CLAIMS: list[tuple[str, str, Callable[[Trajectory], _Finding]]] = [
    (
        "Thm 4.1, stages",
        "at some step all clean samples are fitted and every noisy sample is classified by its true label",
        _window,
    ),
    ("Thm 4.1, time", "T1 is of the order n m / (eta sigma_xi^2 d)", _needs_stage_one(_time)),
    ("Thm 4.1, signal", "at T1 signal leads: min gamma > max rho-bar", _needs_stage_one(_signal_leads)),
    ("Thm 4.1, size of gamma", "the mean gamma at T1 is of order one", _needs_stage_one(_order_one("gamma_mean"))),
    (
        "Thm 4.1, size of rho-bar",
        "the mean of the positive rho-bar at T1 is of order one",
        _needs_stage_one(_order_one("rho_bar_mean")),
    ),
    ("Thm 4.2, clean", "after convergence clean samples are still right", _needs_convergence(_clean_right)),
    (
        "Thm 4.2, memorisation",
        "after convergence rho-bar is above gamma for a constant fraction of the noisy samples",
        _needs_convergence(_memorised_share),
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
    (
        "Prop 4.3, selection",
        "at T1 the threshold log 2 on the loss separates clean from noisy samples",
        _needs_stage_one(_selection),
    ),
    ("Thm 4.4, accuracy", "without label noise all samples stay right from some step on", _without_noise),
    (
        "Thm 4.4, test error",
        "without label noise the fresh-noise test error is at most exp(-n ||mu||^4 / (C_D sigma_xi^4 d))",
        _without_noise_error,
    ),
    ("Lemma 5.1", "the margin is, up to lower order, its signal and noise coefficients", _decomposition),
]
"""Every claim: where it stands, what it says, and the function that checks it on one run."""
