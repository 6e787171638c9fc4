"""What one claim says of one run, and the words of the verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

Verdict = Literal["holds", "fails", "constant only", "premise fails", "not measured"]
HOLDS: Verdict = "holds"
FAILS: Verdict = "fails"
CONSTANT_ONLY: Verdict = "constant only"
PREMISE_FAILS: Verdict = "premise fails"
NOT_MEASURED: Verdict = "not measured"
UNDECIDED: tuple[Verdict, ...] = (CONSTANT_ONLY, PREMISE_FAILS, NOT_MEASURED)
"""Neither holds nor fails, the most telling first."""

NAN = float("nan")


class Counts(NamedTuple):
    """How many of some verdicts are which."""

    holds: int
    decided: int
    """That hold or fail."""
    undecided: int
    premise_fails: int
    """Of the undecided."""


def count_verdicts(verdicts: Sequence[str]) -> Counts:
    """Count verdicts; *not applicable*, a word of older folders, is undecided, too."""
    holds, decided = verdicts.count(HOLDS), verdicts.count(HOLDS) + verdicts.count(FAILS)
    return Counts(holds, decided, len(verdicts) - decided, verdicts.count(PREMISE_FAILS))


@dataclass(frozen=True)
class Finding:
    """One claim on one run; see `Check`."""

    verdict: Verdict
    reason: str
    measured: float = NAN
    bound: float = NAN
    constant: float = NAN


def compare(holds: bool, measured: float, bound: float, reason: str) -> Finding:
    """A claim without an unknown constant: it holds or fails."""
    return Finding(HOLDS if holds else FAILS, reason, float(measured), float(bound))


def constant_only(measured: float, constant: float, reason: str, bound: float = NAN) -> Finding:
    """A claim with an unknown constant, and the value that this run implies for it."""
    return Finding(CONSTANT_ONLY, reason, float(measured), float(bound), float(constant))


def premise_fails(reason: str, measured: float = NAN, bound: float = NAN) -> Finding:
    """The claim does not speak of this case."""
    return Finding(PREMISE_FAILS, reason, measured, bound)


def not_measured(reason: str, measured: float = NAN, bound: float = NAN) -> Finding:
    """What the claim compares is not there, or too uncertain to decide."""
    return Finding(NOT_MEASURED, reason, measured, bound)
