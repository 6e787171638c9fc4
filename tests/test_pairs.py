"""Two commands on one folder at the same moment: no run is mixed, none is lost, and who is refused is told why.

Exhaustive: 300 pairs of real commands in processes of their own.
"""

import contextlib
import io
import json
import multiprocessing

import pytest
import xarray

from labelnoise.cli import main
from tiny import TABLE

SIMULATE = (
    "simulate --n 20 --d 300 --m 2 --mu-norm 8 --lr 0.05 --steps 40 --test-draws 20 --n-holdout 10 --seeds".split()
)
TRAIN = "train --classes 3 8 --per-class 10 --epochs 2 --checkpoint-every 1 --device cpu --model mlp --seed".split()
SWEEP = "sweep --n 10 --d 50 --m 2 --lr 0.05 --steps 5 --test-draws 0 --grid tau=0.1,0.2 --workers 1 --seeds".split()
AUDIT = ["audit", str(TABLE), *"--label label --folds 2 --seed".split()]
PAIRS = {
    "two simulations": ([*SIMULATE, "0"], [*SIMULATE, "1"], 60),
    "one simulation twice": ([*SIMULATE, "0"], [*SIMULATE, "0"], 60),
    "a simulation and one that overwrites": ([*SIMULATE, "0"], [*SIMULATE, "1", "--overwrite"], 30),
    "two trainings": ([*TRAIN, "0"], [*TRAIN, "1"], 40),
    "one training twice": ([*TRAIN, "0"], [*TRAIN, "0"], 30),
    "two sweeps": ([*SWEEP, "2"], [*SWEEP, "3"], 20),
    "one sweep twice": ([*SWEEP, "2"], [*SWEEP, "2"], 20),
    "two audits": ([*AUDIT, "0"], [*AUDIT, "1"], 20),
    "one audit twice": ([*AUDIT, "0"], [*AUDIT, "0"], 20),
}

pytestmark = [pytest.mark.exhaustive, pytest.mark.usefixtures("one_thread")]


def run(words, barrier, results):
    """In a process of its own: exit code and what was said."""
    said = io.StringIO()
    barrier.wait()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = main(words)
    results.put((tuple(words), code, said.getvalue()))


def pair(one, other):
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(2), context.Queue()
    processes = [context.Process(target=run, args=(words, barrier, results)) for words in (one, other)]
    for process in processes:
        process.start()
    outcomes = [results.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    return outcomes


def results_of(folder):
    """What a run is, but for the times in its history and summary."""
    names = ["config.json", "samples.npz", "suspects.csv"]
    results = {name: (folder / name).read_bytes() for name in names if (folder / name).exists()}
    if (folder / "sweep.nc").exists():
        results["sweep.nc"] = xarray.load_dataset(folder / "sweep.nc").to_dict()["data_vars"]
    summary = json.loads((folder / "summary.json").read_text())
    return repr((results, {name: value for name, value in summary.items() if name not in ("seconds", "sha256")}))


@pytest.mark.parametrize("name", PAIRS)
def test_pairs(name, tmp_path):
    one, other, repeats = PAIRS[name]
    whole = {}
    for at, words in enumerate((one, other)):
        plain = [word for word in words if word != "--overwrite"]
        assert main([*plain, "--out", str(tmp_path / f"whole{at}")]) == 0
        whole[at] = results_of(tmp_path / f"whole{at}")
    for at in range(repeats):
        folder = tmp_path / str(at)
        outcomes = pair([*one, "--out", str(folder)], [*other, "--out", str(folder)])
        assert results_of(folder) in whole.values(), (name, at, outcomes)
        assert {path.name for path in folder.glob(".*")} == set(), "litter"
        codes = sorted(code for _, code, _ in outcomes)
        assert codes in ([0, 0], [0, 2]), outcomes
        for _, code, said in outcomes:
            assert code == 0 or "is in use by " in said or "holds another one" in said, said
        if codes == [0, 0] and one != other and "--overwrite" not in other:
            raise AssertionError(f"two different runs both ended well in one folder: {outcomes}")
        json.loads((folder / "checksums.json").read_text())
