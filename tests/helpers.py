"""Shared by the tests."""

import numpy as np


def assert_close(actual, expected, rtol=1e-12, atol=0.0):
    """Equal shapes, finite values, and |actual - expected| <= atol + rtol |expected| everywhere."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, f"shapes {actual.shape} and {expected.shape} differ"
    assert actual.dtype.kind == expected.dtype.kind, f"dtypes {actual.dtype} and {expected.dtype} differ"
    assert np.isfinite(expected).all(), "the expected values are not finite"
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol)
