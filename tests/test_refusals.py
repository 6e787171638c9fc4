"""Bad command lines: each is refused by one sentence, with exit code 2 and no trace, and told what would help."""

import errno
import os
import re
import resource
import shlex
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from labelnoise import cli
from labelnoise.cli import main

LONG = "x" * 300
"""A name longer than file systems take."""
DEEP = "a/" * 2_500 + "a"
"""A path longer than file systems take, of short names."""

LINES = """
smulate
Simulate
--simulate
-x
''
simulate-all
train,
reports
--versoin
simulate simulate
simulate x
simulate 3 4 | 3

simulate --nn 3
simulate --step 3
simulate --seed 0
simulate --tau 0.1
simulate --mu_norm 3
simulate --no-lr
simulate --overwrit
simulate --orthogonal
simulate --download
simulate --device cpu
simulate --verbose
simulate -n 3
simulate --n
simulate --n --d 3 | n
simulate --lr
simulate --seeds --n
simulate --out
simulate --config
simulate --n 3 --n 4
simulate --n 3 --n=3
simulate --seeds 0 --seeds 1
simulate --exact --no-exact
simulate --overwrite --overwrite
simulate --out a --out b
simulate --config a.toml --config b.toml
simulate --n 3 4
simulate --lr 0.1 0.2
simulate --exact yes
simulate --overwrite yes
simulate --orthogonal-noise=yes

simulate --n 0
simulate --n -3
simulate --n 2.5
simulate --n 1e3
simulate --n -1e3
simulate --n many
simulate --n ''
simulate --n=
simulate --n nan
simulate --n true
simulate --n 0x10
simulate --n 10000000 | memory
simulate --n 99999999999999999999999999
simulate --steps 10000000000000000000000000000000000000000
simulate --d 0
simulate --d 10000000000000000
simulate --d inf
simulate --m 0
simulate --m -1
simulate --m 9000000 | memory
simulate --mu-norm -1
simulate --mu-norm nan
simulate --mu-norm inf
simulate --mu-norm -inf
simulate --mu-norm 1e200
simulate --mu-norm 1e-200
simulate --mu-norm big
simulate --mu-norm 1,5
simulate --noise-std 0
simulate --noise-std nan
simulate --noise-std -0.5
simulate --init-std 0
simulate --init-std nan
simulate --init-std inf
simulate --init-std -nan
simulate --init-std -1e-3
simulate --tau-plus 0.5
simulate --tau-plus 1.5
simulate --tau-plus -0.1
simulate --tau-plus nan
simulate --tau-plus 20%
simulate --tau-minus 0.6
simulate --tau-minus inf
simulate --tau-minus much
simulate --orthogonal-noise --d 1
simulate --lr 0
simulate --lr -0.1
simulate --lr -1e-3
simulate --lr nan
simulate --lr inf
simulate --lr 1e400
simulate --lr fast
simulate --steps -1
simulate --steps 1.5
simulate --steps lots
simulate --steps 1000000000000 | memory
simulate --record-every 0
simulate --record-every -1
simulate --record-every 1.5
simulate --test-draws -1
simulate --test-draws x
simulate --test-draws 1000000000000 | memory
simulate --zeta-std -1
simulate --zeta-std nan
simulate --zeta-std -inf
simulate --zeta-std none
simulate --seeds
simulate --seeds 0 0
simulate --seeds 1 2 1
simulate --seeds -1
simulate --seeds 0 -1
simulate --seeds 1.5
simulate --seeds a
simulate --seeds 0,1,2
simulate --seeds 0-4
simulate --seeds 9223372036854775808
simulate --n-holdout -1
simulate --n-holdout 0.1

simulate --out ''
simulate --out file
simulate --out file/below
simulate --out full
simulate --out /dev/null
simulate --out /dev/null/below
simulate --out LONG
simulate --config ''
simulate --config no.toml
simulate --config folder
simulate --config file
simulate --config file/below
simulate --config LONG

train --epohcs 3
train --noize none
train digits
train --epochs 3 x
train --epochs
train --epochs 3 --epochs 3
train --download --no-download
train --epochs 0
train --epochs 1e3
train --lr 0
train --lr -1
train --lr nan
train --lr inf
train --lr-factor 0
train --lr-factor nan
train --momentum 1
train --momentum -0.1
train --momentum nan
train --weight-decay -1
train --weight-decay nan
train --weight-decay inf
train --batch-size 0
train --batch-size 1.5
train --optimizer sdg
train --optimizer SGD
train --optimizer ''
train --schedule cosin
train --schedule step
train --schedule step --lr-steps 3 5
train --schedule multi-step
train --schedule multi-step --lr-steps 5 3
train --schedule multi-step --lr-steps 3 3
train --schedule multi-step --lr-steps 0 3
train --schedule step --lr-steps x
train --schedule cosine --lr-steps 3
train --lr-steps 3
train --warmup -1
train --warmup 120
train --warmup 5 --epochs 5
train --augment yes
train --precision fp16
train --precision ''
train --held-out 1
train --held-out -0.1
train --held-out nan
train --patience 0
train --eval-every 0
train --eval-every 1.5
train --checkpoint-every 0
train --seed -1
train --seed 1.5
train --seed 1180591620717411303424
train --threads 0
train --threads x
train --per-class -1
train --per-class x
train --outputs -1
train --outputs x
train --model small-cn
train --model ''
train --model vgg12
train --model VGG11
train --noise ''
train --noise 0.2
train --noise symetric:0.2
train --noise symmetric
train --noise symmetric:
train --noise symmetric:x
train --noise symmetric:2 | rate
train --noise symmetric:-0.1 | rate
train --noise symmetric:nan | rate
train --noise symmetric:0.2,0.3
train --noise symmetric:0.2:exakt
train --noise symmetric:0.2:exact:exact
train --noise symmetric-including-true:0.2:exact | include_true
train --noise pair:
train --noise pair:x
train --noise pair:1.1 | rate
train --noise class-conditional:0.1
train --noise class-conditional:0.1,0.2,0.3
train --noise class-conditional:0.1,1.2 | tau_minus
train --noise none:0.2
train --noise matrix:
train --noise matrix:no.csv | no.csv
train --noise matrix:folder | folder
train --noise matrix:words.csv | words.csv
train --noise matrix:row.csv | rows
train --noise matrix:sums.csv | rows
train --noise matrix:nan.csv | rows
train --noise matrix:negative.csv | rows
train --noise matrix:LONG | LONG
train --noise file:
train --noise file:LONG | path
train --out file
train --out full
train --config no.toml

train --threads 1000000000000
train --data ''
train --data digit
train --data folder
train --data file
train --data no.npz
train --data floats.npz
train --data one.npz | classes
train --data cut.npz
train --data labels.npz
train --data LONG
train --data mnist --root folder | mnist
train --data mnist --root file
train --root ''
train --classes 3
train --classes 3 3
train --classes 3 77
train --classes -1 3
train --classes cat dog
train --classes 3,8
train --classes 3 8.5
train --classes 03 8
train --classes ''
train --data images --classes 3 8
train --data images --classes 3
train --data images --classes 7 seven
train --per-class 100000
train --classes 3 8 --noise class-conditional:0.1,0.2,0.3
train --noise class-conditional:0.1,0.2 | ClassConditional
train --classes 3 8 --noise matrix:three.csv | Matrix
train --noise file:no.txt | no.txt
train --noise file:folder | folder
train --noise file:two.txt | two.txt
train --noise file:labels.npz | labels.npz
train --noise file:labels.npz:labels | labels.npz
train --noise file:cut.npz | cut.npz
train --weights no.pt
train --weights folder
train --weights file
train --weights LONG
train --device gpu
train --device warp
train --device cuda:99
train --device ''
train --outputs 1
train --outputs 2000000000 | memory

report
report '' | RUN
report nowhere
report file
report folder
report full
report a b
report LONG | path
report words.csv
report labels.npz
report --quick
report nowhere --dpi 3

explain | RUN
explain --clean 3 | RUN
explain nowhere
explain file
explain full
explain a b
explain a --clean 0
explain a --clean x
explain a --clean
explain a --clean 3 --clean 4
explain a --noisy 0
explain a --background -1
explain a --reference 1
explain a --method dep
explain a --method lime
explain a --nsamples nan
explain a --seed -1
explain a --threads 0
explain a --methud deep
explain a --out b

reproduce x
reproduce --quik
reproduce --seeds 3
reproduce --quick yes
reproduce --quick=yes
reproduce --quick --quick
reproduce --quick --no-quick
reproduce --out ''
reproduce --out file
reproduce --out full
reproduce --config no.toml
reproduce --config folder
"""
"""Command lines; the sentence names the last flag or value, or else what stands behind the bar."""

