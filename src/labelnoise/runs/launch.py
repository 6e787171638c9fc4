"""Which of several processes this one is, where torchrun started it; torch is not needed to say so."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Launch:
    """A process among those that a launcher started."""

    rank: int = 0
    """Its number; the first one, 0, writes and speaks for all."""
    size: int = 1
    """How many there are."""


def find_launch() -> Launch:
    """Return what torchrun said of this process; one that it did not start is alone."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:  # RANK and WORLD_SIZE alone may be left from something else
        return Launch()
    return Launch(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))
