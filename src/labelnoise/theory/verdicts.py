"""Every claim of the paper against a run or a batch: the verdicts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from labelnoise.errors import InputError
from labelnoise.theory.claims import CLAIMS, Examine
from labelnoise.theory.findings import (
    FAILS,
    HOLDS,
    NOT_MEASURED,
    PREMISE_FAILS,
    UNDECIDED,
    Finding,
    Verdict,
    count_verdicts,
    not_measured,
)
from labelnoise.theory.scales import stage_one_scale
from labelnoise.theory.trajectory import Trajectory, TrajectoryBatch


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
    verdict: Verdict
    """`holds` or `fails`; or why neither can be said: `constant only` (the claim has an unknown constant, for which
    `constant` is what the run implies), `premise fails` (the claim does not speak of this case), `not measured` (or
    not well enough to decide). Over a batch, `holds` needs every run that holds or fails to hold."""
    reason: str
    """Why this verdict, in words."""
    holds: int
    """Runs in which the claim holds."""
    runs: int
    """Runs in which it holds or fails."""
    constant: float = float("nan")
    """The implied constant of a claim that has an unknown one."""


def checks(trajectory: Trajectory | TrajectoryBatch) -> list[Check]:
    """Return every claim of the paper checked on a run; over a batch each says in how many runs it holds."""
    if not isinstance(trajectory, Trajectory | TrajectoryBatch):
        raise InputError(f"`trajectory` must come from simulate(...), got {type(trajectory).__name__}")
    runs = [trajectory] if isinstance(trajectory, Trajectory) else list(trajectory)
    return [_over_runs(runs, *claim) for claim in CLAIMS]


def _over_runs(runs: list[Trajectory], claim: str, statement: str, examine: Examine) -> Check:
    findings = [_within_premise(run, examine(run)) if run.status == "ok" else not_measured(run.status) for run in runs]
    counts = count_verdicts([finding.verdict for finding in findings])
    verdict = _overall(findings)
    numbers = {name: _median([getattr(f, name) for f in findings]) for name in ("measured", "bound", "constant")}
    alike = [at for at, finding in enumerate(findings) if finding.verdict == verdict]
    measured = [at for at in alike if not np.isnan(findings[at].measured)]
    typical = min(measured, key=lambda at: abs(findings[at].measured - numbers["measured"]), default=alike[0])
    reason = findings[typical].reason
    if len({finding.reason for finding in findings}) > 1 and not np.isnan(findings[typical].measured):
        seed = runs[typical].seed
        reason = f"seed {typical if seed is None else seed}: {reason}"
    if len(runs) > 1 and counts.decided:
        reason = f"holds in {counts.holds} of {counts.decided} runs; {reason}"
    return Check(claim, statement, verdict=verdict, reason=reason, holds=counts.holds, runs=counts.decided, **numbers)


def _within_premise(run: Trajectory, finding: Finding) -> Finding:
    """The finding; where the run is not trained as in the paper, its numbers under a premise that fails.

    The conditions have unknown constants, so a number fails them only where no constant would do: a learning rate with
    which Stage I would be over within a step, or no signal. Of vectors without a problem it is not known.
    """
    if finding.verdict == PREMISE_FAILS:
        return finding
    if run.draw.problem is None and not run.departures:
        if finding.verdict not in (HOLDS, FAILS):
            return finding
        unknown = "the draw has no problem, so whether its vectors are the paper's is not known"
        return replace(finding, verdict=NOT_MEASURED, reason=f"{unknown} ({finding.reason})")
    if run.departures:
        others = "; ".join(run.departures)
        proved = f"proved for ReLU, logistic loss and plain full-batch gradient descent, not for: {others}"
    elif run.draw.problem and (scale := stage_one_scale(run.draw.problem, run.config.lr)) < 1:
        proved = (
            f"proved for a small learning rate, not for one with which n m / (eta sigma_xi^2 d), the scale of T1, is "
            f"{scale:.2g} of a step: lower `lr`"
        )
    elif run.draw.mu_sq == 0:
        proved = "proved for n SNR^2 of order one, not for 0: there is no signal"
    else:
        return finding
    return replace(finding, verdict=PREMISE_FAILS, reason=f"{proved} ({finding.reason})")


def _overall(findings: list[Finding]) -> Verdict:
    """One failure decides; then one run that holds; else what says most."""
    verdicts = {finding.verdict for finding in findings}
    return next(verdict for verdict in (FAILS, HOLDS, *UNDECIDED) if verdict in verdicts)


def _median(values: list[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.median(known)) if known else float("nan")
