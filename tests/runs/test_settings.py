"""The codec: configs to JSON values and back, and what a value of the wrong type gets told."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelnoise.errors import InputError
from labelnoise.noise.models import ClassConditional, Matrix, Pair, Symmetric
from labelnoise.runs.settings import config_of, first_difference, overlay, settings_of
from labelnoise.theory.config import SimulateConfig
from labelnoise.theory.experiment import SimulateRun
from labelnoise.theory.problem import SignalNoise
from labelnoise.training.config import ExplainConfig, TrainConfig
from labelnoise.training.experiment import TrainRun

rates = st.floats(0, 0.49)
noises = st.one_of(
    st.builds(ClassConditional, rates, rates, exact=st.booleans()),
    st.builds(Symmetric, rates),
    st.builds(Pair, rates),
    st.builds(lambda a, b: Matrix(((1 - a, a), (b, 1 - b))), rates, rates),
)
scales = st.floats(1e-6, 1e6)
simulations = st.builds(
    SimulateRun,
    st.builds(SignalNoise, st.integers(1, 99), st.integers(2, 10**12), mu_norm=scales, label_noise=noises),
    st.builds(SimulateConfig, scales, st.integers(0, 99), zeta_std=st.none() | scales),
    st.lists(st.integers(0, 2**62), min_size=1, max_size=3, unique=True).map(tuple),
)
trainings = st.builds(
    TrainRun,
    classes=st.sampled_from([(), (3, 8), ("cat", "dog"), ("cat", 3)]),
    training=st.builds(TrainConfig, lr=scales, augment=st.booleans(), optimizer=st.sampled_from(["sgd", "adamw"])),
)


@given(st.one_of(simulations, trainings, st.builds(ExplainConfig, seed=st.integers(0, 9))))
def test_a_config_survives_json(config):
    settings = json.loads(json.dumps(settings_of(config)))
    assert config_of(type(config), settings) == config
    assert settings_of(config_of(type(config), settings)) == settings


def test_what_is_absent_takes_its_default():
    assert config_of(SimulateRun, {"problem": {"n": 7}}) == SimulateRun(SignalNoise(n=7))
    assert config_of(TrainRun, {}) == TrainRun()


@dataclass(frozen=True)
class Grown:
    """A config that has got two settings since its first runs."""

    lr: float = 0.1
    momentum: float = field(default=0.9, metadata={"before": 0.0})
    """Runs without this setting had none."""
    decay: float = 0.0


def test_a_setting_that_an_old_run_lacks_has_the_value_it_had_then():
    assert config_of(Grown, {"lr": 0.3}) == Grown(0.3, momentum=0.0, decay=0.0)
    assert config_of(Grown, settings_of(Grown(0.3))) == Grown(0.3, momentum=0.9)


@pytest.mark.parametrize(
    ("kind", "settings", "sentence"),
    [
        (SimulateRun, {"problem": {"nn": 2}}, "SignalNoise has no setting 'nn'; did you mean 'n'?"),
        (SimulateRun, {"problems": {}}, "SimulateRun has no setting 'problems'; did you mean 'problem'?"),
        (SimulateRun, {"problem": {"n": "x"}}, "`n` must be a whole number, got 'x'; correct it"),
        (SimulateRun, {"problem": {"n": 2.5}}, "`n` must be a whole number, got 2.5; correct it"),
        (SimulateRun, {"problem": {"n": True}}, "`n` must be a whole number, got True; correct it"),
        (SimulateRun, {"problem": {"n": 0}}, "`n` must be an integer >= 1, got 0; use for example n=200"),
        (SimulateRun, {"problem": {"mu_norm": True}}, "`mu_norm` must be a number, got True; correct it"),
        (SimulateRun, {"problem": {"orthogonal_noise": 1}}, "`orthogonal_noise` must be true or false, got 1; correct"),
        (SimulateRun, {"problem": 3}, "`problem` must be a table of settings, got 3; correct it"),
        (SimulateRun, {"problem": {"label_noise": {"tau": 2}}}, "whose 'kind' is one of ClassConditional, Symmetric"),
        (SimulateRun, {"problem": {"label_noise": {"kind": "Pair", "rate": 2}}}, "`rate` must be a probability"),
        (
            SimulateRun,
            {"problem": {"mu_norm": 10**400}},
            "`mu_norm` must be a number within float64, got an integer of",
        ),
        (SimulateRun, {"problem": {"kind": "Rubbish"}}, "`problem` must be a SignalNoise, but its 'kind' is 'Rubbish'"),
        (SimulateRun, {"problem": {"label_noise": {"kind": "Symetric"}}}, "did you mean 'Symmetric'?"),
        (SimulateRun, {"problem": {"label_noise": {"kind": ["a"]}}}, "whose 'kind' is one of ClassConditional"),
        (
            SimulateRun,
            {"problem": {"label_noise": {"kind": "Pair", "rate": 0.1, "tau": 1}}},
            "Pair has no setting 'tau'",
        ),
        (SimulateRun, {"problem": {"label_noise": {"kind": "Pair"}}}, "`rate` is missing; add it"),
        (SimulateRun, {"seeds": 3}, "`seeds` must be a list, got 3; put it in brackets"),
        (SimulateRun, {"seeds": [0, "x"]}, "`seeds` must be a whole number, got 'x'; correct it"),
        (
            TrainRun,
            {"training": {"optimizer": "sdg"}},
            "must be one of sgd, adam, adamw, got 'sdg'; did you mean 'sgd'",
        ),
        (TrainRun, {"data": 3}, "`data` must be a text, got 3; correct it"),
    ],
)
def test_a_value_of_another_type_gets_one_sentence(kind, settings, sentence):
    with pytest.raises(InputError) as refusal:
        config_of(kind, settings)
    assert sentence in str(refusal.value) and "\n" not in str(refusal.value)


def test_settings_lie_over_others_and_another_class_takes_no_setting_along():
    settings = settings_of(SimulateRun())
    merged = overlay(settings, {"problem": {"n": 9, "label_noise": {"tau_plus": 0.4}}})
    assert config_of(SimulateRun, merged) == SimulateRun(SignalNoise(n=9, label_noise=ClassConditional(0.4, 0.2)))
    merged = overlay(settings, {"problem": {"label_noise": {"kind": "Symmetric", "rate": 0.3}}})
    assert config_of(SimulateRun, merged).problem.label_noise == Symmetric(0.3)
    assert settings == settings_of(SimulateRun())


def test_equal_configs_have_equal_settings_whatever_the_types_of_their_numbers():
    whole, real = (SimulateRun(SignalNoise(mu_norm=mu, noise_std=2), seeds=seeds) for mu, seeds in
                   ((8, [0, np.int64(1)]), (8.0, (0, 1))))  # fmt: skip
    assert json.dumps(settings_of(whole)) == json.dumps(settings_of(real))
    assert type(settings_of(whole)["problem"]["mu_norm"]) is float
    assert json.dumps(settings_of(TrainConfig(epochs=np.int64(3), lr=1))) == json.dumps(
        settings_of(TrainConfig(epochs=3, lr=1.0))
    )


def test_a_config_of_something_else_is_refused():
    for arguments in ({"problem": 3}, {"problem": SignalNoise(), "simulation": SignalNoise()}):
        with pytest.raises(InputError, match="must be a S[a-zA-Z]*, got"):
            SimulateRun(**arguments)
    with pytest.raises(InputError, match="`training` must be a TrainConfig, got"):
        TrainRun(training={"epochs": 3})

    @dataclass(frozen=True)
    class Lax:
        inner: SignalNoise = field(default_factory=SignalNoise)

    with pytest.raises(InputError, match="hold a value of the wrong type: a SignalNoise is needed"):
        settings_of(Lax(3))


def test_what_is_no_refusal_is_passed_on():
    class Bug(Exception):
        pass

    @dataclass(frozen=True)
    class Buggy:
        x: int = 0

        def __post_init__(self):
            raise Bug

    with pytest.raises(Bug):
        config_of(Buggy, {"x": 1})


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ({"a": 1}, {"a": 2}, "a is 1 there, 2 now"),
        ({"a": {"kind": "A", "b": 1}}, {"a": {"kind": "A", "b": 2}}, "b is 1 there, 2 now"),
        ({"a": {"kind": "A", "b": 1}}, {"a": {"kind": "B", "b": 1}}, "a is A there, B now"),
        ({"a": 1}, {"a": 1}, ""),
    ],
)
def test_where_settings_differ_first(old, new, words):
    assert first_difference(old, new) == words