FILES = r"""
simulate: n = = 2
simulate: = 1
simulate: [problem
simulate: n = 1\nn = 2
simulate: lrr = 1
simulate: config = 'b.toml'
simulate: classes = [3, 8]
simulate: kind = 'SimulateRun'
simulate: n = 'a'
simulate: n = 2.5
simulate: n = true
simulate: n = [1]
simulate: lr = nan
simulate: lr = 'fast'
simulate: init_std = nan
simulate: zeta_std = 'x'
simulate: steps = 1979-05-27
simulate: seeds = []
simulate: seeds = [0, 0]
simulate: seeds = ['a']
simulate: seeds = [[1]]
simulate: seeds = 1.5
simulate: exact = 1
simulate: orthogonal_noise = 'no'
simulate: overwrite = 'yes'
simulate: out = 3
simulate: out = ''
simulate: out = "a\u0000b"
simulate: problem = 3
simulate: mu-norm = 10\nmu_norm = 20
simulate: n = 1\n[problem]\nn = 2
simulate: [problm]\nn = 1
simulate: [[problem]]\nn = 1
simulate: [problem]\nsteps = 1
simulate: [problem]\nlabel_noise = 3
simulate: [problem.noise]\nn = 1
simulate: [problem.label_noise]\nkind = 'Symetric'\nrate = 0.1
simulate: [problem.label_noise]\nkind = 'Pair'\nrate = 'x'
simulate: [problem.label_noise]\nkind = 'Matrix'\nrows = 3
simulate: [problem.label_noise]\nkind = 'Matrix'\nrows = [[0.5, 0.6], [0, 1]]
simulate: [problem.label_noise]\ntau_plus = 0.7
train: classes = 3.5
train: classes = [true, 3]
train: noise = 3
train: noise = ''
train: model = ['mlp']
train: device = 3
train: augment = 'no'
train: download = 1
train: training = 1
train: [training]\nlr = 'x'
train: [training]\nkind = 'x'
train: [problem]\nn = 1
reproduce: quick = 'yes'
reproduce: steps = 3
"""
"""Contents of a file bad.toml; the sentence names the file or the last key."""

