"""Noise that depends on the sample: rates, where the wrong labels lie and what they say, refusals, images."""

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import truncnorm

import labelnoise as ln
from helpers import assert_close
from labelnoise.arrays import stream
from labelnoise.noise.features import Features, InstanceDependent, SubclassDominant
from labelnoise.noise.flipping import flip_labels
from labelnoise.noise.words import parse_noise


def table(n=6_000, n_classes=3, width=4, seed=1):
    """Features (n, width) of very different scales, and labels that know nothing of them."""
    rng = np.random.default_rng(seed)
    return rng.normal(5, 1, (n, width)) * 10.0 ** np.arange(width), rng.integers(0, n_classes, n)


# ------------------------------------------------------------------------------------------------- instance-dependent


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.5, 0.9])
def test_the_rates_are_a_normal_cut_off_symmetrically(rate):
    x, y = table()
    leave, _ = InstanceDependent(rate, 0.1).draw(Features.read(x, y), 3, np.random.default_rng(0))
    share = np.random.default_rng(0).random((2, y.size))[0]
    width = min(rate, 1 - rate) / 0.1
    assert_close(leave, truncnorm.ppf(share, -width, width, rate, 0.1), rtol=1e-7)
    assert_close(leave.mean(), rate, atol=5 * 0.1 / np.sqrt(y.size))


def test_a_wrong_label_is_drawn_from_projections_of_the_standardised_features():
    """Against the algorithm of the paper, written sample by sample."""
    x, y = table(300)
    _, target = InstanceDependent(0.3).draw(Features.read(x, y), 3, np.random.default_rng(5))
    rng = np.random.default_rng(5)
    _, where = rng.random((2, 300))
    weights = [rng.standard_normal((4, 3)) for _ in range(3)]
    z = (x - x.mean(0)) / x.std(0)
    for i in range(300):
        scores = z[i] @ weights[y[i]]
        p = np.where(np.arange(3) == y[i], 0, np.exp(scores))
        assert target[i] == np.searchsorted(np.cumsum(p / p.sum()), where[i], side="right")
    assert (target != y).all()


def test_alike_samples_of_a_class_get_the_same_wrong_label():
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 3, (4, 50))
    group = rng.integers(0, 4, 4_000)
    x, y = centres[group] + rng.normal(0, 0.3, (4_000, 50)), np.zeros(4_000, dtype=int)

    def majority(noise):
        """Mean over the groups: share of a group's wrong labels that say the same class."""
        found = flip_labels(y, noise, 6, 0, x)
        counts = [np.bincount(found.y_given[found.noisy & (group == k)]) for k in range(4)]
        return np.mean([count.max() / count.sum() for count in counts])

    assert majority(InstanceDependent(0.4)) > 0.7
    assert majority(ln.Symmetric(0.4)) < 0.25


# ------------------------------------------------------------------------------------------------- subclass-dominant


@pytest.mark.parametrize(("rate", "within"), [(0.05, 0.8), (0.2, 0.8), (0.4, 0.5), (0.3, 1.0)])
def test_the_wrong_labels_of_a_class_fill_one_cluster_and_say_the_same(rate, within):
    x, y = table(9_000, width=1)  # a cluster of one feature is an interval
    found = flip_labels(y, SubclassDominant(rate, within), 3, 3, x)
    # 3,000 draws a class, 5 standard errors
    assert_close(found.rate_by_class, np.full(3, rate), atol=5 * np.sqrt(within * rate / 2_900))
    for label in range(3):
        wrong, members = x[(y == label) & found.noisy, 0], x[y == label, 0]
        inside = ((members >= wrong.min()) & (members <= wrong.max())).sum()
        assert_close(inside / members.size, rate / within, rtol=0.08)
        assert np.unique(found.y_given[(y == label) & found.noisy]).size == 1


