"""A sweep from its settings to its file: whoever runs it, and however often it is killed, the numbers are the same."""

import json
import multiprocessing
import os
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import xarray

import labelnoise as ln
from labelnoise.cli import main
from labelnoise.runs.folders import run_experiment
from labelnoise.runs.kinds import find_kind
from labelnoise.runs.places import read_settings
from labelnoise.runs.reading import read_run
from labelnoise.sweeps import execution, experiment
from labelnoise.sweeps.chunks import Store
from labelnoise.sweeps.variables import RECORD, STAGES
from labelnoise.theory.config import SimulateConfig

TABLE = {
    "n": 20, "d": 300, "m": 2, "lr": 0.05, "steps": 30, "test_draws": 20, "seeds": 3, "chunk": 4,
    "grid": {"n_snr2": [1, 4, 16], "tau": "0.1:0.2:0.1", "m": 2},
}  # fmt: skip
SIZES = "--n 20 --d 300 --m 2 --lr 0.05 --steps 30 --test-draws 20".split()
WORDS = [*SIZES, *"--seeds 3 --chunk 4 --grid n_snr2=1,4,16 tau=0.1:0.2:0.1 m=2".split()]


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """The folder and the dataset of a sweep that ran here without interruption."""
    folder = tmp_path_factory.mktemp("sweep") / "whole"
    return folder, ln.sweep(TABLE, folder, workers=1)


FEW = {**TABLE, "variables": ["stage_one", "loss", "test_error_fresh"]}
"""Written in a tenth of a second; all variables take one."""
FEW_WORDS = [*WORDS, "--variables", *FEW["variables"]]


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """The dataset of a sweep of few variables that ran here without interruption."""
    return ln.sweep(FEW, tmp_path_factory.mktemp("sweep") / "few", workers=1)


def test_few_variables_are_those_of_all(swept, few):
    assert {*FEW["variables"], "ok"} <= set(few.data_vars) and "t1" not in few and "t1" in swept[1]
    for name in FEW["variables"]:
        assert few[name].identical(swept[1][name]), name


def test_the_dataset_has_names_units_and_the_numbers_of_each_run(swept):
    folder, dataset = swept
    assert dict(dataset.sizes) == {"n_snr2": 3, "tau": 2, "seed": 3}
    assert dataset.n_snr2.values.tolist() == [1, 4, 16] and dataset.m.item() == 2 and dataset.m.dtype == np.int64
    cell = dataset.sel(n_snr2=4, tau=0.2, seed=1)
    problem = ln.SignalNoise(n=20, d=300, m=2, mu_norm=float(cell.mu_norm), label_noise=ln.ClassConditional(0.2, 0.2))
    assert problem.n_snr2 == pytest.approx(4)
    run = ln.simulate(problem.sample(seed=int(cell.run_seed)), lr=0.05, steps=30, record_every=30, test_draws=20)
    own_noise = [name for name in run.table if "perturbed" in name or "fresh" in name]  # cells share theirs
    for name, values in run.table.items():
        if name in own_noise:
            assert np.isfinite(cell[name]) or "se" in name
            continue
        np.testing.assert_allclose(cell[name], values[-1], rtol=1e-9, atol=1e-13, err_msg=name)
        np.testing.assert_allclose(cell[f"{name}_at_T1"], run.at_t1[name], rtol=1e-9, atol=1e-13, err_msg=name)
    assert cell.stage_one == (run.stages.t1 is not None) and dataset.stage_one.mean() > 0.3
    assert {*RECORD, *STAGES} <= set(dataset.data_vars)
    assert all(values.attrs["long_name"] and values.attrs["units"] for values in dataset.variables.values())
    assert (dataset.t1.units, dataset.loss.units, dataset.tau.symbol) == ("step", "1", r"\tau")
    assert dataset.mu_norm.dims == ("n_snr2",) and dataset.stage_one_scale.item() == pytest.approx(
        20 * 2 / (0.05 * 300)
    )


