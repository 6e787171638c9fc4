"""One writer a folder: who comes second is told who is there; what is deleted, damaged or killed is noticed."""

import errno
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

from helpers import contents, killed
from labelnoise.errors import InputError
from labelnoise.runs import folders
from labelnoise.runs.files import write_bytes
from labelnoise.runs.folders import run_experiment
from labelnoise.runs.kinds import Kind, all_kinds
from labelnoise.runs.locks import LOCK, lock_run
from labelnoise.runs.pages import Page
from labelnoise.runs.reading import read_run


@dataclass(frozen=True)
class Toy:
    """A run that writes a few files, one of them only until it is finished."""

    command: ClassVar[str] = "toy"
    lr: float = 0.1

    def run(self, folder, progress=None):
        folder.begin()
        write_bytes(folder.path / "scratch/state.bin", b"state")
        folder.write_history(pd.DataFrame({"step": range(9), "loss": self.lr}))
        folder.write_samples(margin=np.full((2, 3), self.lr))
        write_bytes(folder.path / "more.txt", str(self.lr).encode())
        folder.finish({"status": "ok", "lr": self.lr})


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    kind = Kind(Toy, page=Page, files=("more.txt",), transient=("scratch/state.bin",))
    monkeypatch.setitem(all_kinds(), "toy", kind)