REMEDIES = """
smulate => ; did you mean 'simulate'?
-x => ; choose one of 'audit', 'reproduce', 'sweep', 'simulate', 'train', 'explain', 'report'
simulate --step 3 => ; did you mean '--steps'?
simulate --mu_norm 3 => ; did you mean '--mu-norm'?
simulate --n many => `--n` must be a whole number, got 'many'; see labelnoise simulate --help
simulate --n 0 => `n` must be an integer >= 1, got 0; use for example n=200
simulate --n 3 --n 4 => `--n` was given twice; keep one of them
simulate --exact --no-exact => `--exact` was given twice; keep one of them
simulate --init-std nan => `init_std` must be a finite number > 0, got nan; use for example init_std=0.001
simulate --init-std -1 => `init_std` must be a finite number > 0, got -1.0; use for example init_std=0.001
simulate --init-std 0 => got 0: all activations would start at 0, where the ReLU has no slope
simulate --mu-norm -inf => `mu_norm` must be a finite number > 0, got -inf; use for example mu_norm=40.0
simulate --mu-norm 1e200 => or its square leaves float64, got 1e+200; use for example mu_norm=40.0
simulate --lr -1e-3 => `lr` must be a finite number > 0, got -0.001; use for example lr=0.005
simulate --tau-plus 0.6 => `tau_plus` must lie in [0, 0.5), got 0.6; lower it
simulate --tau-plus nan => `tau_plus` must be a probability in [0, 1], got nan; for 20% write 0.2
simulate --seeds 0 0 => `seeds` must be one or more different integers, got (0, 0); use for example 0 1 2
simulate --seeds 9223372036854775808 => `seed` must be below 2^63
simulate --n 10000000 => free; lower n, m, n_holdout
simulate --n 9223372036854775808 => `n` must be below 2^63, got 9223372036854775808; use for example n=200
simulate --steps 1000000000000 => free; lower n, m, steps, test_draws or the number of runs
simulate --out '' => `out` must be a path, got ''; write one like 'folder/name'
simulate --out file => `out` must be a folder, got the file file; choose another name
simulate --out file/below => file is not; choose another place
simulate --out full => `out` must be empty or hold a run, but full holds other files; choose another folder
simulate --out LONG => `out` must be a path of names up to 255 bytes, got one of 300; shorten it
simulate --out DEEP => `out` must be a path of up to 4,000 characters, got 5,001; shorten it
simulate --out loop/x => loop/x could not be read or written (Too many levels of symbolic links); choose another place
simulate --n-classes 1000000 => free; lower n_classes
simulate --n-classes 2000 => free; lower n, m, n_classes, n_holdout, or d where vectors are kept
simulate --noise symmetric:0.2 --tau-plus 0.1 => is 'symmetric:0.2', but tau_plus, tau_minus or a table label_noise
simulate --noise symmetric:0.2 --tau-plus 0.1 => give class-conditional:0.1,0.2; give one of the two
simulate --noise foo => ; choose one of 'none', 'symmetric', 'symmetric-including-true', 'class-conditional', 'pair',
simulate --noise foo => 'pair', 'matrix'
simulate --noise instance:0.2 => 'pair', 'matrix'
simulate --noise file:labels.npz => 'pair', 'matrix'
simulate --noise subclass:0.2 => 'pair', 'matrix'
simulate --n-classes 3 --tau-plus 0.1 => got class-conditional:0.1,0.2; give tau_plus and tau_minus one value, or
simulate --n-classes 3 --noise pair:0.6 => the likeliest one, got pair:0.6; lower it
simulate --n-classes 3 --noise matrix:sure.csv => the likeliest one, got a matrix of 3 classes; lower it
simulate --noise symmetric:0.2:exact --flip-dependence 0.3 => got symmetric:0.2:exact, which fixes how many are flipped
simulate --activation leaky-relu: => `leak` must be a number, got ''; correct it
simulate --activation relu: => must be of the form relu, got 'relu:'; leave the rest out
simulate --n-classes 3 --loss hinge => without fresh_flips, got hinge and fresh_flips=0; leave both as they are
simulate --loss hinge --fresh-flips 0.1 => `fresh_flips` needs the logistic loss, got hinge
sweep --steps 100000000 --grid d=10,20 => one at n=200, m=20, steps=100,000,000, test_draws=2,000 takes 6,108 MiB
sweep --steps 100000000 --grid d=10,20 => ; raise it, or lower n, m, steps or test_draws
sweep --n 20 --m 2 --steps 20 --test-draws 9 --grid d=10,20 --memory 0.001 => takes 1 MiB, got 0.001 MiB
sweep --n-classes 100 --grid d=1000,2000 --memory 20 => raise it, or lower n, m, n_classes, steps or test_draws
sweep --grid seeds=1,2 => `grid` cannot vary 'seeds', which all cells share; give it as --seeds: Runs of each cell
sweep --grid optimizer=adam,momentum => `grid` sweeps numbers, but 'optimizer' is a choice; run a sweep for each, by --
sweep --grid radius=0.1,0.2 => `grid` varies 'radius' of sharpness-aware only; add --optimizer sharpness-aware
sweep --grid momentum=0,0.5 --optimizer gradient-flow => (momentum=0.0): `momentum` needs the optimizer gradient-descent
sweep --grid d=10,20 --optimizer adam => of the patches; choose gradient-descent, momentum, sharpness-aware or gradient-
simulate --optimizer adam => of the patches; choose gradient-descent, momentum, sharpness-aware or gradient-
sweep --grid n_snr=1,2 => `grid` knows no parameter 'n_snr'; did you mean 'n_snr2'?
sweep --grid d=10,20 --variables t1 onset t1 => `variables` must differ from each other, got 't1' twice; list each once
simulate --config no.toml => no.toml cannot be read (No such file or directory); give the path of one
simulate --config folder => folder cannot be read (Is a directory); give the path of one
simulate --config file => file cannot be read (Expected '=' after a key
train --lr-factor nan => `lr_factor` must be a finite number > 0, got nan; use for example lr_factor=0.1
train --optimizer SGD => `optimizer` must be one of sgd, adam, adamw, got 'SGD'; did you mean 'sgd'?
train --model VGG11 => ; did you mean 'vgg11'?
train --model vgg12 => ; did you mean 'vgg11' or 'vgg13' or 'vgg16' or 'vgg19'?
train --noise symetric:0.2 => ; did you mean 'symmetric'?
train --noise symmetric:0.2:exakt => ; write it like 'symmetric:0.2' or 'symmetric:0.2:exact'
train --noise pair:1.2 => `rate` must be a probability in [0, 1], got 1.2; for 20% write 0.2
train --noise matrix: => ; write it like 'matrix:T.csv'
train --noise matrix:no.csv => must be a regular file, got none (No such file or directory); give the path of
train --schedule cosine --lr-steps 3 => belongs to the schedules step and multi-step, got (3,) with 'cosine'; leave
train --warmup 5 --epochs 5 => `warmup` must be below the number of epochs (5), got 5; lower it
train --threads 1000000000000 => `threads` must be at most 1024, got 1000000000000; one a core is enough
train --data digit => ; did you mean 'digits'?
train --data file => is damaged, or no file of plain arrays (File is not a zip file); save it with
train --data mnist --root file => `root` must be a folder, got the file file; use for example 'data'
train --data mnist --root folder => t10k-labels-idx1-ubyte.gz in folder/mnist, or fetch it with --download
train --data cifar10 --download --root file/below => (Not a directory); name another folder in `root`
train --data stray => stray/notes holds no image (.png, .jpg, .jpeg, .bmp); add some, move it away, or name another
train --stop-rule accuracy => `stop_rule` is what --stop goes by, got 'accuracy' without it; add --stop
train --per-class 8 --held-out 0.001 --stop => `stop` needs held-out images, got none with held_out=0.001 of 80
train --average 1 => `average` is what --stop goes by, got 1 without it; add --stop
train --seeds 0 1 --stop-rule median => `stop_rule` is what --stop goes by, got 'median' without it; add --stop
train --classes 3,8 => got '3,8'; these classes have no names, give ids with spaces between them
train --classes 3 3 => `classes` must differ from each other, got 3, 3; list each one once
train --data images --classes 3 77 => `classes` must be ids among 0, 1, or names, got 77; did you mean '7'?
train --per-class 100000 => got 100000 but class 0 has 130; use for example 130
train --weights no.pt => no file at no.pt; give the path of weights
train --outputs 1 => `outputs` must be 0 or at least 10, got 1; use 0 for as many
train --outputs 2000000000 => free; lower outputs
report => labelnoise report RUN
report a b => `report` takes one run directory, got 'b', too; see labelnoise report --help
report nowhere => nowhere is no run (config.json is missing); give the folder of a finished run
report --quick => `report` has no flag '--quick'; leave it out
explain a --methud deep => `explain` has no flag '--methud'; did you mean '--method'?
explain a --method dep => ; did you mean 'deep'?
reproduce --quick=yes => --help
"""
"""Command lines, and what the sentence says."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with everything that the lines name."""
    place = tmp_path_factory.mktemp("place")
    tables = {
        "words": "cat,dog", "row": "0.5,0.5", "sums": "0.5,0.6\n0,1", "nan": "nan,1\n0,1", "negative": "1.5,-0.5\n0,1",
        "three": "1,0,0\n0,1,0\n0,0,1", "sure": "0,1,0\n0,1,0\n0,0,1",
    }  # fmt: skip
    for name, text in tables.items():
        (place / f"{name}.csv").write_text(text)
    (place / "file").write_text("x")
    (place / "two.txt").write_text("0\n1\n")
    (place / "cut.npz").write_bytes(b"PK\x03\x04 cut")
    (place / "folder").mkdir()
    (place / "loop").symlink_to("loop")
    (place / "full").mkdir()
    (place / "full/notes.txt").write_text("mine")
    zeros, labels = np.zeros((4, 8, 8), np.uint8), [0, 1, 0, 1]
    np.savez(place / "labels.npz", labels=[1])
    np.savez(place / "floats.npz", x_train=zeros / 255, y_train=labels, x_test=zeros, y_test=labels)
    np.savez(place / "one.npz", x_train=zeros, y_train=[0] * 4, x_test=zeros, y_test=[0] * 4)
    for name in ("images/train/3", "images/train/7", "images/test/3", "images/test/7", "stray/3", "stray/7"):
        (place / name).mkdir(parents=True)
        Image.fromarray(zeros[0]).save(place / name / "a.png")
    (place / "stray/notes").mkdir()
    return place


