"""Every command at a size that a test can bear: at one moment of one commit, in one process, with figures not drawn."""

import contextlib
import io
import re
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from labelnoise.cli import main
from labelnoise.reproduce import experiment as reproduce
from labelnoise.reproduce.plan import SectionPlan, Setting
from labelnoise.runs import folders, workers
from labelnoise.sweeps import chunks
from labelnoise.theory.config import SimulateConfig
from labelnoise.theory.experiment import SimulateRun
from labelnoise.theory.problem import SignalNoise
from labelnoise.training import loop
from labelnoise.training.config import ExplainConfig, TrainConfig
from labelnoise.training.experiment import TrainRun
from labelnoise.training.state import TrainingState

SIMULATE = "simulate --n 10 --d 50 --m 2 --mu-norm 8 --lr 0.05 --steps 5 --test-draws 9 --n-holdout 5 --out {} --seeds"
TRAIN = (
    "train --classes 3 8 --per-class 12 --noise symmetric:0.3 --model mlp --epochs 3 --checkpoint-every 1 --out {} "
    "--device cpu --seed"
)
EXPLAIN = (
    "explain {} --method expected-gradients --clean 2 --noisy 2 --background 4 --reference 2 --nsamples 3 --device cpu"
)
SWEEP = (
    "sweep --n 10 --d 50 --m 2 --lr 0.05 --steps 5 --test-draws 0 --grid n_snr2=1,4 tau=0.1,0.2 --chunk 2 --workers 1 "
    "--out {} --seeds"
)
AUDIT = "audit {table} --label label --folds 2 --out {} --seed"
REPORT, REPRODUCE = "report {}", "reproduce --out {}"
TABLE = Path(__file__).parent / "data/table.csv"
"""60 rows, six labels of which are wrong."""


def command(words, folder):
    """The exit code of a command with `folder` in it, and what it says to stderr, but for its progress."""
    said = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        code = main([word.format(folder, table=TABLE) for word in words.split()])
    lines = said.getvalue().splitlines(keepends=True)
    return code, "".join(line for line in lines if not re.match(r"\[\d+/\d+\] ", line))


def refused(outcome):
    """Whether a command refused its input in one sentence."""
    code, said = outcome
    return code == 2 and said.startswith("labelnoise: ") and said.count("\n") == 1 and "Traceback" not in said


@contextlib.contextmanager
def world():
    """Where these commands are run: equal runs leave equal bytes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folders, "git_commit", lambda: "0" * 40)
        for module in (loop, chunks):
            patch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: 0.0))
        patch.setattr(TrainingState, "seconds", 0.0)
        patch.setattr(Figure, "savefig", sketch)
        patch.setattr(workers, "worker_pool", _InThisProcess)
        patch.setattr(reproduce, "plan_sections", _plan)
        yield
    torch.set_num_threads(threads)


def sketch(figure, file, **options):
    """The numbers that a figure shows, in place of the picture, which takes a second."""
    for axes in figure.axes:
        shown = [line.get_xydata() for line in axes.lines] + [image.get_array() for image in axes.images]
        shown += [path.vertices for drawn in axes.collections for path in drawn.get_paths()]
        shown += [drawn.get_offsets() for drawn in axes.collections]
        file.write(b"".join(np.asarray(part, dtype=float).tobytes() for part in shown))
        file.write(repr([text.get_text() for text in axes.texts]).encode())


class _InThisProcess:
    """In place of a pool of processes."""

    def __init__(self, workers):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def submit(self, work, *arguments):
        future = Future()
        future.set_result(work(*arguments))
        return future


def _plan(quick):
    problem = SignalNoise(n=10, d=50, m=2, mu_norm=8.0)
    model = SimulateRun(problem, SimulateConfig(lr=0.05, steps=5, test_draws=9), (0, 1), n_holdout=5)
    training = TrainConfig(epochs=1 if quick else 2, checkpoint_every=1, device="cpu")
    digits = TrainRun(classes=(3, 8), per_class=12, model="mlp", training=training)
    how = ExplainConfig(
        clean=2, noisy=2, background=4, reference=2, method="expected-gradients", nsamples=3, device="cpu"
    )
    return (
        SectionPlan("model", "The model", "Look.", (Setting("model", {"model": model}),)),
        SectionPlan("digits", "Digits", "Look.", (Setting("digits", {"digits": digits}),), {"digits": how}),
    )
