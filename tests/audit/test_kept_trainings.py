"""An audit of several trainings that is interrupted goes on with those that it lacks, and ends with the same bytes."""

from types import SimpleNamespace

import numpy as np
import pytest

import labelnoise as ln
from helpers import contents, killed
from labelnoise.audit import trainers
from labelnoise.audit.experiment import AuditRun
from labelnoise.runs import folders
from labelnoise.training import loop
from test_auditor import flipped, table

CONFIG = AuditRun(data="people.csv", label="label", folds=2, self_test=True, top=3)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trainers, "STAGES", 3)
    monkeypatch.setattr(folders, "git_commit", lambda: "0" * 40)
    frame, true = table(100)
    frame.assign(label=flipped(true)).to_csv("people.csv", index=False)
    return tmp_path


@pytest.fixture
def trained(monkeypatch):
    """The seeds of the trainings that were made."""
    seeds, boosting = [], trainers._boosting

    def counting(material, labels):
        train = boosting(material, labels)
        return lambda mask, seed, *_: [seeds.append(seed), train(mask, seed)][1]

    monkeypatch.setattr(trainers, "_boosting", counting)
    return seeds


class Stopped(Exception):
    pass


def stop_after(count):
    done = []

    def progress(*at):
        done.append(at)
        if len(done) == count:
            raise Stopped

    return progress


def test_only_what_is_lacking_is_trained(here, trained):
    ln.run_experiment(CONFIG, "whole")
    whole, seeds = contents("whole"), trained.copy()
    assert len(seeds) == 4 and seeds[:2] == seeds[2:] and not any("trainings" in name for name in whole)
    for count in (1, 3):
        out = f"cut-{count}"
        with pytest.raises(Stopped):
            ln.run_experiment(CONFIG, out, progress=stop_after(count))
        assert len(list((here / out / "trainings").glob("*.npz"))) == count
        trained.clear()
        ln.run_experiment(CONFIG, out)
        assert trained == seeds[count:] and contents(out) == whole


def test_a_record_of_other_labels_or_another_version_is_not_taken(here, trained, monkeypatch):
    with pytest.raises(Stopped):
        ln.run_experiment(CONFIG, "out", progress=stop_after(3))
    first, second = (here / f"out/trainings/training-{k}.npz" for k in (1, 2))
    third = first.with_name("self-test-1.npz")
    content = first.read_bytes(), second.read_bytes(), third.read_bytes()
    for file, wrong in ((first, content[2]), (second, content[0])):  # other labels; another mask
        file.write_bytes(wrong)
    trained.clear()
    with pytest.raises(Stopped):
        ln.run_experiment(CONFIG, "out", progress=stop_after(3))
    assert len(trained) == 2 and (first.read_bytes(), second.read_bytes()) == content[:2]
    monkeypatch.setattr(folders, "git_commit", lambda: "1" * 40)
    trained.clear()
    said = []
    ln.run_experiment(CONFIG, "out", progress=lambda done, total, name: said.append(name))
    assert len(trained) == 4
    assert [words.endswith("of another version") for words in said] == [True, True, True, False]


def test_progress_says_which_trainings_were_kept_and_a_damaged_one_is_made_again(here, trained):
    ln.run_experiment(CONFIG, "whole")
    with pytest.raises(Stopped):
        ln.run_experiment(CONFIG, "out", progress=stop_after(3))
    for name, spoil in (("training-2", lambda content: content[:100]), ("self-test-1", lambda content: b"no archive")):
        file = here / f"out/trainings/{name}.npz"
        file.write_bytes(spoil(file.read_bytes()))
    trained.clear()
    said = []
    ln.run_experiment(CONFIG, "out", progress=lambda done, total, name: said.append(name))
    again = "trained again, since the file that an interrupted run kept is damaged"
    kept = "training 1 of 2: kept from an interrupted run"
    assert said == [kept, f"training 2 of 2: {again}", f"self-test 1 of 2: {again}", "self-test 2 of 2"]
    assert len(trained) == 3 and contents("out") == contents("whole")


def test_a_record_that_is_to_be_overwritten_is_not_looked_at(here, trained):
    with pytest.raises(Stopped):
        ln.run_experiment(CONFIG, "out", progress=stop_after(2))
    trained.clear()
    with pytest.raises(Stopped):
        ln.run_experiment(CONFIG, "out", overwrite=True, progress=stop_after(1))
    assert len(trained) == 1 and [path.name for path in (here / "out/trainings").iterdir()] == ["training-1.npz"]


def test_what_is_refused_before_a_training_ends_leaves_no_trace(here, monkeypatch):
    def fails(*given):
        raise ln.InputError("no")

    monkeypatch.setattr(trainers, "_boosting", lambda material, labels: fails)
    with pytest.raises(ln.InputError, match="no"):
        ln.run_experiment(CONFIG, "out")
    assert not (here / "out").exists()