def options(line):
    """The words of a line; LONG is a name that is too long, DEEP a path."""
    return shlex.split(line.replace("LONG", LONG).replace("DEEP", DEEP))


def refusal(words, place, monkeypatch, capsys):
    """The one sentence by which a command line is refused; it leaves nothing behind."""
    monkeypatch.chdir(place)
    monkeypatch.delenv("LABELNOISE_DATA", raising=False)
    before = sorted(place.rglob("*"))
    code, (out, said) = main(words), capsys.readouterr()
    assert (code, out) == (2, ""), said
    assert re.fullmatch(r"labelnoise: .+(; |: labelnoise ).+\n", said), said  # what is wrong, and what would help
    assert "Traceback" not in said and "Errno" not in said
    assert not re.search(r"\w\(\w+=", said), said  # no config as Python writes it
    assert sorted(place.rglob("*")) == before
    return said


def is_named(line, said):
    """Whether a sentence names what stands behind the bar, or else the last flag or the last value."""
    line, _, name = line.partition(" | ")
    words = options(line)
    flags = [word.split("=")[0] for word in words if re.match("--?[a-z]", word)]
    names = [name.replace("LONG", LONG)] if name else [words[-1], *flags[-1:]]
    spoken = {_plain(word) for word in re.split(r"[\s`',;()/]+", said)}
    return any(_plain(name) in spoken or repr(name) in said for name in names)


