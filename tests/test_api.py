"""What `momentc.compress` and `momentc.verify_moments` refuse, from Python."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import momentc
from momentc import compress
from momentc.errors import InputError, UsageError

POINTS = np.random.default_rng(0).normal(size=(500, 3))


def test_masked_entries_are_refused_not_counted() -> None:
    masked = np.ma.masked_array(POINTS, mask=np.zeros(POINTS.shape, dtype=bool))
    assert len(momentc.compress(masked, k=2, target=50)) == 50, "nothing is masked"
    masked[::2] = np.ma.masked
    with pytest.raises(InputError, match="X has masked entries"):
        momentc.compress(masked, k=2, target=50)
    with pytest.raises(InputError, match="X has masked entries"):
        momentc.MomentCompressor(2, 50).partial_fit(masked)
    weights = np.ma.masked_less(np.arange(500.0), 10.0)
    with pytest.raises(InputError, match="weights has masked entries"):
        momentc.compress(POINTS, k=2, target=50, weights=weights)
    kept = momentc.compress(POINTS, k=2, target=50)
    with pytest.raises(InputError, match="points has masked entries"):
        momentc.verify_moments(masked, kept, k=2)


@pytest.mark.parametrize("columns", [[0, 1], [0, 1, 2, 0], 0])
def test_only_what_has_the_same_columns_is_compared(columns: list[int] | int) -> None:
    kept = momentc.compress(POINTS, k=2, target=50)
    assert momentc.verify_moments(POINTS, kept, k=2).ok
    with pytest.raises(InputError, match="have 3 columns"):
        momentc.verify_moments(POINTS[:, columns], kept, k=2)


def test_a_compressed_set_is_expected() -> None:
    with pytest.raises(UsageError, match="compressed is a ndarray"):
        momentc.verify_moments(POINTS, POINTS[:50], k=2)  # type: ignore[arg-type]


def test_many_columns() -> None:
    """More than Python's calls may be deep."""
    points = np.random.default_rng(1).normal(size=(1500, 1200))
    kept = momentc.compress(points, k=1, target=1250, effort="low")
    assert len(kept) == 1250
    assert np.abs(kept.weights @ kept.points.astype(np.float64) - points.sum(axis=0)).max() < 1e-9


def test_arguments_of_another_kind() -> None:
    points = np.random.default_rng(4).normal(size=(50, 2))
    kept = momentc.compress(points, 1, 10)
    with pytest.raises(InputError, match="X is no array of numbers"):
        momentc.compress([[1.0, 2.0], [3.0]], 1, 2)
    for k in (1.5, True, "2"):
        with pytest.raises(UsageError, match="k must be an integer"):
            momentc.verify_moments(points, kept, k)  # type: ignore[arg-type]


def test_a_changed_column_that_carries_no_moments_is_seen() -> None:
    x = np.random.default_rng(0).normal(size=(3000, 2))
    points = np.column_stack([x, x.sum(axis=1), np.full(3000, 5.0)])
    kept = momentc.compress(points, 3, 100)
    assert momentc.verify_moments(points, kept, 3).ok
    for column in range(4):
        changed = kept.points.copy()
        changed[3, column] += 1e-3
        other = momentc.WeightedSet(changed, kept.weights, kept.index)
        assert not momentc.verify_moments(points, other, 3).ok


def test_distinct_rows_are_counted_where_all_are_kept() -> None:
    assert momentc.MomentCompressor(2, 30).fit(np.ones((30, 4))).result_.n_distinct == 1


def test_the_order_that_was_asked_for_is_the_one_that_is_verified() -> None:
    points = np.random.default_rng(5).normal(size=(3000, 3))
    kept = momentc.compress(points, 2, 40, effort="low")
    assert momentc.verify_moments(points, kept).ok
    assert momentc.verify_moments(points, kept).k == 2
    assert not momentc.verify_moments(points, kept, 5).ok
    other = momentc.WeightedSet(kept.points, kept.weights, kept.index)
    with pytest.raises(UsageError, match="does not say its order"):
        momentc.verify_moments(points, other)