def test_the_cluster_is_the_drawn_sample_and_those_nearest_to_it():
    x, y = table(51, n_classes=2, width=2)  # of one class an odd number
    leave, target = SubclassDominant(0.25, 0.5).draw(Features.read(x, y), 2, np.random.default_rng(2))
    rng, z = np.random.default_rng(2), (x - x.mean(0)) / x.std(0)
    for label in (0, 1):
        members = np.flatnonzero(y == label)
        assert rng.integers(1, 2) == 1
        centre = members[int(rng.random() * members.size)]
        distance = np.linalg.norm(z[members] - z[centre], axis=1)
        inside = members[np.argsort(distance)][: -(-members.size // 2)]
        expected = np.where(np.isin(members, inside), 0.5, 0.0)
        expected[np.flatnonzero(members == inside[-1])] *= 1 if members.size % 2 == 0 else 0.5
        assert_close(leave[members], expected)
        assert (target[members] == 1 - label).all()


# ------------------------------------------------------------------------------------------------------------- both


BOTH = [InstanceDependent, SubclassDominant]


@pytest.mark.parametrize("model", BOTH)
@given(rate=st.floats(0, 0.8), n=st.integers(1, 60), n_classes=st.integers(2, 5), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=60, derandomize=True)
def test_exact_flips_are_counted_and_every_flip_is_a_flip(model, rate, n, n_classes, seed):
    x, y = table(n, n_classes, 2, seed)
    rate = round(rate, 3)
    exact = flip_labels(y, model(rate, exact=True), n_classes, seed, x)
    assert exact.noisy.sum() == (round(rate * 1000) * n) // 1000
    free = flip_labels(y, model(rate), n_classes, seed, x)
    assert free.y_given.min() >= 0 and free.y_given.max() < n_classes
    order = (free.noisy | exact.noisy).sum()  # both take the smallest u against their own rate: one holds the other
    assert order == max(free.noisy.sum(), exact.noisy.sum())
    assert not flip_labels(y, model(0.0), n_classes, seed, x).noisy.any()


@pytest.mark.parametrize("model", BOTH)
def test_scale_and_shift_of_a_feature_and_a_constant_one_change_nothing(model):
    x, y = table(500)
    plain = flip_labels(y, model(0.3), 3, 4, x).y_given
    assert_close(flip_labels(y, model(0.3), 3, 4, torch.as_tensor(x * 8 - 3)).y_given, plain)
    assert_close(flip_labels(y, model(0.3), 3, 4, (x * 64).reshape(500, 2, 2)).y_given, plain)
    assert (flip_labels(y, model(0.3), 3, 5, x).y_given != plain).any()
    ones = np.full((500, 1), 0.1)
    constant = Features.read(np.hstack([x, ones]), y).of(np.arange(500))
    assert_close(constant[:, 4], np.zeros(500))


@pytest.mark.parametrize("model", BOTH)
def test_other_noise_is_as_it_was_with_features(model):
    x, y = table(200)
    assert_close(flip_labels(y, ln.Pair(0.3), 3, 4, x).y_given, flip_labels(y, ln.Pair(0.3), 3, 4).y_given)
    rng = stream(4, "flips")
    assert_close(flip_labels(y, model(0.3), 3, rng, x).y_given, flip_labels(y, model(0.3), 3, 4, x).y_given)


@pytest.mark.parametrize("model", BOTH)
def test_memory_is_that_of_one_class(model):
    n, width = 20_000, 64
    x = np.random.default_rng(0).integers(0, 255, (n, width)).astype(np.uint8)
    tracemalloc.start()
    flip_labels(np.arange(n) % 50, model(0.2), 50, 0, x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * n * width + 100 * n  # in float64 all at once it would be twice that: numbers and their squares


def test_images_of_a_data_set_are_their_own_features():
    data = ln.load_data("digits", label_noise=InstanceDependent(0.2, exact=True), seed=3)
    again = flip_labels(data.y_true, InstanceDependent(0.2, exact=True), 10, 3, data.x_train)
    assert_close(data.y_given, again.y_given)
    assert data.noisy.sum() == int(0.2 * data.y_true.size)
    cluster = ln.load_data("digits", label_noise=parse_noise("subclass:0.2"), seed=3)
    assert all(np.unique(cluster.y_given[cluster.noisy & (cluster.y_true == k)]).size == 1 for k in range(10))
    assert_close(data.x_train, cluster.x_train)


def test_words():
    assert parse_noise("instance:0.2") == InstanceDependent(0.2, 0.1)
    assert parse_noise("instance:0.2,0.05:exact") == InstanceDependent(0.2, 0.05, exact=True)
    assert parse_noise("subclass:0.2") == SubclassDominant(0.2, 0.8)
    assert parse_noise("subclass:0.4,0.5:exact") == SubclassDominant(0.4, 0.5, exact=True)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, y: flip_labels(y, InstanceDependent(0.2), 3, 0), "needs `features`, got None"),
        (
            lambda x, y: flip_labels(y, SubclassDominant(0.2), 3, 0, x[:-1]),
            r"one row for each of the 60 samples, got f",
        ),
        (lambda x, y: flip_labels(y, SubclassDominant(0.2), 3, 0, x[:, 0]), "table of numbers with one row"),
        (lambda x, y: flip_labels(y, SubclassDominant(0.2), 3, 0, [["a"]] * 60), "encode texts and categories"),
        (lambda x, y: flip_labels(y, SubclassDominant(0.2), 3, 0, x * np.nan), "must be finite, got NaN"),
        (lambda x, y: flip_labels(y, InstanceDependent(0.2), 3, 0, x * 1e200), "must be finite"),
        (lambda x, y: InstanceDependent(1.2), "`rate` must be a probability"),
        (lambda x, y: InstanceDependent(0.2, 0.0), "`spread` must be a finite number > 0"),
        (lambda x, y: InstanceDependent(0.2, 3), "`spread` must be a probability"),
        (
            lambda x, y: SubclassDominant(0.9),
            "`within` must lie above 0 and be at least the rate 0.9, got 0.8; use.*0.9",
        ),
        (lambda x, y: SubclassDominant(0.0, 0.0), "`within` must lie above 0"),
        (lambda x, y: flip_labels(np.zeros(60, int), InstanceDependent(0.2), 1, 0, x), "needs two classes or more"),
        (lambda x, y: flip_labels(np.zeros(60, int), SubclassDominant(0.2), 1, 0, x), "needs two classes or more"),
        (lambda x, y: ln.SignalNoise(n=4, d=9, m=1, label_noise=InstanceDependent(0.2)), "label_noise"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ln.InputError, match=message):
        call(*table(60))
