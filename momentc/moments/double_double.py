"""Arithmetic on unevaluated sums of two float64, about 106 bits: for sums that must not round.

A number is a pair ``high + low`` with ``|low| <= ulp(high) / 2``. The algorithms are the standard
ones (Dekker 1971; Knuth, The Art of Computer Programming 2, 4.2.2; Hida, Li and Bailey 2001). They
hold because kernels are compiled without fastmath: no operation is reordered, none contracted.
"""

from momentc.jit import kernel

__all__ = ["add", "divide", "multiply", "two_product", "two_sum"]

# 2^27 + 1 splits a float64 into two halves of 26 bits.
SPLITTER = 134217729.0


@kernel
def two_sum(a, b):  # type: ignore[no-untyped-def]
    """Return the rounded sum and what the rounding took."""
    total = a + b
    shadow = total - a
    return total, (a - (total - shadow)) + (b - shadow)


@kernel
def two_product(a, b):  # type: ignore[no-untyped-def]
    """Return the rounded product and what the rounding took; |a|, |b| <= 2^996."""
    product = a * b
    split = SPLITTER * a
    a_high = split - (split - a)
    a_low = a - a_high
    split = SPLITTER * b
    b_high = split - (split - b)
    b_low = b - b_high
    return product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


@kernel
def add(a, a_low, b, b_low):  # type: ignore[no-untyped-def]
    """Return the sum of two pairs."""
    high, error = two_sum(a, b)
    low, rest = two_sum(a_low, b_low)
    high, error = two_sum(high, error + low)
    return two_sum(high, error + rest)


@kernel
def multiply(a, a_low, b, b_low):  # type: ignore[no-untyped-def]
    """Return the product of two pairs."""
    high, low = two_product(a, b)
    return two_sum(high, low + (a * b_low + a_low * b))


@kernel
def divide(a, a_low, b):  # type: ignore[no-untyped-def]
    """Return a pair divided by a float64."""
    first = a / b
    product, error = two_product(first, b)
    rest, rest_low = add(a, a_low, -product, -error)
    second = rest / b
    product, error = two_product(second, b)
    rest, rest_low = add(rest, rest_low, -product, -error)
    high, low = two_sum(first, second)
    return add(high, low, rest / b, 0.0)
