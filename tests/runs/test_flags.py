"""Settings from the command line and from TOML files: one set of rules, tables in their places, one sentence each."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from labelnoise.cli import Output, main
from labelnoise.errors import InputError
from labelnoise.noise.models import ClassConditional, Symmetric
from labelnoise.runs.flags import parse_flags
from labelnoise.theory.activations import LeakyReLU
from labelnoise.theory.experiment import SimulateRun
from labelnoise.theory.optimizers import GradientDescent, Momentum
from labelnoise.training.experiment import TrainRun


@dataclass(frozen=True)
class Inner:
    rate: float = 0.5
    """Share in % of the whole."""
    steps: tuple[int, ...] = ()
    mode: Literal["fast", "slow"] = "fast"


@dataclass(frozen=True)
class Config:
    """Try it."""

    name: str = "a"
    inner: Inner = field(default_factory=Inner)
    limit: float | None = None
    where: Path | None = None
    deep: bool = False


def parse(*words, kinds=(Config,)):
    return parse_flags("labelnoise try", "Try it.", words, kinds)[1]


def refusal(*words, kinds=(Config,)):
    with pytest.raises(InputError) as refused:
        parse(*words, kinds=kinds)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_every_type_of_value():
    (config,) = parse(
        *"--name b --rate 0.25 --steps 3 4 --mode slow --limit 2 --where x/y --deep".split()
    )  # fmt: skip
    assert config == Config("b", Inner(0.25, (3, 4), "slow"), 2.0, Path("x/y"), True)
    assert parse("--limit", "-1e3", "--rate", "-1e-3", "--steps", "-3", "4") == (
        Config("a", Inner(-1e-3, (-3, 4)), -1e3),
    )
    assert parse("--name", "-5", "--where", "-.5") == (Config("-5", where=Path("-.5")),)
    assert parse("--no-deep", "--limit=-1e3", "--steps") == (Config(limit=-1000.0),)
    assert parse() == (Config(),)


def test_the_help_says_what_a_flag_is_and_its_default(capsys):
    with pytest.raises(SystemExit) as stop:
        parse("--help")
    text = " ".join(capsys.readouterr().out.split())
    assert stop.value.code == 0 and "--rate X Share in % of the whole. (default: 0.5)" in text
    assert "--mode {fast,slow}" in text and "--deep, --no-deep" in text and "usage: labelnoise try" in text


def test_a_flag_whose_value_may_stand_first_is_in_the_usage_and_among_the_arguments(capsys):
    def parse_leading(*words):
        return parse_flags("labelnoise try", "Try it.", words, [Config], leading="name")[1]

    with pytest.raises(SystemExit):
        parse_leading("--help")
    text = " ".join(capsys.readouterr().out.split())
    assert "usage: labelnoise try NAME [FLAGS]" in text and "NAME the same as --name" in text
    assert parse_leading("b", "--rate", "2") == (Config("b", Inner(2.0)),)
    assert parse_leading("--name", "b") == parse_leading("b") and parse_leading() == (Config(),)
    for words, sentence in ((["b", "c"], "takes one NAME, got 'c', too"), (["b", "--name", "c"], "was given twice")):
        with pytest.raises(InputError, match=sentence):
            parse_leading(*words)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--rat", "1"], "`try` has no flag '--rat'; did you mean '--rate'?"),
        (["--rate", "much"], "`--rate` must be a number, got 'much'; see labelnoise try --help"),
        (["--rate"], "`--rate` expected one argument; see labelnoise try --help"),
        (["--steps", "1", "x"], "`--steps` must be a whole number, got 'x'"),
        (["--mode", "slwo"], "`mode` must be one of fast, slow, got 'slwo'; did you mean 'slow'?"),
        (["b"], "`try` takes flags only, got 'b'"),
        (["-5"], "`try` has no flag '-5'; choose one of '--name', '--rate', '--"),
        (["--deep=yes"], "`--deep/--no-deep` ignored explicit argument 'yes'"),
        (["--rate", "1", "--rate=1"], "`--rate` was given twice; keep one of them"),
        (["--deep", "--no-deep"], "`--deep` was given twice; keep one of them"),
        (["--steps", "1", "--steps", "2"], "`--steps` was given twice; keep one of them"),
        (["--mode", "-1"], "`mode` must be one of fast, slow, got '-1'; choose one of these"),
        (["--steps", "-1e3"], "`--steps` must be a whole number, got '-1e3'"),
        (["--where", ""], "`where` must be a path, got ''; write one like 'folder/name'"),
    ],
)
def test_what_is_refused(words, sentence):
    assert sentence in refusal(*words)


def toml(tmp_path, text, *words, kinds=(SimulateRun, Output)):
    (tmp_path / "a.toml").write_text(text)
    return parse("--config", str(tmp_path / "a.toml"), *words, kinds=kinds)[0]


def test_a_table_is_that_of_its_part_and_flat_keys_are_flags(tmp_path):
    text = "seeds = 4\nsteps = 30\n[problem]\nn = 20\n[problem.label-noise]\ntau_plus = 0.1\nexact = true\n"
    config = toml(tmp_path, text, "--steps", "20")
    assert (config.seeds, config.simulation.steps, config.problem.n) == ((4,), 20, 20)
    assert config.problem.label_noise == ClassConditional(0.1, 0.2, exact=True)


def test_a_table_may_name_another_label_noise(tmp_path):
    config = toml(tmp_path, '[problem.label_noise]\nkind = "Symmetric"\nrate = 0.3\n')
    assert config.problem.label_noise == Symmetric(0.3)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[nonsense]\nn = 10\n", "a.toml has a table 'nonsense' that holds no settings; choose one of 'problem'"),
        ("[problm]\nn = 10\n", "a.toml has a table 'problm' that holds no settings; did you mean 'problem'?"),
        ("[problem.noise]\nn = 10\n", "has a table 'problem.noise' that holds no settings; did you mean 'label_noise'"),
        ("n = 10\n[problem]\nn = 20\n", "a.toml gives 'n' twice; keep one of them"),
        ("mu-norm = 10\nmu_norm = 20\n", "a.toml gives 'mu_norm' twice"),
        ("[problem]\nsteps = 10\n", "SignalNoise has no setting 'steps'; choose one of 'n', 'd'"),
        ("[simulation]\nlr = 'fast'\n", "`lr` must be a number, got 'fast'; correct it"),
        ("lrr = 1", "has a key 'lrr' that is no setting; did you mean 'lr'?"),
        ("config = 'b.toml'", "has a key 'config' that is no setting"),
        ("n = 2.5", "`n` must be a whole number, got 2.5"),
        ("problem = 3", "gives 'problem' a value, but it is a table; write [problem] above its keys"),
        ("[[problem]]\nn = 1", "gives 'problem' a value, but it is a table; write [problem] above its keys"),
        ("[problem]\nlabel_noise = 3", "but it is a table; write [problem.label_noise] above its keys"),
        (
            "[problem.label_noise.deep]\nx = 1",
            "has a table 'problem.label_noise.deep' that holds no settings; leave it",
        ),
        ("a = " + 9_000 * "[", "cannot be read (maximum recursion depth exceeded"),
    ],
)
def test_a_file_that_is_refused(tmp_path, text, sentence):
    with pytest.raises(InputError) as refused:
        toml(tmp_path, text)
    assert sentence in str(refused.value) and "\n" not in str(refused.value)


def test_two_files_and_none_are_refused():
    twice = refusal("--config", "a.toml", "--config=b.toml", kinds=(SimulateRun, Output))
    assert twice == "`--config` was given twice; put all settings into one file"
    assert "`config` must be a path, got ''" in refusal("--config", "", kinds=(SimulateRun, Output))


def test_a_file_as_some_editors_write_it(tmp_path):
    assert toml(tmp_path, "\ufeffn = 7  # \u00e4").problem.n == 7


def test_classes_by_id_and_by_name(tmp_path):
    assert parse("--classes", "cat", "3", kinds=(TrainRun,))[0].classes == ("cat", 3)
    assert parse("--classes", "0", "10", "-1", "03", "3.0", "\u0663", kinds=(TrainRun,))[0].classes == (
        0, 10, -1, "03", "3.0", "\u0663",
    )  # fmt: skip
    config = toml(tmp_path, 'classes = ["cat", "dog"]', kinds=(TrainRun, Output))
    assert config.classes == ("cat", "dog")
    with pytest.raises(InputError, match="`classes` must be a whole number or a text, got 3.5; correct it"):
        toml(tmp_path, "classes = [1, 3.5]", kinds=(TrainRun, Output))
    with pytest.raises(InputError, match="`classes` must be a whole number or a text, got True"):
        toml(tmp_path, "classes = [true, 1]", kinds=(TrainRun, Output))


def test_a_command_that_works_on_a_run_says_what_it_takes(capsys):
    with pytest.raises(SystemExit):
        main(["report", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "usage: labelnoise report RUN [FLAGS]" in text and "folder of a finished run, or a train.csv" in text


def test_flags_of_the_same_name_bear_the_names_of_their_parts():
    @dataclass(frozen=True)
    class Twins:
        inner: Inner = field(default_factory=Inner)
        rate: float = 0.1
        level: Literal[1, 2] = 1

    ((config),) = parse("--inner-rate", "0.25", "--rate", "0.75", kinds=(Twins,))
    assert (config.inner.rate, config.rate) == (0.25, 0.75)


def test_a_piece_is_one_word_with_its_settings():
    def dynamics(*words):
        return parse(*words, kinds=(SimulateRun,))[0].simulation.dynamics

    assert dynamics("--activation", "leaky-relu:0.2").activation == LeakyReLU(0.2)
    assert dynamics("--activation=leaky-relu").activation == LeakyReLU()
    assert dynamics("--optimizer", "momentum:0.8,true").optimizer == Momentum(0.8, nesterov=True)
    assert dynamics().optimizer == GradientDescent() and dynamics("--batch-size", "5").shown.batch_size == 5
    for word, sentence in (
        ("leky", "`activation` must begin with a name that is known, got 'leky'"),
        ("leaky-rlu:0.1", "did you mean 'leaky-relu'"),
        ("leaky-relu:2", "`leak` must lie between 0 and 1, got 2"),
        ("leaky-relu:x", "`leak` must be a number, got 'x'"),
        ("relu:1", "`activation` must be of the form relu, got 'relu:1'; leave the rest out"),
    ):
        assert sentence in refusal("--activation", word, kinds=(SimulateRun,))


@pytest.mark.parametrize(
    "text",
    [
        'activation = "leaky-relu:0.2"',
        '[simulation.dynamics]\nactivation = "leaky-relu:0.2"',
        '[simulation.dynamics.activation]\nkind = "LeakyReLU"\nleak = 0.2',
    ],
)
def test_a_piece_in_a_file_is_a_word_or_a_table(tmp_path, text):
    assert toml(tmp_path, text).simulation.dynamics.activation == LeakyReLU(0.2)
