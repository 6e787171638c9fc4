"""Find wrong labels and stop in time, on many data sets: what the candidates are worth, beside other tools.

python benchmarks/detection/run.py --subset                        (under 10 minutes on 2 cores; digits and tables)
python benchmarks/detection/run.py --data-root DATA --jobs 2       (three hours on 2 cores; trainings there are kept)
python benchmarks/detection/run.py --data digits fried --folds none
python benchmarks/detection/run.py --stored                        (judges the trainings that are there, trains none)

Data that scikit-learn does not hold (mnist, fashion-mnist-small.npz, cifar10-ten-classes-small.npz,
cifar10-airplane-automobile.npz, adult.csv, banking77.csv) are looked for in the folder of --data-root, or the one that
LABELNOISE_DATA names; those that are not there are left out and named.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import harness  # before NumPy loads: it limits the threads

# isort: split
import argparse
import os
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context

import torch
from grid import CHOOSING, REPORTING, settings
from records import Setting, folds_of, record_of
from score import rows_of
from tables import tables

from labelnoise.errors import InputError

torch.set_num_threads(harness.THREADS)


def main() -> None:
    """Train what is missing, judge every candidate, and write the tables."""
    arguments = _arguments()
    harness.describe("Wrong labels found, and trainings stopped")
    out, root = Path(arguments.out), Path(arguments.data_root)
    wanted = settings(tuple(arguments.data), tuple(arguments.seeds), arguments.subset, tuple(arguments.noises))
    if arguments.stored:
        there = (Setting.from_name(path.stem) for path in sorted(out.glob("*.npz")) if ".folds" not in path.name)
        wanted = [setting for setting in there if not setting.member]
    start, rows, left_out = time.perf_counter(), [], {}
    with ProcessPoolExecutor(arguments.jobs, get_context("spawn")) as pool:
        judged = pool.map(partial(_judged, arguments=arguments, root=root, out=out), wanted)
        for place, (setting, result) in enumerate(zip(wanted, judged, strict=True)):
            if isinstance(result, Exception):
                left_out[setting.data] = result
                continue
            rows += result
            print(f"{time.perf_counter() - start:6.0f} s  {place + 1}/{len(wanted)}  {setting.name}", flush=True)
    for name, error in left_out.items():
        print(f"left out: {name} ({error})")
    if arguments.train_only:
        return
    if not rows:
        sys.exit("no record; see above")
    target = out / "table.md"
    target.write_text(_head(arguments, len(wanted), left_out) + tables(rows))
    print(f"\nwritten: {target}")


def _judged(setting: Setting, arguments: argparse.Namespace, root: Path, out: Path) -> list[dict] | Exception:
    """Rows of one setting, or why its data cannot be read."""
    try:
        return _rows(setting, arguments, root, out)
    except (InputError, OSError) as error:
        return error


def _rows(setting: Setting, arguments: argparse.Namespace, root: Path, out: Path) -> list[dict]:
    """Rows of one setting; folds and further trainings are made where asked, and used where they are there."""
    record, reported = record_of(setting, root, out), setting.seed in REPORTING and not arguments.stored
    asked = reported and arguments.folds == "reporting" or arguments.folds == "all"
    folds = folds_of(setting, root, out) if asked or (out / f"{setting.name}.folds.npz").exists() else None
    members = [replace(setting, member=k) for k in range(1, arguments.members)]
    complete = reported or all((out / f"{member.name}.npz").exists() for member in members)
    others = [record_of(member, root, out) for member in members] if complete else []
    if arguments.train_only:
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of peers, about few samples of a class
        return rows_of(record, folds, others)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subset", action="store_true", help="digits and small tables, two seeds, under 10 minutes")
    parser.add_argument(
        "--data", nargs="*", default=[], metavar="NAME", help="data sets, or NAME/LEARNER; all if left out"
    )
    parser.add_argument("--noises", nargs="*", default=[], metavar="NOISE", help="as symmetric:0.2; all if left out")
    parser.add_argument("--seeds", nargs="*", type=int, help="seeds; 0 to 2 choose, 3 to 5 report")
    parser.add_argument(
        "--folds", choices=("none", "reporting", "all"), default="reporting", help="where 5 folds are trained"
    )
    parser.add_argument(
        "--members", type=int, help="trainings of each reporting setting, judged together (1; 5 with --stored)"
    )
    parser.add_argument("--jobs", type=int, default=1, help="settings at once, a process each (1)")
    parser.add_argument("--train-only", action="store_true", help="leave the judging to --stored")
    parser.add_argument("--stored", action="store_true", help="judge what is there, train nothing")
    parser.add_argument("--data-root", default=os.environ.get("LABELNOISE_DATA", "data"), help="folder with data")
    parser.add_argument("--out", default="runs/detection", help="where records and table.md are kept")
    arguments = parser.parse_args()
    arguments.members = arguments.members or (5 if arguments.stored else 1)
    if not arguments.seeds:
        arguments.seeds = [CHOOSING[0], REPORTING[0]] if arguments.subset else [*CHOOSING, *REPORTING]
    return arguments


def _head(arguments: argparse.Namespace, count: int, left_out: dict[str, Exception]) -> str:
    options = [f"--{name}" for name in ("subset", "stored") if vars(arguments)[name]]
    options += ["--data", *arguments.data] if arguments.data else []
    options += ["--members", str(arguments.members)] if arguments.members > 1 and not arguments.stored else []
    words = " ".join(["python benchmarks/detection/run.py", *options])
    absent = f" Left out, for want of data: {', '.join(left_out)}." if left_out else ""
    return (
        f"# Wrong labels found, and trainings stopped\n\n`{words}`: {count} settings, seeds "
        f"0 to 2 to choose by, 3 to 5 to report on.{absent}\n\n"
    )


if __name__ == "__main__":
    main()