def test_weights_in_the_place_of_y_are_refused() -> None:
    points = np.random.default_rng(6).normal(size=(100, 2))
    for fit in (momentc.MomentCompressor(1, 10).fit, momentc.MomentCompressor(1, 10).partial_fit):
        with pytest.raises(UsageError, match="weights are sample_weight="):
            fit(points, np.ones(100))


class Frame:
    """As much of a data frame as is asked for."""

    columns = ("age", "name")

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        return np.array([[1.5, "a"], [2.5, "b"]], dtype=object)

    def __getitem__(self, column: str) -> list[object]:
        return [1.5, 2.5] if column == "age" else ["a", "b"]


def test_what_is_no_array_of_numbers_is_named() -> None:
    with pytest.raises(InputError, match=r"not plain numbers of one type: column name\. Take"):
        momentc.compress(Frame(), k=1, target=10)
    odd = Frame()
    for columns in (len, [[1.0], [2.0]], 3):
        odd.columns = columns  # type: ignore[assignment]
        with pytest.raises(InputError, match=r"of one type"):
            momentc.compress(odd, k=1, target=10)
    with pytest.raises(InputError, match=r"of one type\. Take"):
        momentc.compress(np.array([[None, 1.0]]), k=1, target=10)
    with pytest.raises(InputError, match="weights are a single number; expected one for each row"):
        momentc.compress(POINTS, k=1, target=10, weights=1.0)
    for state in (None, np.random.default_rng(0), True):
        with pytest.raises(UsageError, match=r"random_state must be an integer, got"):
            momentc.compress(POINTS, k=1, target=10, random_state=state)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"X\[np.isfinite\(X\).all\(axis=1\)\] in Python"):
        momentc.compress(np.where(POINTS > 2.0, np.nan, POINTS), k=1, target=10)


def test_results_are_shown_in_a_line() -> None:
    compressor = momentc.MomentCompressor(2, 50, effort="low").fit(POINTS)
    kept = compressor.compressed_
    assert repr(kept) == ("<WeightedSet: 50 points in 3 columns of float64, total weight 500, k=2>")
    shown = repr(compressor.result_)
    assert shown.startswith("<Compression: 500 -> 50 points, k=2 (kept to order 2), rank 3, moment")
    assert shown.endswith(", ok>")
    shown = repr(momentc.verify_moments(POINTS, kept))
    assert shown.startswith("<MomentComparison: 500 and 50 points, k=2, rank 3, moment error ")
    assert repr(momentc.verify_moments(POINTS + 1.0, kept)).endswith(", FAILED>")


def test_parameters_as_scikit_learn_wants_them() -> None:
    compressor = momentc.MomentCompressor(3, 200, effort="low")
    again = momentc.MomentCompressor(**compressor.get_params())
    assert repr(again) == repr(compressor)
    assert "k=3, target=200, random_state=0" in repr(again)
    assert again.set_params(k=4).k == 4
    with pytest.raises(UsageError, match="no parameter 'n_clusters'"):
        again.set_params(n_clusters=8)
    with pytest.raises(UsageError):
        again.set_params(k=2.5).fit(np.ones((5, 2)))


@pytest.mark.parametrize("tolerance", [0, 1, 7.0, -1e-3, np.nan, "1e-9", None])
def test_a_tolerance_that_is_none(tolerance: Any) -> None:
    """7 would let everything pass, and NaN nothing."""
    points = np.random.default_rng(0).normal(size=(50, 2))
    kept = compress(points, k=2, target=10)
    with pytest.raises(UsageError, match="tolerance must be between 0 and 1"):
        momentc.verify_moments(points, kept, tolerance=tolerance)
    with pytest.raises(UsageError, match="tolerance must be between 0 and 1"):
        compress(points, k=2, target=10, tolerance=tolerance)


@pytest.mark.parametrize("target", [np.array(10), np.array([10]), 10.0, np.True_, "10"])
def test_a_target_that_is_no_integer(target: Any) -> None:
    with pytest.raises(UsageError, match="target must be an integer"):
        compress(np.zeros((50, 2)), k=1, target=target)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("exponent", [19, 5000])
