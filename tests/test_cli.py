"""The commands as a person types them: results, exit codes, one sentence for what is refused."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from labelnoise.cli import Output, main
from labelnoise.reproduce.experiment import Reproduce
from labelnoise.runs.flags import parse_flags
from labelnoise.runs.reading import read_run
from labelnoise.theory.experiment import SimulateRun
from labelnoise.training.experiment import TrainRun

TINY = "--n 20 --d 300 --m 2 --mu-norm 8 --lr 0.05 --steps 40 --test-draws 20 --seeds 0 1 --n-holdout 10".split()


def test_simulate_writes_a_run_and_reuses_it(tmp_path, capsys):
    out = str(tmp_path / "a")
    assert main(["simulate", *TINY, "--out", out]) == 0
    assert f"run: {out} (ok)" in capsys.readouterr().out
    run = read_run(out)
    assert run.command == "simulate" and run.settings["problem"]["mu_norm"] == 8.0 and run.settings["seeds"] == [0, 1]
    assert main(["simulate", *TINY, "--out", out]) == 0
    assert "already holds this run" in capsys.readouterr().out
    assert main(["simulate", *TINY, "--out", out, "--steps", "41"]) == 2
    assert "(steps is 40 there, 41 now); choose another folder or pass --overwrite" in capsys.readouterr().err
    assert main(["simulate", *TINY, "--out", out, "--steps", "41", "--overwrite"]) == 0


def test_the_default_folder_is_named_by_the_settings(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["simulate", *TINY]) == 0 and main(["simulate", *TINY, "--tau-plus", "0.1"]) == 0
    names = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert len(names) == 2 and all(name.startswith("simulate-") for name in names)


def test_train_and_report(tmp_path, capsys):
    out = str(tmp_path / "a b")  # a path with a space
    flags = "--classes 3 8 --noise class-conditional:0.1,0.4 --epochs 2 --batch-size 64 --seed 5".split()
    assert main(["train", *flags, "--out", out]) == 0
    run = read_run(out)
    assert run.summary["classes"] == [3, 8] and run.settings["training"]["seed"] == 5 and len(run.history) == 2
    assert main(["report", out]) == 0
    assert "report.html" in capsys.readouterr().out and (tmp_path / "a b/report.html").is_file()


def test_a_toml_file_holds_flags_and_flags_override_it(tmp_path):
    file = tmp_path / "a.toml"
    file.write_text("n = 20\nd = 300\nmu_norm = 8\nsteps = 30\nseeds = [4]\northogonal_noise = true\ntest_draws = 0\n")
    assert main(["simulate", "--config", str(file), "--steps", "20", "--out", str(tmp_path / "a")]) == 0
    settings = read_run(tmp_path / "a").settings
    assert (settings["simulation"]["steps"], settings["seeds"]) == (20, [4])
    assert settings["problem"]["orthogonal_noise"] is True and settings["problem"]["mu_norm"] == 8.0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["smulate"], "there is no command 'smulate'; did you mean 'simulate'?"),
        (["simulate", "--step", "3"], "`simulate` has no flag '--step'; did you mean 'steps'?"),
        (["train", "--epohcs", "3"], "did you mean 'epochs'?"),
        (["simulate", "--n", "many"], "`--n` must be a whole number, got 'many'; see labelnoise simulate --help"),
        (["simulate", "--n", "0"], "`n` must be an integer >= 1, got 0"),
        (["simulate", "--tau-plus", "0.6"], "`tau_plus` must lie in [0, 0.5), got 0.6"),
        (["simulate", "--init-std", "0"], "nothing would ever train"),
        (["simulate", "--lr", "nan"], "`lr` must be a finite number > 0, got nan"),
        (["simulate", "--config", "no.toml"], "`config` must be a TOML file, but no.toml cannot be read"),
        (["train", "--noise", "symetric:0.2"], "did you mean 'symmetric'?"),
        (["train", "--noise", "pair:1.2"], "`rate` must be a probability in [0, 1], got 1.2"),
        (["train", "--data", "digit"], "did you mean 'digits'?"),
        (["train", "--classes", "3", "77"], "77"),
        (["train", "--model", "small-cn"], "did you mean 'small-cnn'?"),
        (["report", "nowhere"], "nowhere is no run"),
        (["report", "x" * 5_000], "`path` must be a path of names up to 255 bytes, got one of 5000; shorten it"),
        (["simulate", "--out", "x" * 5_000], "`out` must be a path of names up to 255 bytes"),
        (["simulate", "--config", "x" * 5_000], "`config` must be a path of names up to 255 bytes"),
        (["simulate", "--seeds", str(2**63)], "`seed` must be below 2^63"),
        (["train", "--seed", str(2**70)], "`seed` must be below 2^63"),
        (["train", "--data", "x" * 5_000], "`data` must be a path of names up to 255 bytes"),
        (["report"], "`report` needs a run directory first: labelnoise report RUN"),
        (["report", "a", "b"], "`report` takes one run directory, got 'b', too"),
        (["explain", "--clean", "3"], "`explain` needs a run directory first: labelnoise explain RUN"),
        (["explain", "nowhere"], "nowhere is no run"),
    ],
)
def test_what_is_refused_gets_one_sentence_exit_code_2_and_no_folder(words, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.startswith("labelnoise: ") and sentence in said and said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("lrr = 1", "has a key 'lrr' that is no setting; did you mean 'lr'?"), ("n = = 2", "cannot be read")],
)
def test_a_bad_toml_file_is_refused(text, sentence, tmp_path, capsys):
    (tmp_path / "a.toml").write_text(text)
    assert main(["simulate", "--config", str(tmp_path / "a.toml")]) == 2
    assert sentence in capsys.readouterr().err


def test_a_run_that_diverges_exits_with_1_and_keeps_its_directory(tmp_path, capsys):
    assert main(["simulate", *TINY, "--lr", "1e308", "--mu-norm", "1e6", "--out", str(tmp_path / "a")]) == 1
    assert "diverged: an output is not finite at step" in capsys.readouterr().err
    assert read_run(tmp_path / "a").summary["status"].startswith("diverged")
    assert main(["simulate", *TINY, "--lr", "1e308", "--mu-norm", "1e6", "--out", str(tmp_path / "a")]) == 1


@pytest.mark.parametrize("config", [SimulateRun, TrainRun, Reproduce])
def test_a_command_without_flags_takes_every_default(config):
    assert parse_flags("labelnoise x", "", [], [config, Output]) == ("", (config(), Output()))


def test_help_and_version(capsys):
    assert main([]) == 0 and main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(command in said for command in ("simulate", "train", "reproduce", "report"))
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("labelnoise ")


def test_a_killed_run_leaves_whole_files_and_starts_again_to_the_same_result(tmp_path):
    flags = [*TINY, "--n", "100", "--steps", "1000", "--record-every", "1", "--test-draws", "200"]
    command = [sys.executable, "-m", "labelnoise.cli", "simulate", *flags, "--out"]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = subprocess.Popen([*command, str(killed)], env={**os.environ, "OPENBLAS_NUM_THREADS": "1"})
    while not (killed / "config.json").exists():  # results are about to be written: the worst moment
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (killed / "summary.json").exists()
    json.loads((killed / "config.json").read_text())
    if (killed / "history.csv").exists():
        assert len(pd.read_csv(killed / "history.csv")) == 2 * 1001
    for folder in (killed, whole):
        assert main(["simulate", *flags, "--out", str(folder)]) == 0
    for name in ("history.csv", "summary.json"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()


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
        ("torch", ["simulate", *TINY, "--out", "OUT"], 0),  # the model world does without
        ("torch", ["train", "--epochs", "1", "--out", "OUT"], 2),
        ("jinja2", ["report", "OUT"], 2),
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
    assert "did you mean 'method'" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_loss_that_is_not_finite_gives_exit_code_1_and_the_step(tmp_path, capsys):
    words = ["train", "--classes", "3", "8", "--epochs", "3", "--lr", "1e20", "--out", str(tmp_path / "run")]
    assert main(words) == 1
    assert "labelnoise: the loss is not finite at epoch 1, batch" in capsys.readouterr().err
    assert (tmp_path / "run/summary.json").is_file()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["simulate", "--n", "10000000"], "GiB of memory, but the machine has"),
        (["simulate", "--m", "9000000"], "lower n, m, n_holdout"),
        (["simulate", "--steps", "1000000000000"], "lower n, m, steps, test_draws or the number of runs"),
        (["simulate", "--test-draws", "1000000000000"], "this needs about"),
        (["train", "--outputs", "2000000000"], "lower outputs"),
    ],
)
def test_what_no_memory_could_hold_is_refused_before_it_starts(words, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1 and list(tmp_path.iterdir()) == []


def test_help_loads_neither_numpy_nor_a_room():
    code = (
        "import sys; from labelnoise.cli import main; main(['--help']); "
        "print([name for name in ('numpy', 'pandas', 'rich', 'labelnoise.theory.experiment') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "simulate   Train the paper's" in done.stdout and done.stdout.endswith("[]\n")


def test_a_reader_that_leaves_ends_the_command_without_a_traceback(tmp_path):
    words = [
        sys.executable,
        "-m",
        "labelnoise.cli",
        *"train --classes 3 8 --epochs 30 --out".split(),
        str(tmp_path / "a"),
    ]
    command = f"{shlex.join(words)} | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stdout.startswith("[1/30]") and done.stdout.endswith("\n141\n") and done.stderr == ""