def test_the_file_is_what_was_returned_and_the_folder_holds_nothing_else(swept):
    folder, dataset = swept
    with xarray.open_dataset(folder / "sweep.nc") as held:
        assert held.load().identical(dataset)  # as it was returned before it was read, attributes included
    assert sorted(path.name for path in folder.iterdir()) == [
        "checksums.json", "config.json", "summary.json", "sweep.nc"
    ]  # fmt: skip
    problem = json.loads(dataset.settings)["problem"]
    assert (problem["n"], problem["d"], problem["m"]) == (20, 300, "set by m")
    assert (problem["mu_norm"], problem["label_noise"]) == ("set by n_snr2", "set by tau")
    assert all(name in dataset.source for name in ("compiled engine; ", "numba ", "numpy ", "scipy "))
    assert "torch" not in dataset.source and "pandas" not in dataset.source

    run = read_run(folder)
    assert (run.summary["cells"], run.summary["runs"], run.summary["diverged"]) == ([6], 18, 0)
    assert ln.sweep(run.config, folder).identical(dataset)  # read, not run
    (folder / "sweep.nc").write_bytes((folder / "sweep.nc").read_bytes()[:-1])
    with pytest.raises(ln.InputError, match="damaged or was changed"):
        ln.sweep(run.config, folder)


@pytest.mark.slow
def test_two_processes_give_the_same_to_the_bit(few, tmp_path):
    assert _same(ln.sweep(FEW, tmp_path / "two", workers=2), few)


@pytest.mark.slow
def test_two_processes_need_no_guarded_script(swept, tmp_path):
    script = f"import labelnoise as ln\nprint(ln.sweep({TABLE!r}, {str(tmp_path / 'two')!r}, workers=2).stage_one.size)"
    (tmp_path / "main.py").write_text(script)
    done = subprocess.run([sys.executable, str(tmp_path / "main.py")], capture_output=True, text=True)
    assert done.stdout == "18\n", done.stderr
    with xarray.open_dataset(tmp_path / "two/sweep.nc") as dataset:
        assert _same(dataset, swept[1])


def _same(dataset, other):
    """Equal to the bit, but for the commit and its `-dirty`, which may change under a test."""
    return dataset.load().drop_attrs(deep=False).identical(other.drop_attrs(deep=False))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # of a process with threads, from Python 3.12 on
def test_a_sweep_that_is_killed_goes_on_with_what_it_has(few, tmp_path, monkeypatch):
    """By SIGKILL, in the middle; the chunks that were done are not touched again."""
    folder = tmp_path / "killed"
    run = execution.run_chunk
    monkeypatch.setattr(execution, "run_chunk", lambda *given: (time.sleep(0.3), run(*given))[1])
    command = ["sweep", *FEW_WORDS, "--workers", "1", "--out", str(folder)]
    child = multiprocessing.get_context("fork").Process(target=main, args=(command,))
    child.start()
    while len(done := list(folder.glob("chunks/*.npz"))) < 2:
        time.sleep(0.02)
    child.kill()
    child.join()
    monkeypatch.undo()
    done = {path: path.stat().st_mtime_ns for path in folder.glob("chunks/*.npz")}
    assert 2 <= len(done) < 5 and not (folder / "summary.json").exists()
    told = []

    def progress(*words):
        told.append(words)
        assert all(path.stat().st_mtime_ns == at for path, at in done.items())

    assert ln.sweep(FEW, folder, workers=1, progress=progress).equals(few)
    kept = told[0][0]
    assert told[0] == (kept, 18, f"already there: {kept} runs") and 6 <= kept < 18
    assert told[-1][:2] == (18, 18) and "runs a second" in told[-1][2] and len(told) == 6 - len(done)
    assert not (folder / "chunks").exists()


def test_chunks_of_another_version_and_damaged_ones_are_made_anew(few, tmp_path):
    folder = tmp_path / "a"
    stopped = _stop_after(1, folder)
    (folder / "chunks/version.txt").write_text("0.0.9")
    assert Store(folder).finished == set() and not list(folder.glob("chunks/*.npz"))
    stopped = _stop_after(3, folder)
    stopped[1].write_bytes(b"no archive")
    with pytest.raises(ln.InputError, match="damaged .* it makes this chunk anew"):
        ln.sweep(FEW, folder, workers=1)
    assert len(list(folder.glob("chunks/*.npz"))) == 4  # all but the damaged one
    assert _same(ln.sweep(FEW, folder, workers=1), few)


