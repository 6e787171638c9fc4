"""The commands as a person types them: results, exit codes, what an interruption leaves."""

import io
import re
import shlex
import subprocess
import sys

import pytest

from labelnoise import cli
from labelnoise.cli import Output, _lines, main
from labelnoise.reproduce.experiment import Reproduce
from labelnoise.runs.flags import parse_flags
from labelnoise.runs.reading import read_run
from labelnoise.theory.experiment import SimulateRun
from labelnoise.training.experiment import TrainRun

TINY = {"n": 20, "d": 300, "m": 2, "mu-norm": 8, "lr": 0.05, "steps": 40, "test-draws": 20, "n-holdout": 10}


def tiny(**changes):
    """The flags of a simulation of two runs."""
    settings = TINY | {name.replace("_", "-"): value for name, value in changes.items()}
    return ["simulate", "--seeds", "0", "1", *(f"--{name}={value}" for name, value in settings.items())]


def test_simulate_writes_a_run_and_reuses_it(tmp_path, capsys):
    out = str(tmp_path / "a")
    assert main([*tiny(), "--out", out]) == 0
    assert f"run: {out} (ok)" in capsys.readouterr().out
    run = read_run(out)
    assert run.command == "simulate" and run.settings["problem"]["mu_norm"] == 8.0 and run.settings["seeds"] == [0, 1]
    assert main([*tiny(), "--out", out]) == 0
    assert "already holds this run" in capsys.readouterr().out
    assert main([*tiny(steps=41), "--out", out]) == 2
    assert "(steps is 40 there, 41 now); choose another folder or pass --overwrite" in capsys.readouterr().err
    assert main([*tiny(steps=41), "--out", out, "--overwrite"]) == 0


