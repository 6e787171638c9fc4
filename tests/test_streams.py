"""Named random streams: many seeds at once give what NumPy gives each, to the bit."""

import numpy as np
import pytest

from labelnoise.arrays import STREAMS, _hashed, stream, streams
from labelnoise.errors import InputError

EDGES = [0, 1, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**63 - 1]


def test_many_seeds_are_hashed_as_numpy_hashes_each():
    seeds = EDGES + np.random.default_rng(0).integers(2**63, size=200).tolist()
    for key in (*range(len(STREAMS)), 2**16, 2**32 - 1):
        each = [np.random.SeedSequence(seed, spawn_key=(key,)).generate_state(4, np.uint64) for seed in seeds]
        np.testing.assert_array_equal(_hashed(seeds, key), each)


def test_a_generator_of_many_is_that_of_its_seed():
    seeds = EDGES + list(range(2, 1000)) + np.random.default_rng(1).integers(2**63, size=1000).tolist()
    for seed, ours in zip(seeds, streams(seeds, "data"), strict=True):
        assert ours.bit_generator.state == stream(seed, "data").bit_generator.state
    for seed, ours in zip(EDGES, streams(EDGES, "flips"), strict=True):  # what one leaves behind is not the next one's
        theirs = stream(seed, "flips")
        assert (
            ours.integers(5, size=3, dtype=np.uint32).tolist() == theirs.integers(5, size=3, dtype=np.uint32).tolist()
        )
        assert ours.standard_normal() == theirs.standard_normal()


@pytest.mark.parametrize("seed", [-1, True, 1.5, "1", 2**63])
def test_a_seed_among_many_is_checked_like_one(seed):
    with pytest.raises(InputError, match="`seed` must be") as of_one:
        stream(seed, "data")
    with pytest.raises(InputError) as of_many:
        list(streams([0, seed], "data"))
    assert str(of_many.value) == str(of_one.value)