def _stop_after(chunks, folder):
    """Interrupt a sweep after so many chunks; return their files."""

    def progress(done, total, words=""):
        if len(list(folder.glob("chunks/*.npz"))) >= chunks:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ln.sweep(FEW, folder, workers=1, progress=progress)
    return sorted(folder.glob("chunks/*.npz"))


@pytest.mark.slow
def test_a_worker_that_is_ended_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(execution, "run_chunk", _exit)
    with pytest.raises(ln.InputError, match="a worker process was ended from outside"):
        ln.sweep(TABLE, tmp_path / "a", workers=2)


def _exit(*given):
    os._exit(1)


def test_refinement_adds_cells_along_the_boundary(tmp_path):
    table = {**FEW, "grid": {"n_snr2": [1, 4, 16, 64], "tau": [0.1, 0.4]}, "refine": 2, "seeds": 4, "chunk": 1000}
    folder = tmp_path / "refined"
    dataset = ln.sweep(table, folder, workers=1)
    with xarray.open_dataset(folder / "sweep.nc", group="refined") as held:
        refined = held.load()
    assert dict(dataset.sizes) == {"n_snr2": 4, "tau": 2, "seed": 4} and set(refined.sizes) == {"point", "seed"}
    cells = set(zip(refined.n_snr2.values.tolist(), refined.tau.values.tolist(), strict=True))
    grid = {(x, y) for x in dataset.n_snr2.values.tolist() for y in dataset.tau.values.tolist()}
    assert len(cells) == refined.sizes["point"] > 5 and not cells & grid
    assert {x for x, _ in cells} <= {float(f"{2 ** (k / 2):.12g}") for k in range(13)}  # halves and quarters of a step
    assert {y for _, y in cells} <= {0.1, 0.175, 0.25, 0.325, 0.4}
    assert read_run(folder).summary["cells"] == [8, len(cells)]
    (section,) = find_kind("sweep").page().sections(read_run(folder))
    assert f"8 cells and {len(cells)} along the boundary of Stage I" in section.text
    first, *_ = section.page.pictures(section.panels)
    assert first.draw().axes[0].collections[-1].get_offsets().shape == (len(cells), 2)


@pytest.mark.usefixtures("sketched")
def test_points_are_a_dataset_along_point(tmp_path):
    words = "--n 20 --m 2 --lr 0.05 --steps 20 --test-draws 0 --seeds 2 --design sobol --points 9 --workers 1".split()
    assert (
        main(["sweep", *words, "--grid", "n_snr2=log:1:64", "tau=0.1:0.4", "d=300", "--out", str(tmp_path / "a")]) == 0
    )
    with xarray.open_dataset(tmp_path / "a/sweep.nc") as dataset:
        assert dict(dataset.sizes) == {"point": 9, "seed": 2} and dataset.tau.dims == dataset.n_snr2.dims == ("point",)
        assert "test_error_fresh" not in dataset and dataset.mu_norm.dims == ("point",)
    assert "Stage I and test error at the points" in (tmp_path / "a/report.html").read_text()


def test_a_run_that_diverges_is_a_value(tmp_path):
    table = {**FEW, "grid": {"lr": [0.05, 1e300]}, "seeds": 2}
    dataset = ln.sweep(table, tmp_path / "a", workers=1)
    run = read_run(tmp_path / "a")
    assert dataset.ok.values.tolist() == [[1, 1], [0, 0]] and run.summary["diverged"] == 2
    assert run.kind.findings(run)[0].endswith("; 2 diverged")
    assert np.isnan(dataset.loss[1]).all() and not np.isnan(dataset.loss[0]).any()


