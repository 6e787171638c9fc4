"""Several processes that train one network are what one process is, and all of them know the same."""

import multiprocessing
import os
import socket
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

import one_of_several
from helpers import assert_close
from labelnoise.runs.launch import Launch, find_launch
from labelnoise.runs.reading import read_run
from labelnoise.training.log import TIMES
from labelnoise.training.processes import share_of
from tiny import command

pytestmark = pytest.mark.usefixtures("one_thread")


def run_two(commands, environments=({}, {})):
    """Outcomes of two processes side by side: exit code, stdout, stderr."""
    both = [
        subprocess.Popen(words, env={**os.environ, **more}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for words, more in zip(commands, environments, strict=True)
    ]
    try:
        said = [process.communicate(timeout=120) for process in both]
    finally:
        for process in both:
            process.kill()
    return [(process.returncode, *texts) for process, texts in zip(both, said, strict=True)]


@pytest.fixture(scope="module")
def alone():
    """What one process comes to; with it, this one has loaded what the two then need not load again."""
    torch.set_num_threads(1)
    return one_of_several.results(*one_of_several.trained("double", config={"augment": True, "batch_size": 35}))


@pytest.fixture(scope="module")
def two(alone, tmp_path_factory):
    """What two processes of a process group came to, and their folder."""
    folder = tmp_path_factory.mktemp("two")
    context = multiprocessing.get_context("fork")  # each has torch and its data then, which take seconds to load
    pair = [context.Process(target=one_of_several.train_all, args=(rank, folder)) for rank in (0, 1)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of processes with threads, from Python 3.12 on
        for process in pair:
            process.start()
    for process in pair:
        process.join(timeout=120)
        process.kill()
    assert [process.exitcode for process in pair] == [0, 0]
    return lambda name: [dict(np.load(folder / f"{name}-{rank}.npz")) for rank in (0, 1)], folder


def alike(first, second):
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def test_one_epoch_is_that_of_one_process(two, alone):
    """In float64, with batches that do not halve evenly and a last one too small to be split."""
    first, second = two[0]("double")
    alike(first, second)
    for name in alone:
        if name.startswith("weights"):
            assert alone[name].dtype == np.float64
            np.testing.assert_allclose(first[name], alone[name], rtol=0, atol=1e-10)
    for name in ("margin", "margin_train", "loss"):
        np.testing.assert_allclose(first[name], alone[name], rtol=1e-6, atol=1e-6)
    assert np.isfinite(first["margin"]).all() and np.isnan(first["margin_train"]).mean() == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("name", ["normed", "masked", "gone on", "stopped", "diverged"])
def test_both_processes_come_to_the_same(two, name):
    first, second = two[0](name)
    alike(*({key: values for key, values in one.items() if key not in ("masks", "sizes")} for one in (first, second)))


def test_running_statistics_are_the_mean_over_the_processes(two):
    """After two epochs from a network of one process they are near its own, with half of each batch in each."""
    first, _ = two[0]("normed")
    alone = one_of_several.results(*one_of_several.trained("normed", config={"epochs": 2}))
    mean = "weights.2.running_mean"
    assert_close(first[mean], alone[mean], rtol=0.1, atol=0.1)
    assert not np.array_equal(first[mean], alone[mean])


def test_batches_are_halved_and_dropout_differs_between_the_processes(two):
    first, second = two[0]("masked")
    both = np.stack([first["sizes"], second["sizes"]], 1)[:4].tolist()
    assert both == [[14, 15], [14, 15], [14, 15], [10, 11]]
    assert not (first["masks"] == second["masks"]).all(1).any()


def test_an_interrupted_training_goes_on_to_the_same_numbers(two):
    for whole, gone_on in zip(two[0]("masked"), two[0]("gone on"), strict=True):
        alike({name: values for name, values in whole.items() if name not in ("masks", "sizes")}, gone_on)


def test_a_stopped_training_returns_one_average_to_all(two):
    first, _ = two[0]("stopped")
    weights = one_of_several.torch.load(two[1] / "stopped/checkpoints/averaged.pt", weights_only=True)
    for name, values in weights.items():
        np.testing.assert_array_equal(first[f"weights.{name}"], values.numpy())
    assert np.isfinite(first["returned"])


def test_divergence_is_found_by_all(two):
    first, _ = two[0]("diverged")
    assert str(first["status"]).startswith("the loss is not finite")


def test_what_is_refused_is_refused_by_all(two):
    for one in two[0]("refused"):
        assert str(one["said"]) == "`batch_size` must be at least 4 for 2 processes, got 3; start fewer"
    for one in two[0]("another run"):
        assert "must hold checkpoints of this run, but" in str(one["said"])


def test_checkpoints_of_several_processes_are_not_taken_by_one(two):
    with pytest.raises(one_of_several.InputError, match="of a training on 2 processes, not 1"):
        one_of_several.trained("masked", config={"epochs": 3}, folder=two[1] / "run")


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("n", [1, 5, 6, 7, 29])
def test_shares_cover_a_batch_once_and_weigh_as_its_images(n, size):
    shares = [share_of(slice(10, 10 + n), Launch(rank, size)) for rank in range(size)]
    rows = [row for share in shares if share.given for row in range(share.rows.start, share.rows.stop)]
    assert rows == list(range(10, 10 + n))
    values = np.random.default_rng(0).normal(size=40)
    means = [share.weight * values[share.rows].mean() for share in shares]
    assert np.mean(means) == pytest.approx(values[10 : 10 + n].mean(), rel=1e-12)
    assert all(share.rows.stop - share.rows.start >= min(n, 2) for share in shares)


WORDS = "train --classes 3 8 --per-class 30 --noise symmetric:0.3 --model mlp --epochs 2 --device cpu --out {}"


def launched(words, folder):
    """What torchrun does, without its half a minute: two processes of a command, and where they meet."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    meeting = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    line = [sys.executable, "-m", "labelnoise.cli", *(word.format(folder) for word in words.split())]
    return run_two([line, line], [{**meeting, "RANK": str(rank)} for rank in (0, 1)])


@pytest.mark.slow
def test_a_command_of_two_processes_writes_one_folder(tmp_path):
    first, second = launched(WORDS, tmp_path / "two")
    code, said, progress = first
    assert (code, second) == (0, (0, "", "")), (first, second)
    assert "stop: " in said.splitlines()[0] and said.count("stop: ") == said.count("see it with: ") == 1, said
    assert progress.count("\n") == 2, progress  # a line an epoch
    assert command(WORDS, tmp_path / "one") == (0, "")
    two, one = read_run(tmp_path / "two"), read_run(tmp_path / "one")
    assert two.summary["processes"] == 2 and "processes" not in one.summary and two.settings == one.settings
    columns = [name for name in one.history if name not in TIMES]
    assert_close(two.history[columns].to_numpy(), one.history[columns].to_numpy(), rtol=1e-4)
    assert not (tmp_path / "two/checkpoints/state.pt").exists()


@pytest.mark.slow
def test_a_command_of_two_processes_is_refused_once_and_reused(tmp_path):
    assert command(WORDS, tmp_path / "run") == (0, "")
    for words, code, said in (
        (WORDS, 0, ""),
        (f"{WORDS} --lr 0.3", 2, "holds another one"),
        (f"{WORDS} --lr x", 2, "`--lr` must be a number"),
        (f"{WORDS} --seeds 0 1", 2, "`seeds` starts processes of its own"),
        (f"{WORDS} --overwrite --batch-size 3", 2, "`batch_size` must be at least 4"),
    ):
        first, second = launched(words, tmp_path / "run")
        assert (first[0], second) == (code, (code, "", "")) and said in first[2] and first[2].count("\n") == bool(said)


def test_only_torchrun_makes_one_of_several(monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert find_launch() == Launch()
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    assert find_launch() == Launch(1, 2)