@pytest.fixture
def images(here, monkeypatch):
    """An audit of twenty images by two trainings of four epochs, a state after each."""
    monkeypatch.setattr(trainers, "EPOCHS", 4)
    monkeypatch.setattr(trainers, "CHECKPOINT", 1)
    y = np.arange(20) % 2
    x = np.random.default_rng(0).normal(0.2 + 0.5 * y[:, None, None], 0.1, (20, 6, 6)).clip(0, 1)
    np.savez("images.npz", x=x, y=np.where(np.arange(20) < 3, 1 - y, y))
    return AuditRun(data="images.npz", folds=2, top=3)


def test_a_training_of_a_network_goes_on_from_its_last_state_and_tells_of_its_epochs(here, images):
    epochs = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: epochs.append(1) or 0.0))  # three times each
        said = []
        ln.run_experiment(images, "whole", progress=lambda *at: said.append(at))
        first, second = ([(k, 8) for k in part] for part in (range(1, 5), range(5, 9)))
        assert said == [*first, (1, 2, "training 1 of 2"), *second, (2, 2, "training 2 of 2")]
        assert len(epochs) == 3 * 8
        for count, left in ((2, 6), (4, 4), (7, 2)):
            with pytest.raises(Stopped):
                ln.run_experiment(images, f"cut-{count}", progress=stop_after(count))
            epochs.clear()
            ln.run_experiment(images, f"cut-{count}")
            assert len(epochs) == 3 * left and contents(f"cut-{count}") == contents("whole")


def test_a_state_of_another_version_is_not_gone_on_from(here, images, monkeypatch):
    with pytest.raises(Stopped):
        ln.run_experiment(images, "out", progress=stop_after(2))
    monkeypatch.setattr(folders, "git_commit", lambda: "1" * 40)
    said = []
    ln.run_experiment(images, "out", progress=lambda *at: said.append(at))
    assert said[0] == (1, 8) and [path.name for path in (here / "out").iterdir() if path.is_dir()] == []


@pytest.mark.slow
def test_a_kill_at_any_change_of_a_state_is_made_good(here, images):
    ln.run_experiment(images, "whole")
    moves = killed(lambda: ln.run_experiment(images, "count"), here)
    kept = [at for at, move in enumerate(moves, 1) if "checkpoints" in move]
    assert len(kept) > 40
    for at in kept[::9]:
        killed(lambda at=at: ln.run_experiment(images, f"killed-{at}"), here, at)
        ln.run_experiment(images, f"killed-{at}")
        assert contents(f"killed-{at}") == contents("whole"), moves[at - 1]


@pytest.mark.slow
def test_a_kill_at_any_change_of_the_records_costs_no_more_than_a_training(here):
    config = AuditRun(data="people.csv", label="label", folds=2, top=3)
    ln.run_experiment(config, "whole")
    moves = killed(lambda: ln.run_experiment(config, "count"), here)
    kept = [at for at, move in enumerate(moves, 1) if "trainings" in move]
    assert len(kept) >= 8 and any(moves[at - 1].startswith("remove") for at in kept)
    for at in (kept[0], kept[3], kept[len(kept) // 2], kept[-3], kept[-1]):
        killed(lambda at=at: ln.run_experiment(config, f"killed-{at}"), here, at)
        assert "summary.json" not in contents(f"killed-{at}") or at >= kept[-3]
        ln.run_experiment(config, f"killed-{at}")
        assert contents(f"killed-{at}") == contents("whole"), moves[at - 1]


def test_a_record_that_was_kept_says_what_it_said(here):
    """The page's numbers rest on what is read back: all four arrays, to the bit."""
    from labelnoise.audit.kept_trainings import KeptTrainings
    from labelnoise.audit.labels import GivenLabels

    rng = np.random.default_rng(0)
    labels, mask = GivenLabels(np.arange(3), np.arange(30) % 3), np.arange(30) % 5 == 0

    def train(folder):
        recorder = ln.Recorder(30, 4, held_out=mask)  # a network may have more outputs than there are classes
        for _ in range(3):
            recorder.update(np.arange(30), rng.normal(size=(30, 4)), labels.positions)
            recorder.end_epoch()
        return recorder

    with folders.open_run("out", CONFIG) as folder:
        made, _ = KeptTrainings(folder).record("one", train, labels, mask, "words")
        read, _ = KeptTrainings(folder).record("one", None, labels, mask, "words")
        assert read.n_classes == 4 and (read.held_out == mask).all() and (read.given == made.given).all()
        for name in ("margin", "loss", "prediction"):
            assert np.array_equal(getattr(read, name), getattr(made, name))
        other = GivenLabels(np.arange(3), (np.arange(30) + 1) % 3)
        for changed in ((labels, mask, "other words"), (other, mask, "words"), (labels, ~mask, "words")):
            with pytest.raises(TypeError):  # it would be trained
                KeptTrainings(folder).record("one", None, *changed)
