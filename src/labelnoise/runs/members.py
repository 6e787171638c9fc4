"""A run that is made of runs, each in a folder of its own: what became of them."""

from __future__ import annotations

from collections.abc import Iterable

from labelnoise.runs.kinds import Outcome, Progress


class Members:
    """The runs of which a run is made, by the names of their folders.

    Args:
        names: in the order of the summary; they may end in any other.
        progress: called as each ends.
    """

    def __init__(self, names: Iterable[str], progress: Progress | None) -> None:
        self.names = tuple(names)
        self._progress = progress
        self._ended: dict[str, str] = {}

    def done(self, name: str, outcome: Outcome) -> None:
        """Note what became of one, and say so."""
        self._ended[name] = outcome.status
        if self._progress:
            words = "already there" if outcome.reused else outcome.status
            self._progress(len(self._ended), len(self.names), f"{name}: {words}")

    @property
    def statuses(self) -> dict[str, str]:
        """What became of each, once all have ended."""
        return {name: self._ended[name] for name in self.names}

    @property
    def status(self) -> str:
        """What became of all: `ok`, or name and status of the first that ended early."""
        return next((f"{name}: {status}" for name, status in self.statuses.items() if status != "ok"), "ok")
