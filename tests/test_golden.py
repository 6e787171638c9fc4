"""A few numbers that must not move between versions: a seed means the same draw, split and run.

That holds for the NumPy release in constraints.txt: NumPy keeps its bit streams, but may change how a distribution is
drawn from them in a new release (NEP 19).

`python tests/test_golden.py` writes the file anew; do that only for a change that is meant, and say so in CHANGELOG.md.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from labelnoise.images.data import load_data
from labelnoise.noise.flipping import flip_labels
from labelnoise.noise.models import ClassConditional, Pair, Symmetric
from labelnoise.theory.problem import SignalNoise
from labelnoise.theory.simulation import simulate

GOLDEN = Path(__file__).with_name("golden.json")


def numbers():
    problem = SignalNoise(n=30, d=900, m=4, mu_norm=16.0, label_noise=ClassConditional(0.1, 0.3))
    draw = problem.sample(seed=7, n_holdout=10)
    explicit = problem.sample(seed=7, vectors=True)
    last = simulate(draw, lr=0.02, steps=120, record_every=60, test_draws=100).to_frame().iloc[-1]
    digits = load_data("digits", label_noise=Symmetric(0.2), seed=7)
    labels = np.arange(40) % 5
    return {
        "bartlett": draw.inner[0, :5].tolist(),
        "explicit": explicit.inner[0, :5].tolist(),
        "given": draw.y_given.tolist(),
        "held out": draw.held_out_given.tolist(),
        "run": {name: None if np.isnan(value) else float(value) for name, value in last.items()},
        "digits": digits.index[:10].tolist() + digits.y_given[:20].tolist(),
        "pair": flip_labels(labels, Pair(0.4), 5, seed=7).y_given.tolist(),
        "exact": flip_labels(labels, Symmetric(0.3, exact=True), 5, seed=7).y_given.tolist(),
    }


@pytest.fixture(scope="module")
def found():
    return numbers()


@pytest.mark.parametrize("name", json.loads(GOLDEN.read_text()) if GOLDEN.exists() else ["missing"])
def test_the_numbers_are_those_of_the_golden_file(name, found):
    expected = json.loads(GOLDEN.read_text())[name]
    if isinstance(expected, dict):
        close = {key: value if value is None else pytest.approx(value, rel=1e-8) for key, value in expected.items()}
        assert found[name] == close
    else:
        assert found[name] == pytest.approx(expected, rel=1e-12)


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(numbers(), indent=1) + "\n")
