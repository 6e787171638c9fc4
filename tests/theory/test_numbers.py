"""Random numbers of many runs: compiled or not, they are those of NumPy's generators, to the bit."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from labelnoise.arrays import stream
from labelnoise.noise.models import ClassConditional
from labelnoise.theory import compiled_numbers, numbers
from labelnoise.theory.compiled_numbers import CompiledNumbers
from labelnoise.theory.numbers import MANY, CalledNumbers, numbers_of
from labelnoise.theory.problem import SignalNoise
from labelnoise.theory.sampling import sample_runs

SEEDS = [0, 1, 2**32 - 1, 2**32, 2**63 - 1, *np.random.default_rng(0).integers(2**63, size=200).tolist()]


@pytest.fixture
def asked_anew():
    """Whether the compiled numbers are there is asked again, before and after."""
    numbers._compiled.cache_clear()
    yield
    numbers._compiled.cache_clear()


def test_many_runs_are_drawn_compiled_and_few_by_calls():
    assert isinstance(numbers_of(range(MANY)), CompiledNumbers)
    assert isinstance(numbers_of(range(MANY - 1)), CalledNumbers)


@pytest.mark.parametrize("kind", [CompiledNumbers, CalledNumbers])
@pytest.mark.parametrize("size", [1, 20, 301])
def test_numbers_are_those_of_each_stream(kind, size):
    of_runs = kind(SEEDS)
    drawn = [of_runs.classes("labels", size, 2), of_runs.uniforms("flips", size), of_runs.normals("bias", size)]
    for run, seed in enumerate(SEEDS):
        assert (drawn[0][run] == stream(seed, "labels").integers(2, size=size)).all()
        assert (drawn[1][run] == stream(seed, "flips").random(size)).all()
        assert (drawn[2][run] == stream(seed, "bias").standard_normal(size)).all()
    assert [array.dtype for array in drawn] == [np.int64, np.float64, np.float64]


def test_rare_branches_of_the_normals_are_the_same():
    """Beyond 3.65 a number comes from the tail, one of 4,000."""
    ours = CompiledNumbers([7]).normals("data", 100_000)[0]
    assert (ours == stream(7, "data").standard_normal(100_000)).all() and (np.abs(ours) > 3.66).sum() > 5


@pytest.mark.parametrize("axes", [0, 1, 2])
@pytest.mark.parametrize("start", [0, 5])
def test_triangles_are_the_same(axes, start):
    """Of any dimension, none left included: a chi-squared number of one or two degrees is drawn by other means."""
    rests = np.resize([0, 1, 3, 5, 6, 8, 9, 30, 10**12], len(SEEDS))
    both = np.zeros((2, len(SEEDS), 4, axes + start + 4 + 2))
    for kind, out in zip((CompiledNumbers, CalledNumbers), both, strict=True):
        kind(SEEDS).fill_triangles("init", rests, axes, start, out)
    np.testing.assert_array_equal(*both)
    diagonal = both[0][:, np.arange(4), axes + start + np.arange(4)]
    assert ((diagonal > 0) == (rests[:, None] > start + np.arange(4))).all()


@pytest.mark.parametrize(
    "problem",
    [
        SignalNoise(n=6, d=14, m=2, mu_norm=2.0, noise_std=1.5, init_std=0.5, bias=True),
        SignalNoise(n=7, d=5, m=2, mu_norm=2.0, init_std=0.5, orthogonal_noise=True),  # fewer dimensions than vectors
        SignalNoise(n=6, d=1, m=2, mu_norm=2.0, init_std=0.5),
        SignalNoise(n=6, d=30, m=2, mu_norm=2.0, init_std=0.5, flip_dependence=0.5, flip_cosine=0.3),
    ],
    ids=["bias", "orthogonal", "d=1", "flips by patch"],
)
def test_a_run_is_drawn_the_same_alone_and_among_many(problem):
    others = [replace(problem, label_noise=ClassConditional(0.4, 0.1)), replace(problem, d=problem.d + 7)]
    problems = [(problem, *others)[run % 3] for run in range(len(SEEDS))]
    for one, seed, run in zip(problems, SEEDS, sample_runs(problems, SEEDS), strict=True):
        alone = one.sample(seed=seed)
        assert (run.inner == alone.inner).all() and (run.y_given == alone.y_given).all()
        assert (run.y_true == alone.y_true).all() and (run.bias0 is None) == (not problem.bias)
        assert run.bias0 is None or (run.bias0 == alone.bias0).all()
        assert run.probe is None or (run.probe == alone.probe).all()


def test_compiled_numbers_that_are_not_numpys_are_not_used(asked_anew, monkeypatch):
    fill = compiled_numbers._fill_triangles

    def rounded(*arguments):
        fill(*arguments)
        arguments[-1][3, 20, 5] = np.nextafter(arguments[-1][3, 20, 5], 1.0)

    monkeypatch.setattr(compiled_numbers, "_fill_triangles", rounded)
    assert isinstance(numbers_of(range(MANY)), CalledNumbers)


def test_without_numba_numbers_are_called(asked_anew, monkeypatch):
    monkeypatch.setitem(sys.modules, "labelnoise.theory.compiled_numbers", None)
    assert isinstance(numbers_of(range(MANY)), CalledNumbers)