def test_the_default_folder_is_named_by_the_settings(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(tiny()) == 0 and main([*tiny(), "--tau-plus", "0.1"]) == 0
    names = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert len(names) == 2 and all(name.startswith("simulate-") for name in names)


@pytest.mark.usefixtures("sketched")
def test_train_and_report(tmp_path, capsys):
    out = str(tmp_path / "a b")  # a path with a space
    flags = "--classes 3 8 --noise class-conditional:0.1,0.4 --epochs 2 --batch-size 64 --seed 5".split()
    assert main(["train", *flags, "--out", out]) == 0
    said = capsys.readouterr()
    kept, found, suspects, memorised, where = said.out.splitlines()
    assert where == f"run: {out} (ok); see it with: labelnoise report {out}"
    assert re.fullmatch(r"\[1/2\] accuracy .*\n\[2/2\] accuracy .*\n", said.err)
    run = read_run(out)
    assert run.summary["classes"] == [3, 8] and run.settings["training"]["seed"] == 5 and len(run.history) == 2
    stop = next(row for row in run.summary["stops"] if row["rule"] == "held_out")
    best = run.history.loc[run.history["test_accuracy"].idxmax()]
    assert kept.startswith(f"where to stop: epoch {stop['at']} of 2 (held-out stop, ")
    assert found == (
        f"test accuracy: {stop['test_accuracy']:.1%} at the stop, {run.history['test_accuracy'].iloc[-1]:.1%} at the "
        f"end, {best['test_accuracy']:.1%} in the best epoch ({best['epoch']:.0f}, which only test labels know)"
    )
    assert suspects.startswith(
        f"suspects at the stop (a negative margin): {stop['selection_recall']:.1%} of the wrong labels are among them, "
    )
    assert memorised.startswith("wrong labels memorised at the end: ")
    assert main(["report", out]) == 0
    assert "report.html" in capsys.readouterr().out and (tmp_path / "a b/report.html").is_file()


def test_a_toml_file_holds_flags_and_flags_override_it(tmp_path):
    file = tmp_path / "a.toml"
    file.write_text("n = 20\nd = 300\nmu_norm = 8\nsteps = 30\nseeds = [4]\northogonal_noise = true\ntest_draws = 0\n")
    assert main(["simulate", "--config", str(file), "--steps", "20", "--out", str(tmp_path / "a")]) == 0
    settings = read_run(tmp_path / "a").settings
    assert (settings["simulation"]["steps"], settings["seeds"]) == (20, [4])
    assert settings["problem"]["orthogonal_noise"] is True and settings["problem"]["mu_norm"] == 8.0


def test_a_run_that_diverges_exits_with_1_and_keeps_its_directory(tmp_path, capsys):
    assert main([*tiny(lr=1e308, mu_norm=1e6), "--out", str(tmp_path / "a")]) == 1
    assert "diverged: an output is not finite at step" in capsys.readouterr().err
    assert read_run(tmp_path / "a").summary["status"].startswith("diverged")
    assert main([*tiny(lr=1e308, mu_norm=1e6), "--out", str(tmp_path / "a")]) == 1


@pytest.mark.parametrize("config", [SimulateRun, TrainRun, Reproduce])
def test_a_command_without_flags_takes_every_default(config):
    assert parse_flags("labelnoise x", "", [], [config, Output]) == ("", (config(), Output()))


def test_help_and_version(capsys):
    assert main([]) == 0 and main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(command in said for command in ("simulate", "train", "reproduce", "report"))
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("labelnoise ")


def test_toml_switches_work_both_ways_and_tables_may_be_nested(tmp_path):
    file = tmp_path / "a.toml"
    file.write_text(
        "exact = true\nsteps = 2\ntest_draws = 0\nseeds = [1]\n[problem]\nn = 20\nd = 300\northogonal_noise = false\n"
    )
    assert main(["simulate", "--config", str(file), "--no-exact", "--out", str(tmp_path / "a")]) == 0
    problem = read_run(tmp_path / "a").settings["problem"]
    assert problem["label_noise"]["exact"] is False and (problem["n"], problem["orthogonal_noise"]) == (20, False)
    assert main(["simulate", "--config", str(file), "--out", str(tmp_path / "b")]) == 0
    assert read_run(tmp_path / "b").settings["problem"]["label_noise"]["exact"] is True


@pytest.mark.parametrize(
    ("blocked", "words", "code"),
    [
        ("torch", [*tiny(), "--out", "OUT"], 0),  # the model world does without
        pytest.param("torch", ["train", "--epochs", "1", "--out", "OUT"], 2, marks=pytest.mark.slow),
        pytest.param("jinja2", ["report", "OUT"], 2, marks=pytest.mark.slow),
    ],
)
def test_a_missing_extra_is_named(blocked, words, code, tmp_path):
    script = f"""
import sys
class Absent:
    def find_spec(self, name, *_):
        if name.split(".")[0] == {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
from labelnoise.cli import main
sys.exit(main(sys.argv[1:]))
"""
    words = [word.replace("OUT", str(tmp_path / "a")) for word in words]
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    if code:
        assert done.stderr.startswith(f"labelnoise: this command needs {blocked}; pip install 'labelnoise[")


def test_download_fetches_only_what_is_not_at_hand(monkeypatch, tmp_path, capsys):
    from labelnoise.images import archives

    monkeypatch.setitem(archives.URLS, "mnist", "http://127.0.0.1:9/")  # nobody listens there
    words = ["train", "--data", "mnist", "--root", str(tmp_path / "data"), "--out", str(tmp_path / "run")]
    assert main(words) == 2
    assert "put train-images-idx3-ubyte.gz" in capsys.readouterr().err
    assert main([*words, "--download"]) == 2
    assert "http://127.0.0.1:9/train-images-idx3-ubyte.gz could not be fetched" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    small = ["--data", "digits", "--classes", "3", "8", "--epochs", "1", "--download"]
    assert main(["train", *small, "--out", str(tmp_path / "digits")]) == 0


@pytest.mark.usefixtures("sketched")
def test_explain_prints_the_check_of_each_epoch_and_makes_the_page(tmp_path, capsys):
    run = tmp_path / "run"
    assert main(["train", "--classes", "3", "8", "--epochs", "2", "--device", "cpu", "--out", str(run)]) == 0
    few = ["--clean", "3", "--noisy", "2", "--background", "5", "--reference", "2"]
    assert main(["explain", str(run), *few, "--method", "expected-gradients", "--nsamples", "5"]) == 0
    told = capsys.readouterr().out
    assert "epoch 2: sum of attributions and difference of logits differ by at most" in told
    assert "3 clean and 2 noisy samples by expected-gradients, against 5 clean images." in told
    assert (run / "figures/attribution.png").is_file() and (run / "report.html").is_file()
    assert main(["explain", str(run), "--methud", "deep"]) == 2
    assert "did you mean '--method'" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_loss_that_is_not_finite_gives_exit_code_1_and_the_step(tmp_path, capsys):
    words = ["train", "--classes", "3", "8", "--epochs", "3", "--lr", "1e20", "--out", str(tmp_path / "run")]
    assert main(words) == 1
    said = capsys.readouterr()
    assert "labelnoise: the loss is not finite at epoch 1, batch" in said.err and said.out.startswith("run: ")
    assert (tmp_path / "run/summary.json").is_file()


def test_help_loads_neither_numpy_nor_a_room():
    code = (
        "import sys; from labelnoise.cli import main; main(['--help']); "
        "print([name for name in ('numpy', 'pandas', 'rich', 'labelnoise.theory.experiment') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "simulate   Train the paper's" in done.stdout and done.stdout.endswith("[]\n")


@pytest.mark.parametrize("command", ["", "report"])
def test_a_reader_that_left_ends_the_command_without_a_traceback(command):
    python = f"env -u PYTHONUNBUFFERED {shlex.quote(sys.executable)}"
    words = f"(sleep 0.3; {python} -m labelnoise.cli {command} --help) | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("141\n", "")


@pytest.mark.slow
def test_a_reader_that_leaves_in_the_middle_ends_the_command_without_a_traceback(tmp_path):
    words = [
        sys.executable,
        "-m",
        "labelnoise.cli",
        *"train --classes 3 8 --per-class 20 --model mlp --epochs 30 --out".split(),
        str(tmp_path / "a"),
    ]
    command = f"{shlex.join(words)} 2>&1 | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stdout.startswith("[1/30]") and done.stdout.endswith("\n141\n") and done.stderr == ""


def test_work_without_a_name_says_in_a_file_how_far_it_is(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr("labelnoise.cli.time.monotonic", lambda: now[0])
    progress = _lines("audit")
    for second, epoch in ((5, 1), (40, 4), (60, 6), (71, 7), (80, 8)):
        now[0] = second
        progress(epoch, 30)
    progress(1, 1, "training 1 of 1")
    assert capsys.readouterr().err.splitlines() == ["audit: 13%", "audit: 23%", "[1/1] training 1 of 1"]


@pytest.mark.parametrize(("words", "closed", "code"), [("--version", ">&-", 0), ("nothing", ">&- 2>&-", 2)])
def test_an_output_that_is_closed_ends_no_command(words, closed, code):
    line = f"{shlex.quote(sys.executable)} -m labelnoise.cli {words} {closed}; echo $? >&3"
    done = subprocess.run(["bash", "-c", f"{{ {line}; }} 3>&1"], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (f"{code}\n", "")


def test_letters_that_the_terminal_lacks_are_written_by_their_numbers(monkeypatch):
    terminal = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setitem(cli.ON_A_RUN, "report", lambda words: print(f"report: {words[0]}") or 0)
    assert main(["report", "\u5b9f/\udcff"]) == 0
    assert terminal.buffer.getvalue() == b"report: \\u5b9f/\\udcff\n"
