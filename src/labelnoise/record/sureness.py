"""How sure a stop is: what the same held-out samples say of the chosen record, of its neighbours and of the end."""

from __future__ import annotations

import numpy as np

from labelnoise.errors import counted
from labelnoise.record.evidence import Evidence
from labelnoise.record.stopping import Stop, paired_fall


def stop_at(evidence: Evidence, chosen: int, stopped: int | None, said: str = "") -> Stop:
    """Return the stop at a record: whether it avoids a fall, and which records cannot be told from it.

    A fall is one of held-out accuracy (`paired_fall`); where only losses are observed, a rise of theirs by more than
    two paired standard errors; without held-out samples no fall is ever seen.

    Args:
        evidence: of the records so far; those after `stopped` are left out.
        chosen: the record to keep.
        stopped: the record at which the run ends, if it does.
        said: what the rule says of itself.
    """
    last = evidence.records - 1 if stopped is None else stopped
    end = evidence.last_known(last)
    both = evidence.seen(chosen, end)
    if evidence.fitted.shape[1] and both.any():
        fall = paired_fall(evidence.fitted[chosen, both], evidence.fitted[end, both])
        seen, words = fall.seen, fall.reason
    else:
        fall, (seen, words) = None, _loss_rise(evidence, chosen, end)
    reason = f"{said}; {words}" if said else words
    if end < last:
        reason += f"; the end is the last record whose held-out outputs are numbers, {last - end} before the last one"
    return Stop(chosen, stopped, seen, reason, fall, _alike(evidence, chosen, end))


def not_applicable(evidence: Evidence, why: str) -> Stop:
    """Return what a rule says that has nothing to go by: the last record, and no end."""
    last = evidence.records - 1
    return Stop(last, None, False, f"not applicable: {why}", None, (0, last), applicable=False)


def _loss_rise(evidence: Evidence, chosen: int, end: int) -> tuple[bool, str]:
    """Whether the loss of the same held-out samples rose from a record to the end by more than chance, and words."""
    if not evidence.loss.shape[1]:
        return False, "without held-out samples it is not known whether there is a Stage II to avoid"
    mean, error = (float(part[0]) for part in _difference(evidence.loss[[end]], evidence.loss[chosen]))
    start, last = (float(evidence.mean_loss[at]) for at in (chosen, end))
    samples = counted(int(evidence.seen(chosen, end).sum()), "sample")
    limit = f"two paired standard errors ({2 * error:.3f}) of {samples}"
    seen = bool(mean > 2 * error)
    verdict = f"a rise of more than {limit}" if seen else f"within {limit}, no reason to stop is seen"
    return seen, f"held-out loss {start:.3f}, at the end {last:.3f}: {verdict}"


def _difference(rows: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard error (r,) of what rows (r, h) exceed one (h,) by, over the samples seen in both.

    Of fewer than two samples, or where a difference is infinite, the mean is 0 and the error infinite.
    """
    gap = np.isnan(rows) | np.isnan(row)
    count = row.size - gap.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        difference = rows.astype(float) - row
        difference[gap] = 0
        mean = difference.sum(axis=1) / count
        difference -= mean[:, None]
        difference[gap] = 0
        error = np.sqrt((difference**2).sum(axis=1) / (count - 1) / count)
    usable = (count > 1) & np.isfinite(error)
    return np.where(usable, mean, 0.0), np.where(usable, error, np.inf)


BLOCK = 2**15
"""Values that are compared at once."""


def _alike(evidence: Evidence, chosen: int, end: int) -> tuple[int, int]:
    """First and last record around the chosen one whose held-out loss is within two paired standard errors of its own.

    By the fitted samples where there are no losses, all records where there is neither.
    """
    values = evidence.loss if evidence.loss.shape[1] else evidence.fitted
    if not values.shape[1]:
        return 0, end
    before, after = values[:chosen][::-1], values[chosen + 1 : end + 1]
    return chosen - _reach(before, values[chosen]), chosen + _reach(after, values[chosen])


def _reach(rows: np.ndarray, row: np.ndarray) -> int:
    """How many of the rows come before the first that is not within two paired standard errors of one row."""
    start, size = 0, 1
    while start < len(rows):
        mean, error = _difference(rows[start : start + size], row)
        differs = np.abs(mean) > 2 * error
        if differs.any():
            return start + int(differs.argmax())
        start, size = start + size, max(1, min(2 * size, BLOCK // row.size))
    return len(rows)