def test_the_command_makes_the_file_the_maps_and_reuses_both(swept, tmp_path, capsys):
    out, file = tmp_path / "a", tmp_path / "map.toml"
    file.write_text('grid = ["n_snr2=1,4,16", "tau=0.1:0.2:0.1", "m=2"]\nseeds = 3\nworkers = 1\nchunk = 4\n')
    words = ["--config", str(file), *SIZES[:-1], "0", "--out", str(out)]
    assert main(["sweep", *words]) == 0
    said = capsys.readouterr().out
    stages = read_run(out).summary["stage_one"]
    with xarray.open_dataset(out / "sweep.nc") as dataset:
        assert stages == [int(dataset.stage_one.sum()), int(dataset.stage_one.notnull().sum())] and 0 < stages[0] < 18
    assert f"18 runs in 6 cells; Stage I in {stages[0]} of {stages[1]} that can have one\nreport: {out}" in said
    config = read_run(out).config
    assert replace(config, simulation=replace(config.simulation, test_draws=20)) == read_run(swept[0]).config
    page = (out / "report.html").read_text()
    for part in (
        "Stage I over n_snr2 and tau",
        "6 cells, 18 runs",
        "Flip rate of both classes",
        "stage_one (n_snr2, tau, seed)",
    ):
        assert part in page
    assert {path.stem for path in (out / "figures").iterdir()} == {"stages", "errors"}
    assert main(["sweep", *words]) == 0
    assert "already holds this run" in capsys.readouterr().out
    assert main(["sweep", "--config", str(file), *SIZES, "--out", str(out)]) == 2
    assert "holds another one (test_draws is 0 there, 20 now)" in capsys.readouterr().err


def test_run_experiment_runs_a_sweep_too(swept, tmp_path):
    config = replace(read_run(swept[0]).config, seeds=1, chunk=100)
    assert run_experiment(config, tmp_path / "a").status == "ok"
    assert [path.name for path in (tmp_path / "a").iterdir() if path.is_dir()] == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--grid n_snr=3", "did you mean 'n_snr2'"),
        ("--grid", "at least one parameter"),
        (
            "--grid d=1:1000000:10 tau=0:0.4:0.1 --seeds 9",
            "has 4,500,000 runs (500,000 cells of 9 seeds), whose results",
        ),
        ("--grid d=100,200 --worker 2", "did you mean '--workers'"),
        ("--grid d=100,200 --workers 0", "`workers` must be an integer >= 1"),
        ("--grid d=100,200 --scheduler=", "`scheduler` must be the address of a running Dask scheduler"),
        (
            "--grid d=100,200 --scheduler tcp://127.0.0.1:9",
            "`scheduler` must be the address of a running Dask scheduler",
        ),
        ("--grid d=100,200 --scheduler spam", "`scheduler` must be the address of a running Dask scheduler"),
        (
            "--grid n=10,2000 --test-draws 9 --memory 3",
            "`memory` must hold at least one run, but one at n=2,000, m=20, ",
        ),
        ("--grid tau=0.1,0.7", "a cell that cannot be (tau=0.7)"),
    ],
)
def test_input_that_is_refused_is_one_sentence_and_leaves_nothing(words, message, tmp_path, capsys, monkeypatch):
    cluster = pytest.importorskip("labelnoise.sweeps.cluster")
    monkeypatch.setattr(cluster, "TIMEOUT", 0.5)
    assert main(["sweep", *words.split(), "--out", str(tmp_path / "a")]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and "Traceback" not in error
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"workers": 0}, "`workers` must be an integer >= 1, got 0"),
        ({"scheduler": ""}, "`scheduler` must be the address"),
    ],
)
def test_who_runs_it_is_refused_where_it_is_nobody(how, message, tmp_path):
    pytest.importorskip("labelnoise.sweeps.cluster")
    with pytest.raises(ln.InputError, match=message):
        ln.sweep(TABLE, tmp_path / "a", **how)
    assert not (tmp_path / "a").exists()


