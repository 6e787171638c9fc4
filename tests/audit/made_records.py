"""Records with a known truth, made in milliseconds: what a training leaves, without one."""

import numpy as np

import labelnoise as ln


def labels(n, n_classes, rate, seed=0):
    """True and given labels; a wrong one is any other class."""
    rng = np.random.default_rng(seed)
    true = rng.integers(n_classes, size=n)
    noisy = rng.random(n) < rate
    given = np.where(noisy, (true + rng.integers(1, n_classes, size=n)) % n_classes, true)
    return true, given


def two_stages(n=1000, n_classes=4, rate=0.2, epochs=20, seed=0, held_out=0.2, hard=0.1, flips=None):
    """A recorder, truth and held-out mask: Stage I ends at half of the epochs, then wrong labels are memorised.

    Held-out samples are never memorised; a share `hard` of the samples is one that the network is unsure of.
    """
    rng = np.random.default_rng(seed + 1)
    true, given = labels(n, n_classes, rate, seed) if flips is None else flips
    outside = rng.random(n) < held_out
    ease = np.where(rng.random(n) < hard, rng.normal(0, 1, n), rng.normal(4, 1, n))
    recorder, everyone = ln.Recorder(n, n_classes), np.arange(n)
    for epoch in range(1, epochs + 1):
        logits = rng.normal(0, 0.3, (n, n_classes))
        logits[everyone, true] += ease * min(1, epoch / 3)
        memorised = max(0, epoch - epochs // 2) * ~outside
        logits[everyone, given] += 2.0 * memorised
        logits[outside] *= 1 + 0.4 * max(0, epoch - epochs // 2)  # surer than it may be: its held-out loss rises
        recorder.update(everyone, logits, given)
        recorder.end_epoch()
    return recorder, true, outside


def average_precision(score, noisy):
    hits = noisy[np.argsort(-score, kind="stable")]
    return (np.cumsum(hits) / np.arange(1, hits.size + 1))[hits].mean()


def f1(flagged, noisy):
    return 2 * (flagged & noisy).sum() / (flagged.sum() + noisy.sum())