@pytest.mark.parametrize("name", ["k", "target", "random_state"])
def test_integers_that_nobody_can_print(name: str, exponent: int, sign: int) -> None:
    options: dict[str, Any] = {name: sign * 10**exponent}
    with pytest.raises(UsageError, match=rf"must be .*, got about -?1e{exponent}"):
        compress(np.zeros((50, 2)), **options)


def test_integers_of_numpy_do_not_overflow() -> None:
    """4 x 200 is 32 in eight bits."""
    points = np.random.default_rng(0).normal(size=(5000, 2))
    options: dict[str, Any] = {
        "k": np.uint8(3), "target": np.uint8(200), "random_state": np.int8(7),
        "tolerance": np.float32(1e-10),
    }  # fmt: skip
    small = compress(points, **options)
    plain = compress(points, k=3, target=200, random_state=7)
    assert small.points.tobytes() == plain.points.tobytes()
    assert small.weights.tobytes() == plain.weights.tobytes()
    few: Any = np.uint8(3)
    assert momentc.verify_moments(points, small, few).ok


class MixedFrame:
    """As a data frame of pandas: columns of types of their own, one type for all as an array."""

    def __init__(self, **columns: NDArray[Any]) -> None:
        self._columns = columns
        self.columns = list(columns)
        self.iloc = self

    def __getitem__(self, key: Any) -> NDArray[Any]:
        return self._columns[self.columns[key[1]] if isinstance(key, tuple) else key]

    def __array__(self, dtype: Any = None, copy: Any = None) -> NDArray[Any]:
        return np.column_stack(list(self._columns.values()))


def test_columns_of_integers_that_a_data_frame_rounds() -> None:
    """Among columns of float64 they come as such: the kept rows would be others."""
    values = np.random.default_rng(0).normal(size=100)
    few, many = np.arange(100), np.arange(100) + 2**60
    assert len(compress(MixedFrame(a=values, b=few), k=1, target=10)) == 10
    with pytest.raises(InputError, match="X: column b holds integers that float64"):
        compress(MixedFrame(a=values, b=many), k=1, target=10)
    with pytest.raises(InputError, match="column b holds"):
        compress(MixedFrame(a=values, b=np.full(100, 2**63 - 1)), k=1, target=10)


def test_what_numpy_cannot_take() -> None:
    class Tracked:
        def __array__(self, dtype: Any = None, copy: Any = None) -> NDArray[Any]:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad")

    with pytest.raises(InputError, match="X is no array of numbers: Can't call"):
        compress(Tracked(), k=1, target=10)


def test_what_scikit_learn_asks() -> None:
    pytest.importorskip("sklearn")
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.utils.validation import check_is_fitted

    points = np.random.default_rng(0).normal(size=(400, 2))
    check_is_fitted(momentc.MomentCompressor(2, 50).fit(points))
    pipe = make_pipeline(StandardScaler(), momentc.MomentCompressor(2, 50))
    assert "MomentCompressor" in pipe._repr_html_()
    search = GridSearchCV(
        momentc.MomentCompressor(2, 50), {"k": [1, 2]}, scoring=lambda est, X, y=None: -est.k
    )
    assert search.fit(points).best_params_ == {"k": 1}


def test_row_numbers_of_the_full_result_count_rows_of_weight_0() -> None:
    weights = np.ones(len(POINTS))
    weights[:7] = weights[100:140] = 0.0
    whole = momentc.MomentCompressor(2, 50).fit(POINTS, sample_weight=weights)
    in_batches = momentc.MomentCompressor(2, 50)
    for rows in (slice(0, 300), slice(300, 500)):
        in_batches.partial_fit(POINTS[rows], sample_weight=weights[rows])
    for done in (whole, in_batches.finalize()):
        assert done.result_.support is done.compressed_
        support = done.result_.support
        assert np.array_equal(support.points, POINTS[support.index])
        assert np.all(weights[support.index] > 0.0)