def test_dynamics_that_the_engine_cannot_hold_are_refused(tmp_path):
    table = {**TABLE, "simulation": {"dynamics": {"optimizer": {"kind": "Adam"}}}}
    with pytest.raises(ln.InputError, match="Adam .*; choose gradient-descent, momentum"):
        ln.sweep(table, tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_file_names_the_engines_that_trained_its_runs(tmp_path):
    noise = {"problem": {"label_noise": {"kind": "Symmetric", "rate": 0.1}}, "optimizer": "gradient-descent"}
    table = {**TABLE, **noise, "grid": {"one_patch": [0, 1], "momentum": [0, 0.5]}, "variables": ["loss"]}
    dataset = ln.sweep(table, tmp_path / "a", workers=1)
    assert "compiled and span engine; " in dataset.source
    settings = json.loads(dataset.settings)
    assert settings["simulation"]["dynamics"]["optimizer"] == "set by momentum"
    assert settings["problem"]["label_noise"]["rate"] == 0.1 and settings["problem"]["one_patch"] == "set by one_patch"


def test_optimisers_are_compared_by_sweeps_of_equal_draws(tmp_path):
    """What the refusal of a grid of optimisers says; and momentum 0 is gradient descent, to the bit."""
    table = {**TABLE, "grid": {"d": [100, 200]}, "variables": ["loss"]}
    plain = ln.sweep(table, tmp_path / "plain", workers=1)
    heavy = ln.sweep({**table, "optimizer": "momentum:0.5"}, tmp_path / "heavy", workers=1)
    assert (plain.run_seed == heavy.run_seed).all() and (plain.loss != heavy.loss).all()
    swept = ln.sweep({**table, "grid": {"momentum": [0, 0.5], "d": 200}}, tmp_path / "swept", workers=1)
    for momentum, optimizer in ((0, "gradient-descent"), (0.5, "momentum:0.5")):
        cell = swept.sel(momentum=momentum, seed=1)
        problem = ln.SignalNoise(n=TABLE["n"], d=200, m=TABLE["m"], mu_norm=float(cell.mu_norm))
        how = read_settings({"optimizer": optimizer}, (SimulateConfig,))[0].dynamics
        draw = problem.sample(seed=int(cell.run_seed))
        run = ln.simulate(draw, lr=float(cell.lr), steps=int(cell.steps), test_draws=0, dynamics=how)
        assert run.table["loss"][-1] == float(cell.loss)


def test_a_table_needs_a_grid_and_yes_lifts_the_limits(tmp_path, monkeypatch):
    for rubbish, message in (
        ({}, "at least one parameter"),
        (3, "a SweepRun, a TOML file or a table"),
        ({"a": 1, "grid": "d=9"}, "key 'a'"),
    ):
        with pytest.raises(ln.InputError, match=message):
            ln.sweep(rubbish, tmp_path / "a")
    monkeypatch.setattr(execution, "MOST_RUNS", 5)
    small = {**FEW, "grid": {"d": [100, 200]}}
    with pytest.raises(ln.InputError, match="6 runs .2 cells of 3 seeds"):
        ln.sweep(small, tmp_path / "a", workers=1)
    assert ln.sweep(small, tmp_path / "a", workers=1, yes=True).sizes["d"] == 2
    monkeypatch.setattr(execution, "MOST_RUNS", 10**9)
    monkeypatch.setattr(execution, "free_memory", lambda: 1_000)
    with pytest.raises(ln.InputError, match="more than half of the .* GiB free"):
        ln.sweep(small, tmp_path / "b", workers=1)


def test_who_runs_a_sweep_stands_in_its_table_and_an_argument_goes_before_it(tmp_path, monkeypatch):
    asked = []

    def workers_of(how):
        asked.append((how.workers, how.scheduler, how.yes))
        raise KeyboardInterrupt

    monkeypatch.setattr(experiment, "workers_of", workers_of)
    table = {**FEW, "grid": {"d": [100, 200]}, "workers": 3, "yes": True}
    for given in ({}, {"workers": 2}, {"scheduler": "tcp://host:8786"}):
        with pytest.raises(KeyboardInterrupt):
            ln.sweep(table, tmp_path / "a", **given)
    assert asked == [(3, None, True), (2, None, True), (3, "tcp://host:8786", True)]


@pytest.mark.usefixtures("sketched")
def test_one_run_in_one_cell_is_said_so(tmp_path, capsys):
    words = ["--grid", "d=300", "--seeds", "1", "--workers", "1", *SIZES[:-1], "0", "--out", str(tmp_path / "a")]
    assert main(["sweep", *words]) == 0
    assert "\n1 run in 1 cell;" in f"\n{capsys.readouterr().out}"
    assert "1 cell, 1 run, in" in (tmp_path / "a/report.html").read_text()
