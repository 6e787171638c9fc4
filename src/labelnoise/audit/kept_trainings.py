"""Trainings of an audit under way, kept in its run directory: a kill loses one at most, of a network some epochs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from labelnoise.audit.labels import GivenLabels
from labelnoise.errors import InputError
from labelnoise.record.recorder import Recorder
from labelnoise.runs.files import digest, read_arrays, to_json, write_whole
from labelnoise.runs.folders import RunFolder

FILES = ("trainings/*.npz", "trainings/*/checkpoints/*")
"""Records of trainings, and states of begun ones; both go when the audit is whole."""
KEY = "made_by"
"""Name of the entry that tells a record of this audit from another."""


class KeptTrainings:
    """Records of trainings, a file each, in the run directory of the audit that they belong to.

    Args:
        folder: the run directory; it is begun when the first file is written, so that what is refused before leaves no
            trace.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder, self._begun = folder, False

    def begin(self) -> None:
        """Begin the run directory, unless that was done."""
        if not self._begun:
            self._folder.begin()
            self._begun = True

    def record(
        self,
        name: str,
        train: Callable[[Callable[[], Path]], Recorder],
        labels: GivenLabels,
        mask: np.ndarray,
        words: str,
    ) -> tuple[Recorder, str]:
        """Return the record that an interrupted run kept under a name; else train, and keep what was recorded.

        A record of other labels, other held-out samples or another version is not taken, nor a damaged one, nor one of
        a run that is to be overwritten.

        Args:
            name: of the file.
            train: makes the record; what it is given makes the folder in which it may leave a state to go on from.
            labels: the given labels.
            mask: (n,) the held-out samples.
            words: what is trained.

        Returns:
            The record, and what is to be said of where it comes from; nothing of one that is new.

        Raises:
            InputError: the file cannot be written.
        """
        key, said = self._key(labels, mask, words), ""
        path = self._folder.path / FILES[0].replace("*", name)
        if path.is_file() and (self._begun or not self._folder.overwrite):
            recorder, said = _read(path, key, mask.size)
            if recorder:
                return recorder, said

        def state_folder() -> Path:
            self.begin()
            return path.with_name(f"{name}-{key[:10]}")  # that of another version stays untouched, until all go

        recorder = train(state_folder)
        self.begin()
        entries = {**recorder.state_dict(), "n_classes": np.array(recorder.n_classes), KEY: np.array(key)}
        write_whole(path, lambda file: np.savez(file, **entries))  # type: ignore[arg-type]
        return recorder, said

    def _key(self, labels: GivenLabels, mask: np.ndarray, words: str) -> str:
        made = {name: self._folder.config[name] for name in ("settings", "inputs", "versions", "git_commit")}
        parts = (to_json({**made, "words": words}).encode(), labels.positions.tobytes(), mask.tobytes())
        return digest(b"".join(parts))


def _read(path: Path, key: str, n: int) -> tuple[Recorder | None, str]:
    """The record in a file, if it is whole and bears the key, and what is to be said of it."""
    try:
        state = read_arrays(path)
    except InputError:
        return None, "trained again, since the file that an interrupted run kept is damaged"
    if str(state.pop(KEY, "")) != key:
        return None, "trained again, since what an interrupted run kept is of another version"
    recorder = Recorder(n, int(state.pop("n_classes")))
    recorder.load_state_dict(state)
    return recorder, "kept from an interrupted run"