def _plain(name):
    """A flag and the setting it stands for in one form."""
    return name.lstrip("-").removeprefix("no-").rstrip(":").replace("_", "-")


def table(text):
    return [line for line in text.splitlines() if line]


@pytest.mark.parametrize("line", table(LINES))
def test_a_bad_command_line_is_refused(line, place, monkeypatch, capsys):
    said = refusal(options(line.partition(" | ")[0]), place, monkeypatch, capsys)
    assert is_named(line, said), said


@pytest.mark.parametrize("line", table(FILES))
def test_a_bad_file_is_refused(line, place, monkeypatch, capsys):
    command, _, text = line.partition(": ")
    text = text.replace(r"\n", "\n")
    (place / "bad.toml").write_text(text)
    said = refusal([command, "--config", "bad.toml"], place, monkeypatch, capsys)
    names = ["bad.toml", *re.findall(r"^(\w+) =", text, re.MULTILINE)[-1:], *re.findall(r"\.(\w+)\]", text)]
    assert any(re.search(rf"\b{name}\b", said) for name in names), said


def test_the_tables_are_long_and_no_line_stands_twice():
    assert len({*table(LINES), *table(FILES)}) == len(table(LINES)) + len(table(FILES)) >= 240
    assert len(set(table(REMEDIES))) == len(table(REMEDIES)) >= 25


