"""Trainings of an audit that are done while others are to come: kept in its run directory, so that a kill loses one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from labelnoise.audit.labels import GivenLabels
from labelnoise.record.recorder import Recorder
from labelnoise.runs.files import digest, read_arrays, to_json, write_whole
from labelnoise.runs.folders import RunFolder

FILES = "trainings/*.npz"
"""The records, which go when the audit is whole."""
KEY = "made_by"
"""Name of the entry that tells a record of this audit from another."""


class KeptTrainings:
    """Records of trainings, a file each, in the run directory of the audit that they belong to.

    Args:
        folder: the run directory; it is begun when the first record is written, so that what is refused before leaves
            no trace.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder, self._begun = folder, False

    def begin(self) -> None:
        """Begin the run directory, unless a record did."""
        if not self._begun:
            self._folder.begin()
            self._begun = True

    def record(
        self, name: str, train: Callable[[], Recorder], labels: GivenLabels, mask: np.ndarray, words: str
    ) -> Recorder:
        """Return the record that an interrupted run kept under a name; else train, and keep what was recorded.

        A record of other labels, other held-out samples or another version is not taken, nor one of a run that is to be
        overwritten.

        Args:
            name: of the file.
            train: makes the record.
            labels: the given labels.
            mask: (n,) the held-out samples.
            words: what is trained.

        Raises:
            InputError: the file is damaged, or cannot be written.
        """
        path, key = self._folder.path / FILES.replace("*", name), self._key(labels, mask, words)
        if path.is_file() and (self._begun or not self._folder.overwrite):
            state = read_arrays(path, "delete it, then give the same command again")
            if str(state.pop(KEY, "")) == key:
                recorder = Recorder(mask.size, int(state.pop("n_classes")))
                recorder.load_state_dict(state)
                return recorder
        recorder = train()
        self.begin()
        entries = {**recorder.state_dict(), "n_classes": np.array(recorder.n_classes), KEY: np.array(key)}
        write_whole(path, lambda file: np.savez(file, **entries))  # type: ignore[arg-type]
        return recorder

    def _key(self, labels: GivenLabels, mask: np.ndarray, words: str) -> str:
        made = {name: self._folder.config[name] for name in ("settings", "inputs", "versions", "git_commit")}
        parts = (to_json({**made, "words": words}).encode(), labels.positions.tobytes(), mask.tobytes())
        return digest(b"".join(parts))
