"""A record of running sums alone, read as one epoch that stands for all: for sets too large to keep a history."""

from __future__ import annotations

import numpy as np

from labelnoise.audit.recorded import RecordedTraining, finite
from labelnoise.record.recorder import Recorder


def read_sums(recorder: Recorder) -> RecordedTraining:
    """Read a recorder that keeps no history.

    With held-out samples, its epoch has the mean margin up to the stop and the mean probability of the given label up
    to twice the stop, so that `given-probability` and what is rejected are those of the sums. Without, there is no
    stop, and the probability is the share of epochs that predict the given label. A rejected sample's prediction is the
    most frequent other class.
    """
    sums, given = recorder.sums, recorder.given
    known = recorder.held_out is not None and sums.stop is not None
    with np.errstate(invalid="ignore", divide="ignore"):
        if known:
            margin, chance = sums.margin_to_stop / sums.seen_to_stop, sums.probability_to_twice / sums.seen_to_twice
        else:
            margin, chance = sums.margin / sums.seen, 1 - sums.rejected / sums.seen
        loss = -np.log(np.clip(chance, TINY, 1))
    margin = finite(margin)
    prediction = np.where(np.isnan(margin), -1, np.where((margin > 0) | (sums.rival < 0), given, sums.rival))
    stop, words = None, "no stop is known, since no samples were held out; the score uses all epochs"
    if known and sums.stop is not None:
        stop = sums.stop + 1
        words = f"epoch {stop} of {recorder.epochs}, where the held-out loss was least, by running sums"
    held_out = np.zeros(given.size, bool) if recorder.held_out is None else recorder.held_out
    rows = (margin.astype(np.float32)[None], loss.astype(np.float32)[None], prediction.astype(np.int32)[None])
    sureness = 1 / (1 + np.exp(-np.abs(margin)))  # of a rejected label, the lead over it: at least that over the second
    return RecordedTraining(*rows, given, recorder.n_classes, held_out, 1, known, words, sureness, stop)


TINY = 1e-6
"""Least probability."""
