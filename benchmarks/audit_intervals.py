"""How often the interval of an audit with folds holds the true rate, with and without what the surest samples show.

    python benchmarks/audit_intervals.py --data-root FOLDER [--data breast-cancer fried ...] [--seeds 0 1 3 4]

Tables of `benchmarks/detection/sources.py`, those of scikit-learn and two generators, and Adult where FOLDER or
LABELNOISE_DATA has it; six kinds of noise, audited by the default model and folds. Seeds 0 to 2 are for choosing, 3 and
more for reporting.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "detection"))
import harness  # before NumPy loads: it limits the threads

# isort: split
import argparse
import os
from unittest.mock import patch

import pandas as pd
from grid import CHOOSING
from records import Setting, labels_of
from sources import load_source

from labelnoise.audit import rates
from labelnoise.audit.judging import judge
from labelnoise.audit.labels import read_labels
from labelnoise.audit.materials import read_material
from labelnoise.audit.recording import record_trainings
from labelnoise.errors import InputError

DATA = ("breast-cancer", "wine", "fried", "2dplanes", "adult", "digits-table")
NOISES = ("none", "symmetric:0.1", "symmetric:0.2", "class-conditional:0.2", "instance:0.3", "pair:0.3")


def rows_of(data: str, noise: str, seed: int, root: Path) -> list[dict]:
    """Return a row for the interval without the surest samples, and one for that of the audit."""
    source = load_source(data, root, seed)
    given = labels_of(Setting(data, "", noise, "", seed), source)
    trainings, _ = record_trainings(read_material(source.x), read_labels("y", given), None, None, seed)
    with patch.object(rates, "surest", lambda *_: 1.0):
        without = judge(trainings, seed=seed).rates
    true, own = float((given != source.y).mean()), judge(trainings, seed=seed).rates
    common = {"data": data, "half": "choosing" if seed in CHOOSING else "reporting"}
    return [
        common
        | {"interval": name, "holds": one.low <= true <= one.high, "above": true < one.low, "width": one.high - one.low}
        for name, one in (("without", without), ("with", own))
        if one.known
    ]


def main() -> None:
    """Print the two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, default=Path(os.environ.get("LABELNOISE_DATA", "data")))
    parser.add_argument("--data", nargs="*", choices=DATA, default=list(DATA))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 3, 4])
    given = parser.parse_args()
    harness.describe("Intervals of the rate, of audits with folds")
    rows = []
    for data in given.data:
        try:
            rows += [row for s in given.seeds for noise in NOISES for row in rows_of(data, noise, s, given.data_root)]
        except (InputError, OSError) as error:
            print(f"left out: {data} ({error})")
    frame = pd.DataFrame(rows)
    print("| half | data | audits | interval | holds the rate | lies above it | width |\n|---|---|---|---|---|---|---|")
    for keys in (["half", "interval"], ["half", "data", "interval"]):
        for names, part in frame.groupby(keys, sort=False):
            named = dict(zip(keys, names, strict=True))
            cells = [named["half"], named.get("data", "all"), str(len(part)), named["interval"]]
            cells += [f"{part[name].mean():.3f}" for name in ("holds", "above", "width")]
            print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
