"""Records that do not fit in memory lie on the disk: the same numbers, no file left, a sentence where it is full."""

import errno
import gc
import os
import resource
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from labelnoise.errors import InputError
from labelnoise.theory.draws import stack
from labelnoise.theory.problem import SignalNoise
from labelnoise.theory.simulation import simulate
from labelnoise.theory.trajectory import Trajectory
from labelnoise.theory.verdicts import checks

PROBLEM = SignalNoise(n=24, d=160, m=3, mu_norm=5.0, init_std=0.02)
RECORD = ("output", "margin", "margin_predicted", "loss", "gamma", "rho", "held_out_margin")
OPTIONS = {"lr": 0.05, "steps": 30, "record_every": 7, "record": RECORD, "test_draws": 10}


def is_on_disk(array):
    """Whether the array is a view of mapped memory, whose file has no name any more."""
    while getattr(array, "base", None) is not None and not isinstance(array, np.memmap):
        array = array.base
    return isinstance(array, np.memmap)


def draws():
    return stack([PROBLEM.sample(seed=seed, n_holdout=4) for seed in range(3)])


@pytest.mark.parametrize(
    "lr", [[0.05] * 3, [0.05, 1e200, 0.05], [1e200] * 3], ids=["whole", "one diverges", "all diverge"]
)
def test_records_on_the_disk_are_those_in_memory(lr, tmp_path):
    memory, disk = (simulate(draws(), **{**OPTIONS, "lr": lr}, record_in=place) for place in (None, tmp_path))
    assert memory.status == disk.status and not list(tmp_path.iterdir())
    assert np.isnan(disk.values["output"][:, -1]).all(-1).tolist() == [rate > 1 for rate in lr]
    for name in RECORD:
        assert is_on_disk(disk.values[name]) and not is_on_disk(memory.values[name])
        assert type(disk[1].values[name]) is np.ndarray
        assert np.array_equal(memory.values[name], disk.values[name], equal_nan=True), name
    assert checks(memory) == checks(disk) or lr != OPTIONS["lr"]
    disk[1].save(tmp_path / "run.npz")
    again = Trajectory.read(tmp_path / "run.npz")
    assert all(np.array_equal(again.values[name], memory[1].values[name], equal_nan=True) for name in RECORD)


def test_nothing_is_mapped_for_an_array_without_numbers(tmp_path):
    run = simulate(PROBLEM.sample(seed=0), **OPTIONS, record_in=tmp_path)
    assert run.values["held_out_margin"].shape == (6, 0)


def test_records_go_to_the_disk_where_memory_is_short_and_their_room_comes_back(monkeypatch, tmp_path):
    large = {**OPTIONS, "steps": 600, "record_every": 1, "record": ("rho",), "test_draws": 0}
    monkeypatch.setattr("labelnoise.arrays.free_memory", lambda: 600_000)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    run = simulate(PROBLEM.sample(seed=0), **large)
    assert is_on_disk(run.values["rho"]) and run.values["rho"].nbytes > 600_000
    assert str(tmp_path) in Path("/proc/self/maps").read_text()
    del run
    gc.collect()
    assert str(tmp_path) not in Path("/proc/self/maps").read_text()


Usage = namedtuple("Usage", "total used free")


def test_a_disk_without_room_is_refused_before_the_first_step(monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(10**6, 10**6 - 2_000, 2_000))
    words = (
        r"^this needs about [\d.]+ kB, [\d.]+ kB of it for records, but the machine has .* of memory free and "
        rf"{tmp_path} 2 kB; name another folder in `record_in`, raise record_every, or name fewer arrays in `record`$"
    )
    with pytest.raises(InputError, match=words):
        simulate(PROBLEM.sample(seed=0), **OPTIONS, record_in=tmp_path)


@pytest.mark.parametrize("named", [True, False], ids=["a folder is named", "no folder is named"])
def test_what_goes_to_the_disk_is_not_counted_against_memory(named, monkeypatch, tmp_path):
    monkeypatch.setattr("labelnoise.arrays.free_memory", lambda: 600_000)
    long = {**OPTIONS, "steps": 5_000, "record_every": 1, "test_draws": 0, "record_in": tmp_path if named else None}
    refused = []
    for record in ((), ("rho",)):
        with pytest.raises(
            InputError, match="1.2 MB of it are 5,002 records a run: raise record_every, now 1$"
        ) as error:
            simulate(PROBLEM.sample(seed=0), **{**long, "record": record})
        refused.append(str(error.value))
    assert refused[0] == refused[1]


def test_a_disk_that_fills_up_gives_one_sentence(tmp_path):
    """A real limit on the size of files stands for the full disk: the system refuses the room."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, before[1]))
    try:
        with pytest.raises(
            InputError, match=rf"^records of [\d.]+ kB could not be kept in {tmp_path} \(File too large\); make"
        ):
            simulate(PROBLEM.sample(seed=0), **OPTIONS, record_in=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


def test_the_room_is_taken_before_the_first_number_is_written(tmp_path, monkeypatch):
    """A mapped page for which the disk has no room would end the process."""

    def full(descriptor, start, size):
        assert (start, size) == (0, 6 * 24 * 8)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(
        InputError, match=r"^records of 1.15 kB could not be kept in .* \(No space left on device\); make room"
    ):
        simulate(PROBLEM.sample(seed=0), **{**OPTIONS, "record": ("output",)}, record_in=tmp_path)


def test_without_fallocate_the_file_is_made_as_large(tmp_path, monkeypatch):
    """As on macOS."""
    sizes, truncate = [], os.truncate
    monkeypatch.delattr(os, "posix_fallocate")
    monkeypatch.setattr(os, "truncate", lambda file, size: (sizes.append(size), truncate(file, size)))
    memory, disk = (
        simulate(PROBLEM.sample(seed=0), **{**OPTIONS, "record": ("output",)}, record_in=place)
        for place in (None, tmp_path)
    )
    assert sizes == [6 * 24 * 8] and is_on_disk(disk.values["output"])
    assert np.array_equal(memory.values["output"], disk.values["output"])


@pytest.mark.parametrize("value", ["nowhere/at/all", __file__, 3, ""])
def test_a_place_that_is_no_folder_is_refused(value):
    with pytest.raises(InputError, match="^`record_in` must be a (folder|path)"):
        simulate(PROBLEM.sample(seed=0), **OPTIONS, record_in=value)


KILLED = """
import os, signal, sys
import labelnoise as ln
def progress(step, steps):
    if step > 10:
        os.kill(os.getpid(), signal.SIGKILL)
draw = ln.SignalNoise(n=24, d=160, m=3, mu_norm=5.0).sample(seed=0)
ln.simulate(draw, steps=30, record_every=7, record=("rho",), record_in=sys.argv[1], engine="span", progress=progress)
"""


def test_a_killed_run_leaves_no_file(tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path], capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    assert not list(tmp_path.iterdir())
