"""Run directories: written whole or not at all, reused, refused, read back."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

from helpers import assert_close
from labelnoise.errors import InputError
from labelnoise.runs import folders
from labelnoise.runs.files import read_arrays, read_json, write_bytes
from labelnoise.runs.folders import default_path, open_run
from labelnoise.runs.kinds import Kind, all_kinds
from labelnoise.runs.pages import Page
from labelnoise.runs.reading import read_run
from labelnoise.runs.settings import settings_of


@dataclass(frozen=True)
class Nested:
    rate: float = 0.2


@dataclass(frozen=True)
class Toy:
    """A kind of run that only this file knows."""

    command: ClassVar[str] = "toy"
    lr: float = 0.1
    sizes: tuple[int, ...] = (3, 4)
    nested: Nested = field(default_factory=Nested)


@dataclass(frozen=True)
class Other(Toy):
    command: ClassVar[str] = "other"


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    for config in (Toy, Other):
        monkeypatch.setitem(all_kinds(), config.command, Kind(config, page=Page))


def opened(*arguments, **options):
    """The folder as it is when it is opened; nobody else comes."""
    with open_run(*arguments, **options) as folder:
        return folder


def finish(path, config=Toy(), **summary):  # noqa: B008
    with open_run(path, config) as folder:
        folder.begin()
        folder.write_history(pd.DataFrame({"step": [0, 2], "loss": [0.5, 0.25]}))
        folder.write_samples(margin=np.array([[1.0, -2.0]], dtype=np.float32))
        folder.finish(summary)
    return folder


def test_what_is_written_is_read_back(tmp_path):
    folder = finish(tmp_path / "a", status="ok", best=np.float64(0.5), never=float("nan"), at=np.array([2, 1]))
    write_bytes(folder.path / "figures/loss.svg", b"<svg/>")
    run = read_run(tmp_path / "a")
    assert (run.path, run.command) == (tmp_path / "a", "toy")
    assert run.settings == {"lr": 0.1, "sizes": [3, 4], "nested": {"kind": "Nested", "rate": 0.2}}
    assert run.config == Toy()
    assert run.versions["numpy"] == np.__version__
    pd.testing.assert_frame_equal(run.history, pd.DataFrame({"step": [0, 2], "loss": [0.5, 0.25]}))
    assert_close(run.samples["margin"], np.array([[1.0, -2.0]], dtype=np.float32))
    assert set(read_json(tmp_path / "a/checksums.json")) == {
        "config.json", "history.csv", "samples.npz", "summary.json"
    }  # fmt: skip
    assert run.summary == {"status": "ok", "best": 0.5, "never": None, "at": [2, 1]}
    assert (tmp_path / "a/figures/loss.svg").read_bytes() == b"<svg/>"


def test_equal_results_give_equal_bytes(tmp_path):
    finish(tmp_path / "a", x=1, y=2), finish(tmp_path / "b", y=2, x=1)
    for name in ("config.json", "history.csv", "summary.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_finished_run_is_reused_and_an_unfinished_one_starts_again(tmp_path):
    assert not opened(tmp_path / "a", Toy()).finished
    assert not opened(tmp_path / "a", Toy()).finished
    finish(tmp_path / "a", status="ok")
    assert opened(tmp_path / "a", Toy()).finished


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (Toy(lr=0.2), r"\(lr is 0.1 there, 0.2 now\)"),
        (Toy(nested=Nested(0.3)), "rate is 0.2 there, 0.3 now"),
        (Other(), "of the command 'toy'"),
    ],
)
def test_another_run_in_the_folder_is_refused_and_left_alone(tmp_path, config, message):
    finish(tmp_path / "a", status="ok")
    before = {file.name: file.read_bytes() for file in (tmp_path / "a").iterdir()}
    with pytest.raises(InputError, match=message):
        opened(tmp_path / "a", config)
    assert {file.name: file.read_bytes() for file in (tmp_path / "a").iterdir()} == before


def test_a_run_that_is_finished_anew_and_killed_there_is_unfinished_and_not_damaged(tmp_path, monkeypatch):
    finish(tmp_path / "a", status="ok")

    def killed(path, content):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt), open_run(tmp_path / "a", Toy()) as folder:
        patch.setattr(folders, "write_bytes", killed)  # which writes the summary
        folder.finish({"status": "another"})
    assert not opened(tmp_path / "a", Toy()).finished
    finish(tmp_path / "a", status="another")
    assert read_run(tmp_path / "a").summary == {"status": "another"}


def test_overwrite_removes_a_run_but_never_other_files(tmp_path):
    finish(tmp_path / "a", status="ok")
    folder = opened(tmp_path / "a", Toy(lr=0.2), overwrite=True)
    assert not folder.finished and (tmp_path / "a/summary.json").exists()  # nothing is lost before the run begins
    folder.begin()
    assert [file.name for file in (tmp_path / "a").iterdir()] == ["config.json"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(InputError, match="holds other files"):
            opened(tmp_path / "mine", Toy(), overwrite=overwrite)
    assert (tmp_path / "mine/thesis.txt").read_text() == "years of work"


def test_whether_to_overwrite_is_no_word_that_counts_as_true(tmp_path):
    finish(tmp_path / "a")
    with pytest.raises(InputError, match="`overwrite` must be True or False, got 'no'"):
        opened(tmp_path / "a", Toy(), "no")


def test_a_write_replaces_the_file_in_one_move(tmp_path):
    folder = finish(tmp_path / "a", status="ok")
    whole = (tmp_path / "a/summary.json").read_text()
    with open(tmp_path / "a/summary.json") as reader:  # who has it open keeps reading the old file, never half of each
        folder.finish({"status": "another"})
        assert reader.read() == whole
    assert read_run(tmp_path / "a").summary["status"] == "another"


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(InputError, match="must be a folder"):
        opened(tmp_path / "a", Toy())


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "disk full")

    folder = finish(tmp_path / "a", status="ok")
    before = (tmp_path / "a/history.csv").read_bytes()
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match=r"history.csv could not be written \(disk full\), .* unharmed; make room"):
        folder.write_history(pd.DataFrame({"step": [7]}))
    assert (tmp_path / "a/history.csv").read_bytes() == before and not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", None, "is no run"),
        ("summary.json", None, "has not finished"),
        ("summary.json", b"{", "summary.json is damaged"),
        ("history.csv", b"", "is damaged"),
        ("history.csv", None, "is damaged"),
        ("samples.npz", b"PK\x03\x04 cut", "is damaged"),
        ("samples.npz", b"", "is damaged"),
        ("samples.npz", None, "is damaged"),
    ],
)
def test_damaged_runs_are_refused_in_one_sentence(tmp_path, name, content, message):
    finish(tmp_path / "a", status="ok")
    (tmp_path / "a" / name).unlink()
    if content is not None:
        (tmp_path / "a" / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as refusal:
        run = read_run(tmp_path / "a")
        assert run.history.size and run.samples
    assert "\n" not in str(refusal.value)


def test_a_folder_of_runs_is_refused_by_the_names_of_those_that_are_finished(tmp_path):
    with pytest.raises(InputError, match="give the folder of a finished run"):
        read_run(tmp_path)
    for name in ("b", "a", "c"):
        finish(tmp_path / name, status="ok")
    (tmp_path / "c/summary.json").unlink()
    with pytest.raises(InputError, match=f"is no run .*; give one of those inside: {tmp_path}/a, {tmp_path}/b$"):
        read_run(tmp_path)


def test_a_run_without_its_checksums_is_refused(tmp_path):
    finish(tmp_path / "a", status="ok")
    (tmp_path / "a/checksums.json").unlink()
    with pytest.raises(InputError, match="lacks checksums.json, .* make the run again with --overwrite"):
        read_run(tmp_path / "a")


@pytest.mark.parametrize("name", ["config.json", "summary.json", "checksums.json"])
def test_a_pipe_in_place_of_a_file_is_refused_and_not_waited_for(name, tmp_path):
    finish(tmp_path / "a", status="ok")
    (tmp_path / "a" / name).unlink()
    os.mkfifo(tmp_path / "a" / name)
    for read in (read_run, lambda path: opened(path, Toy())):
        with pytest.raises(InputError, match=name):
            read(tmp_path / "a")


def test_samples_hold_no_pickle(tmp_path):
    finish(tmp_path / "a", status="ok")
    np.savez(tmp_path / "a/samples.npz", margin=np.array([{}], dtype=object))
    run = read_run(tmp_path / "a")
    with pytest.raises(InputError, match="is damaged"):
        _ = run.samples


@dataclass(frozen=True)
class Inner:
    rate: float = 0.2


@dataclass(frozen=True)
class Outer:
    path: Path = Path("x/y")
    inner: Inner = field(default_factory=Inner)
    classes: tuple[int, ...] = (3, 1)


def test_settings_are_plain_and_survive_json():
    settings = settings_of(Outer())
    assert settings == {"path": "x/y", "inner": {"kind": "Inner", "rate": 0.2}, "classes": [3, 1]}
    assert json.loads(json.dumps(settings)) == settings


def test_the_default_path_depends_on_the_settings_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = default_path(Toy())
    assert path == default_path(Toy(lr=0.1)) != default_path(Toy(lr=0.3))
    assert path.parent == Path("runs") and path.name.startswith("toy-")


def test_the_default_path_is_the_folder_that_holds_the_run_whatever_its_hash(tmp_path, monkeypatch):
    """A new setting changes every hash, and the runs of before must not be orphans."""
    monkeypatch.chdir(tmp_path)
    for name, lr in (("toy-0123456789", 0.3), ("toy-abcdef0123", 0.1)):
        finish(Path("runs") / name, Toy(lr=lr), status="ok")
    (tmp_path / "runs/toy-0000000000").mkdir()
    opened(Path("runs/toy-aaaaaaaaaa"), Toy()).begin()  # the same settings, but not finished
    assert default_path(Toy()) == Path("runs/toy-abcdef0123")
    assert default_path(Toy(lr=0.5)).name not in (
        "toy-0123456789",
        "toy-abcdef0123",
        "toy-0000000000",
        "toy-aaaaaaaaaa",
    )


def test_overwrite_deletes_what_a_run_wrote_and_nothing_else(tmp_path):
    finish(tmp_path / "a", status="ok")
    write_bytes(tmp_path / "a/figures/x.svg", b"<svg/>")
    finish(tmp_path / "a/inner", status="ok")
    (tmp_path / "a/notes.txt").write_text("mine")
    (tmp_path / "a/other").mkdir()
    (tmp_path / "a/model").mkdir()
    (tmp_path / "a/model/config.json").write_text('{"model_type": "bert"}')
    opened(tmp_path / "a", Toy(lr=0.2), overwrite=True).begin()
    left = sorted(str(path.relative_to(tmp_path / "a")) for path in (tmp_path / "a").rglob("*"))
    assert left == ["config.json", "model", "model/config.json", "notes.txt", "other"]


@pytest.mark.parametrize("content", ['{"model_type": "bert"}', "[1]", '{"command": "toy"}'])
def test_a_folder_with_a_config_of_something_else_is_never_deleted(content, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/config.json").write_text(content)
    (tmp_path / "a/weights.bin").write_text("precious")
    with pytest.raises(InputError, match=r"holds other files|is damaged"):
        opened(tmp_path / "a", Toy(), overwrite=True)
    assert (tmp_path / "a/weights.bin").read_text() == "precious"


def test_a_first_write_that_was_killed_does_not_lock_the_folder(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/.config.json.tmp").write_text("{")
    assert not finish(tmp_path / "a", status="ok").finished
    assert read_run(tmp_path / "a").summary["status"] == "ok"


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="`out` must be a folder that can be written"):
        opened(tmp_path / "file/a", Toy()).begin()


def test_the_commit_is_that_of_this_project_or_none(tmp_path, monkeypatch):
    """A copy of the package inside another checkout must not report that one's commit."""
    import shutil
    import subprocess

    import labelnoise.runs.provenance as module

    copy = tmp_path / "venv/runs.py"
    copy.parent.mkdir()
    shutil.copy(module.__file__, copy)
    for words in (
        ["init", "-q"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "x"],
    ):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    monkeypatch.setattr(module, "__file__", str(copy))
    assert module.git_commit() is None
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    assert module.git_commit().endswith("-dirty")


@pytest.mark.parametrize("content", [b"no archive", b""])
def test_an_array_file_that_numpy_would_unpickle_is_damaged_in_plain_words(tmp_path, content):
    path = tmp_path / "samples.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match="samples.npz is damaged") as refused:
        read_arrays(path)
    assert "pickle" not in str(refused.value)
    np.savez(path, labels=np.array([None]))
    with pytest.raises(InputError, match=r"samples.npz is damaged \(it holds other things than numbers\)"):
        read_arrays(path)
