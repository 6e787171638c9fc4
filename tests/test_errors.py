"""Words that messages and pages share."""

import pytest

from labelnoise.arrays import amount
from labelnoise.errors import counted


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 runs"), (1, "1 run"), (2, "2 runs"), (1_000_001, "1,000,001 runs")]
)
def test_a_number_of_things_has_its_plural(number, words):
    assert counted(number, "run") == words


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (999_499, "999 kB"),
        (999_600, "1 MB"),
        (12_345, "12.3 kB"),
        (2e15, "2e+03 TB"),
    ],
)
def test_an_amount_of_memory_has_three_digits_and_the_unit_that_they_round_to(size, words):
    assert amount(size) == words
