"""What counts as rounding: the values that the docstrings promise."""

import pytest

from momentc.tolerances import EPS, dependence_tolerance, most_growth


@pytest.mark.parametrize(("k", "growth"), [(5, 7.7605), (2, 167.772)])
def test_the_growth_up_to_which_a_column_may_drop_out(k: int, growth: float) -> None:
    """What rounding leaves of the kept columns stays below 1e-10 in the others."""
    assert most_growth(k) == pytest.approx(growth, rel=1e-4)
    assert 16.0 * EPS * most_growth(k) ** k == pytest.approx(1e-10, rel=1e-9, abs=0.0)


@pytest.mark.parametrize(
    ("norm", "k", "tolerance"),
    [(0.0, 5, 8 * EPS), (1.0, 2, 16 * EPS), (1e4, 1, 5e-13), (1e4, 5, 1e-13), (1e4, 0, 5e-13)],
)
def test_the_residual_up_to_which_a_column_depends_on_others(
    norm: float, k: int, tolerance: float
) -> None:
    """The rounding of a combination, and never more than 1e-12 in a moment of order k."""
    assert dependence_tolerance(norm, k) == pytest.approx(tolerance, rel=1e-12, abs=0.0)
