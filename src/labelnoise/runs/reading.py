"""Finished runs read back: every reader of results starts here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from labelnoise.errors import InputError
from labelnoise.runs.files import read_arrays, read_json

SUMMARIES = {
    "simulate": ("noise", "stops", "stages", "checks", "conditions", "stage_one_scale", "zeta_std"),
    "train": ("noise", "stops"),
    "reproduce": ("groups",),
}
"""What the summary of each command must hold beside its status."""


@dataclass(frozen=True)
class RunRecord:
    """A run read back: every reader of results (figures, pages) starts from this."""

    path: Path
    command: str
    settings: dict[str, Any]
    versions: dict[str, Any]
    git_commit: str | None
    summary: dict[str, Any]

    @cached_property
    def history(self) -> pd.DataFrame:
        """`history.csv`, one row a record."""
        try:
            return pd.read_csv(self.path / "history.csv")
        except (OSError, ValueError) as error:
            raise InputError(f"{self.path} is damaged ({error}); make the run again with --overwrite") from None

    @cached_property
    def samples(self) -> dict[str, np.ndarray]:
        """`samples.npz`, the per-sample arrays."""
        return read_arrays(self.path / "samples.npz")


def read_run(path: Path) -> RunRecord:
    """Read a finished run.

    Raises:
        InputError: the folder holds no run, an unfinished one, or a damaged file.
    """
    path = Path(path)
    for name, meaning in (("config.json", "is no run"), ("summary.json", "is a run that has not finished")):
        if not (path / name).is_file():
            raise InputError(
                f"{path} {meaning} ({name} is missing); give the folder of a finished run, or finish it by the "
                "command that began it"
            )
    config, summary = read_json(path / "config.json"), read_json(path / "summary.json")
    names = ("command", "settings", "versions", "git_commit")
    needed = ("status", *SUMMARIES.get(config.get("command", ""), ()))
    if not all(name in config for name in names) or not all(name in summary for name in needed):
        raise InputError(f"{path} is no run of labelnoise, or a damaged one; give the folder of a finished run")
    return RunRecord(path, **{name: config[name] for name in names}, summary=summary)
