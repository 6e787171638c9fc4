"""`train --seeds`: several seeds side by side are what each is alone, in one folder with one page."""

import json
import shutil

import pandas as pd
import pytest

from helpers import contents
from labelnoise.cli import main
from labelnoise.report.page import write_report
from labelnoise.runs.folders import run_experiment
from labelnoise.runs.pages import panel_of
from labelnoise.runs.reading import read_run
from labelnoise.training import loop, seeds
from labelnoise.training.config import TrainConfig
from labelnoise.training.experiment import TrainRun
from labelnoise.training.log import TIMES
from tiny import TRAIN, command, refused, world

WORDS = "train --classes 3 8 --per-class 30 --noise symmetric:0.3 --epochs 3 --checkpoint-every 2 --device cpu"


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """Two seeds, one after the other in this process."""
    folder = tmp_path_factory.mktemp("seeds") / "run"
    with world():
        assert command(f"{WORDS} --seeds 3 1 --out {{}}", folder) == (0, "")
    return folder


@pytest.mark.slow
def test_seeds_in_processes_of_their_own_are_those_in_one(several, tmp_path):
    assert main([*WORDS.split(), "--seeds", "3", "1", "--out", str(tmp_path / "run")]) == 0
    for seed in (3, 1):
        assert_same_run(several / f"seed-{seed}", tmp_path / f"run/seed-{seed}")


def assert_same_run(folder, other):
    one, two = contents(folder), contents(other)
    assert one.keys() == two.keys() and len(two) > 5
    timed = ("history.csv", "checksums.json")  # they hold seconds, or are of what holds them
    assert all(one[name] == two[name] for name in two if name not in timed and not name.startswith("config"))
    histories = (read_run(each).history.drop(columns=list(TIMES)) for each in (folder, other))
    pd.testing.assert_frame_equal(*histories, check_exact=True)


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("seed", [3, 1])
def test_each_seed_is_to_the_bit_what_it_is_alone(several, tmp_path, seed):
    assert main([*WORDS.split(), "--seed", str(seed), "--out", str(tmp_path / "run")]) == 0
    assert_same_run(several / f"seed-{seed}", tmp_path / "run")


def test_the_folder_holds_what_the_seeds_have_in_common(several):
    run = read_run(several)
    assert run.config.seeds == (3, 1) and run.summary["runs"] == {"seed-3": "ok", "seed-1": "ok"}
    members = [read_run(several / name) for name in ("seed-3", "seed-1")]
    assert list(run.history["seed"].unique()) == [3, 1] and len(run.history) == 6
    pd.testing.assert_frame_equal(
        run.history[run.history["seed"] == 1].drop(columns="seed").reset_index(drop=True), members[1].history
    )
    assert run.summary["stops"] == [row for member in members for row in member.summary["stops"]]
    assert run.summary["noise"] == [member.summary["noise"] for member in members]


@pytest.mark.usefixtures("sketched")
def gone(run):
    shutil.rmtree(run / "seed-1")


def twice(run):
    shutil.rmtree(run / "seed-1")
    shutil.copytree(run / "seed-3", run / "seed-1")


def cut(run):
    history = run / "seed-1/history.csv"
    history.write_text(history.read_text()[:-9])


