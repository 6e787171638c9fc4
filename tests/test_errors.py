"""Words that messages and pages share."""

import pytest

from labelnoise.errors import counted


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 runs"), (1, "1 run"), (2, "2 runs"), (1_000_001, "1,000,001 runs")]
)
def test_a_number_of_things_has_its_plural(number, words):
    assert counted(number, "run") == words