@pytest.mark.parametrize("line", table(REMEDIES), ids=lambda line: line.partition(" => ")[0])
def test_the_remedy_fits(line, place, monkeypatch, capsys):
    line, _, phrase = line.partition(" => ")
    assert phrase in refusal(options(line), place, monkeypatch, capsys)


SMALL = "simulate --n 10 --d 50 --m 2 --steps 1 --test-draws 0 --n-holdout 5 --seeds 0 --out".split()


def test_a_full_disk_is_said_with_the_file_that_found_no_room(place, monkeypatch, capsys, tmp_path_factory):
    """The system refuses files beyond a limit as it refuses those on a full disk."""
    warm = tmp_path_factory.mktemp("warm") / "run"
    assert main([*SMALL, str(warm)]) == 0  # kernels are compiled and kept while there is room
    capsys.readouterr()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        said = refusal([*SMALL, "new"], place, monkeypatch, capsys)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "new/config.json could not be written (File too large), what was there is unharmed; make room" in said


def test_a_read_only_folder_is_said(tmp_path, place, monkeypatch, capsys):
    (tmp_path / "locked").mkdir(mode=0o500)
    if os.access(tmp_path / "locked", os.W_OK):
        pytest.skip("permissions do not bind this user")
    said = refusal([*SMALL, str(tmp_path / "locked/new")], place, monkeypatch, capsys)
    assert "locked is not; choose another place" in said