HOLD = """
import sys, time
from pathlib import Path
from labelnoise.runs.locks import lock_run
with lock_run(Path(sys.argv[1]), "simulate"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds a folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "a")], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_who_comes_second_is_told_who_is_there_and_leaves_nothing(holder, tmp_path):
    for overwrite in (False, True):
        with pytest.raises(
            InputError, match=rf"a is in use by process {holder.pid} \(simulate, since \d\d:\d\d:\d\d\); wait"
        ):
            run_experiment(Toy(), tmp_path / "a", overwrite=overwrite)
    assert [file.name for file in (tmp_path / "a").iterdir()] == [LOCK]
    holder.kill()
    holder.wait()
    assert run_experiment(Toy(), tmp_path / "a").status == "ok"  # a lock dies with its process
    assert not (tmp_path / "a" / LOCK).exists()


def test_another_thread_comes_second_too_and_the_same_one_may_enter_again(tmp_path):
    refusals = []

    def enter():
        try:
            with lock_run(tmp_path / "a", "report"):
                pass
        except InputError as refusal:
            refusals.append(str(refusal))

    with lock_run(tmp_path / "a", "train"):
        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        enter()
    assert len(refusals) == 1 and f"process {os.getpid()} (train" in refusals[0]


def test_what_is_being_written_into_a_run_inside_is_left_alone(tmp_path):
    half = tmp_path / "a/inner/.attribution.npz.1.tmp"
    with lock_run(half.parent, "explain"):
        half.write_bytes(b"half of it")
        with lock_run(tmp_path / "a", "train"):
            assert half.exists()
    (tmp_path / "a/figures").mkdir()
    (tmp_path / "a/figures/.a.png.1.tmp").write_bytes(b"half of it")
    with lock_run(tmp_path / "a", "train"):
        assert not half.exists() and not any((tmp_path / "a/figures").iterdir())


def test_a_refusal_leaves_no_folder_that_it_made(tmp_path):
    with pytest.raises(InputError, match="no"), lock_run(tmp_path / "x/y/z", "toy"):
        raise InputError("no")
    assert list(tmp_path.iterdir()) == []


def race(path, lr, barrier, results):
    all_kinds()["toy"] = Kind(Toy, page=Page, files=("more.txt",), transient=("scratch/state.bin",))
    barrier.wait()
    try:
        results.put((lr, run_experiment(Toy(lr), path).status))
    except InputError as refusal:
        results.put((lr, str(refusal)))


@pytest.mark.parametrize("repeat", range(3))
@pytest.mark.parametrize("settings", [(0.1, 0.2), (0.1, 0.1)])
def test_two_at_once_end_with_one_whole_run(repeat, settings, tmp_path):
    """Whoever comes second is refused, or finds the finished run."""
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(2), context.Queue()
    pair = [context.Process(target=race, args=(tmp_path / "a", lr, barrier, results)) for lr in settings]
    for process in pair:
        process.start()
    for process in pair:
        process.join()
    outcomes = [results.get() for _ in pair]
    done = [lr for lr, words in outcomes if words == "ok"]
    run = read_run(tmp_path / "a")
    assert run.settings == {"lr": run.summary["lr"]} and (run.history["loss"] == run.summary["lr"]).all()
    assert run.summary["lr"] in done and len(set(done)) == 1
    assert all("in use by" in words or "holds another one" in words for _, words in outcomes if words != "ok")


def test_a_folder_that_is_deleted_meanwhile_stops_the_run(tmp_path):
    @dataclass(frozen=True)
    class Robbed(Toy):
        def run(self, folder, progress=None):
            folder.begin()
            shutil.rmtree(folder.path)
            if self.lr > 1:  # and another run takes its place
                folder.path.mkdir()
                (folder.path / LOCK).write_text("another")
            folder.finish({"status": "ok"})

    for lr in (0.5, 1.5):
        with pytest.raises(InputError, match="was deleted while a run was written into it"):
            run_experiment(Robbed(lr), tmp_path / "a")
        assert {file.name for file in tmp_path.glob("a/*")} <= {LOCK}


# ------------------------------------------------------------------------------------------------------ killed anywhere


EVERY = [pytest.param(by, 1, marks=pytest.mark.slow, id=f"{by.name}, every") for by in (signal.SIGKILL, signal.SIGINT)]


@pytest.mark.parametrize(("by", "each"), [pytest.param(signal.SIGKILL, 7, id="SIGKILL, every seventh"), *EVERY])
def test_a_run_that_ends_at_any_change_of_the_disk_leaves_a_folder_that_goes_on(by, each, tmp_path, monkeypatch):
    """Every write, move and deletion of a run is a point; the same command then ends as if there had been none."""
    monkeypatch.setattr(folders, "git_commit", lambda: None)  # takes longer than the rest
    monkeypatch.setattr(folders, "versions", dict)
    before, folder = tmp_path / "before", tmp_path / "a"
    run_experiment(Toy(0.1), before)
    run_experiment(Toy(0.3), before / "inner")
    write_bytes(before / "figures/a.png", b"a")

    def run():
        return run_experiment(Toy(0.2), folder, overwrite=True)

    shutil.copytree(before, folder)
    changes = killed(run, folder)
    whole = contents(folder)
    assert len(changes) >= 52
    for at, change in list(enumerate(changes, start=1))[each // 2 :: each]:
        shutil.rmtree(folder)
        shutil.copytree(before, folder)
        killed(run, folder, at, by)
        if (folder / "summary.json").exists():  # what looks finished is whole
            assert read_run(folder).history.size and read_run(folder).samples
        assert run().status == "ok" and contents(folder) == whole, change


# --------------------------------------------------------------------------------------------------------------- damage


@pytest.mark.parametrize("name", ["config.json", "summary.json", "checksums.json", "history.csv", "samples.npz"])
def test_a_changed_file_is_noticed_when_it_is_read(name, tmp_path):
    run_experiment(Toy(), tmp_path / "a")
    path = tmp_path / "a" / name
    whole = path.read_bytes()
    rng = np.random.default_rng(3)
    damages = [whole[: len(whole) // 2], whole[:-3], whole + b"\n1,2,3\n", b""]
    for position in rng.choice(len(whole), 25, replace=False):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << int(rng.integers(8))
        damages.append(bytes(flipped))
    for content in damages:
        path.write_bytes(content)
        with pytest.raises(InputError) as refusal:
            run = read_run(tmp_path / "a")
            assert run.history.size and run.samples
        assert "\n" not in str(refusal.value) and Path(tmp_path / "a").name in str(refusal.value)
    path.write_bytes(whole)
    assert read_run(tmp_path / "a").history["loss"].tolist() == [0.1] * 9


def test_a_full_disk_is_named_with_its_folder_and_leaves_none(tmp_path, monkeypatch):
    def full(self, text):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    sentence = r"new.r could not be written \(No space left on device\); make room"
    with pytest.raises(InputError, match=sentence), lock_run(tmp_path / "new/r", "toy"):
        pass
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    monkeypatch.setattr(Path, "mkdir", lambda self, **words: os.stat("/proc/none"))  # no such folder, however often
    sentence = "r must be a folder that can be written, but it vanishes at once; choose another"
    with pytest.raises(InputError, match=sentence), lock_run(tmp_path / "r", "toy"):
        pass


def test_a_folder_that_cannot_be_written_is_named_by_its_path_whoever_asks(tmp_path, monkeypatch):
    """`labelnoise report RUN` has no setting `out`."""

    def locked(self, **words):
        raise PermissionError(errno.EACCES, "Permission denied", f"{tmp_path / LOCK}")

    monkeypatch.setattr("filelock.FileLock.acquire", locked)
    sentence = f"^{tmp_path} must be a folder that can be written, got none .Permission denied.; choose another$"
    with pytest.raises(InputError, match=sentence), lock_run(tmp_path, "report"):
        pass