@pytest.mark.parametrize("harm", [gone, twice, cut])
def test_a_seed_that_is_not_what_it_was_is_refused(several, harm, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(several, run)
    harm(run)
    for words in (f"{WORDS} --seeds 3 1 --out {{}}", "report {}"):
        outcome = command(words, run)
        assert refused(outcome) and "seed-1" in outcome[1] and "--overwrite" in outcome[1]


def test_the_page_shows_bands_over_the_seeds(several):
    panel = panel_of("run", [read_run(several)])
    assert [run.path.name for run in panel.runs] == ["seed-3", "seed-1"]
    assert list(panel.history.groupby("epoch")["seed"].nunique()) == [2, 2, 2] and set(panel.stops["seed"]) == {1, 3}
    page = write_report(several).read_text()
    assert "bands their range" in page and "One run a column: seed-3." in page and "mean of 2 seeds" in page
    assert (several / "figures/curves.svg").exists() and (several / "figures/margins.svg").exists()
    assert "bands their range" not in write_report(several / "seed-1").read_text()


@pytest.mark.usefixtures("world")
def test_finished_seeds_are_kept_and_the_rest_is_done(tmp_path, monkeypatch):
    folder, words = tmp_path / "run", f"{TRAIN}s 0 1 2"
    assert command(words, folder) == (0, "")
    whole, trained = contents(folder), []
    (folder / "summary.json").unlink()
    shutil.rmtree(folder / "seed-1")
    (folder / "seed-2/summary.json").unlink()
    fit = loop.fit
    monkeypatch.setattr(
        loop, "fit", lambda model, data, config, **how: trained.append(config.seed) or fit(model, data, config, **how)
    )
    assert command(words, folder) == (0, "")
    assert trained == [1, 2] and contents(folder) == whole
    assert command(words, folder) == (0, "") and trained == [1, 2]


@pytest.mark.usefixtures("world")
def test_a_seed_that_diverges_is_named_and_the_others_are_whole(tmp_path, monkeypatch):
    each = seeds.of_each_seed

    def with_one_too_fast(config):
        runs = each(config)
        return {
            **runs,
            "seed-1": TrainRun(
                **{**vars(runs["seed-1"]), "training": TrainConfig(epochs=2, seed=1, lr=1e30, device="cpu")}
            ),
        }

    monkeypatch.setattr(seeds, "of_each_seed", with_one_too_fast)
    code, said = command(f"{TRAIN}s 0 1", tmp_path / "run")
    assert code == 1 and said.startswith("labelnoise: seed-1: the loss is not finite")
    assert json.loads((tmp_path / "run/summary.json").read_text())["runs"]["seed-0"] == "ok"


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("--seed 1 --seeds 0 2", "`seed` and `seeds` must not both be given, got 1 and (0, 2); leave one of them out"),
        ("--seeds 2 0 2", "`seeds` must be different integers, got (2, 0, 2); name each once"),
        ("--seeds 0 -1", "`seed` must be an integer >= 0, got -1"),
        ("--seeds 0 x", "`--seeds` must be a whole number, got 'x'"),
        ("--seeds 0 1 --per-class 9999", "`per_class` must be at most"),
        ("--seeds 0 1 --held-out 0 --stop", "`stop` needs held-out images"),
    ],
)
def test_bad_seeds_are_refused_in_one_sentence_and_leave_nothing(tmp_path, words, why):
    code, said = command(f"train --classes 3 8 --epochs 1 --device cpu --out {{}} {words}", tmp_path / "run")
    assert code == 2 and said.startswith(f"labelnoise: {why}") and said.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("world")
def test_other_seeds_are_another_run(several):
    code, said = command(f"{WORDS} --seeds 3 --out {{}}", several)
    assert code == 2 and "seeds is [3, 1] there, [3] now" in said


@pytest.mark.parametrize("words", ["explain {}", "audit {}"])
def test_what_looks_at_samples_asks_for_one_seed(several, words):
    code, said = command(words, several)
    assert (
        code == 2
        and said
        == f"labelnoise: {several} must be a run of one seed, got those of 2; give one, such as {several / 'seed-3'}\n"
    )


def test_seeds_take_no_time_from_threads(monkeypatch, tmp_path):
    """As many processes as cores have room for, each with its threads."""
    asked = []
    monkeypatch.setattr(seeds, "cores", lambda: 8)
    monkeypatch.setattr(seeds, "side_by_side", lambda work, arguments, workers, done: asked.append(workers) or 1 / 0)
    for threads, workers in ((1, 8), (3, 2), (20, 1)):
        with pytest.raises(ZeroDivisionError):
            config = TrainRun(
                classes=(3, 8), per_class=5, threads=threads, seeds=(0, 1), training=TrainConfig(device="cpu")
            )
            run_experiment(config, tmp_path / f"run-{threads}")
        assert asked.pop() == workers