@pytest.mark.parametrize(
    ("code", "path", "sentence"),
    [
        (errno.ENOSPC, "a/.lock", "a/.lock could not be read or written (No space left on device); make room"),
        (errno.EDQUOT, "a", "a could not be read or written (Disk quota exceeded); make room or choose another place"),
        (errno.EROFS, "a", "a could not be read or written (Read-only file system); choose another place"),
        (errno.EIO, None, "a file or the output could not be read or written (Input/output error); choose another"),
    ],
)
def test_what_the_system_refuses_is_said_with_its_reason(code, path, sentence, place, monkeypatch, capsys):
    def fail(words):
        raise OSError(code, os.strerror(code), path)

    monkeypatch.setitem(cli.ON_A_RUN, "report", fail)
    assert sentence in refusal(["report", "a"], place, monkeypatch, capsys)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError("Unable to allocate 8 TiB for an array"), "(Unable to allocate 8 TiB for an array); lower"),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of"),
            "(CUDA out of memory. Tried to allocate 2.00 GiB); lower the sizes",
        ),
        (
            RuntimeError(
                "[enforce] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes. E"
            ),
            "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes); lower the sizes",
        ),
    ],
)
def test_memory_that_is_not_enough_is_said(error, said, place, monkeypatch, capsys):
    def fail(words):
        raise error

    monkeypatch.setitem(cli.ON_A_RUN, "report", fail)
    assert said in refusal(["report", "a"], place, monkeypatch, capsys)


def test_another_error_of_a_computation_is_no_refusal(monkeypatch):
    def fail(words):
        raise RuntimeError("a bug")

    monkeypatch.setitem(cli.ON_A_RUN, "report", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        main(["report", "a"])


@pytest.mark.parametrize(
    ("command", "advice"),
    [
        ("explain", "the same command begins anew"),
        ("report", "the same command begins anew"),
        ("train", "the same command, without --overwrite, keeps what is finished and does the rest"),
    ],
)
def test_who_stops_a_command_is_told_what_the_same_one_does(command, advice, monkeypatch, capsys):
    def stop(*words):
        raise KeyboardInterrupt

    monkeypatch.setitem(cli.ON_A_RUN, "explain", stop)
    monkeypatch.setitem(cli.ON_A_RUN, "report", stop)
    monkeypatch.setattr(cli, "run_kind", stop)
    assert main([command, "a"]) == 130
    assert capsys.readouterr().err == f"labelnoise: stopped; {advice}\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_an_output_that_finds_no_room_is_said(unbuffered):
    with open("/dev/full", "w") as full:
        command, env = (
            [sys.executable, "-m", "labelnoise.cli", "--help"],
            {**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=env)
    sentence = "labelnoise: a file or the output could not be read or written (No space left on device); make room"
    assert done.returncode == 2 and done.stderr.startswith(sentence) and done.stderr.count("\n") == 1
