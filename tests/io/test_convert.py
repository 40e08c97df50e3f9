"""The policy for numbers: what float64 takes, what is refused, what is dropped and counted."""

from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from momentc.errors import InputError, UsageError
from momentc.files.work import Counts
from momentc.io.base import ArraySource
from momentc.io.convert import LoadedPoints, float64_blocks, load_points, select_columns
from momentc.io.numeric import inexact_mask, to_float64
from momentc.io.source import open_source


def test_plain_numbers(points: NDArray[np.float64]) -> None:
    loaded = load_points(ArraySource(points))
    assert np.array_equal(loaded.points, points)
    assert loaded.points.dtype == np.float64
    assert loaded.points.flags.c_contiguous
    assert np.array_equal(loaded.weights, np.ones(1000))
    assert np.array_equal(loaded.index, np.arange(1000))
    assert loaded.index.dtype == np.int64
    assert (loaded.n_dropped_nan, loaded.n_zero_weight, loaded.n_lossy) == (0, 0, 0)


@pytest.mark.parametrize("dtype", ["?", "i1", ">i2", "u4", "<f2", ">f2", ">f4", ">f8", "i8", ">u8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_type_equals_its_float64_copy(dtype: str, order: Any) -> None:
    rng = np.random.default_rng(1)
    array = np.asarray((rng.uniform(size=(500, 3)) * 120).astype(dtype), order=order)
    loaded = load_points(ArraySource(array))
    assert np.array_equal(loaded.points, load_points(ArraySource(array.astype("f8"))).points)
    assert loaded.points.dtype == np.dtype("=f8")
    assert loaded.points.flags.c_contiguous


@pytest.mark.parametrize("dtype", ["?", ">i2", "u4", "<f2", ">f4", "f8", ">f8", "i8", "g"])
@pytest.mark.parametrize("weighted", [None, "positive", "zeros"])
def test_an_array_loaded_at_once_is_what_its_blocks_are(dtype: str, weighted: str | None) -> None:
    rng = np.random.default_rng(1)
    array = (rng.uniform(size=(700, 3)) * 120).astype(dtype)
    weights = None if weighted is None else rng.uniform(1, 2, size=700)
    if weights is not None and weighted == "zeros":
        weights[::7] = 0
    in_blocks = load_points(ArraySource(array, weights))  # hashed: they pass by in blocks
    seen: list[int] = []
    at_once = load_points(ArraySource(array, weights, hashed=False), on_rows=seen.append)
    for name in LoadedPoints.__slots__:
        expected, found = getattr(in_blocks, name), getattr(at_once, name)
        assert np.array_equal(expected, found), name
        if isinstance(found, np.ndarray):
            assert found.dtype == expected.dtype
            assert found.flags.c_contiguous
            assert found.flags.writeable
    assert seen[-1] == 700


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("step", [1, 2])
def test_what_was_loaded_is_no_view_of_the_array(order: Any, step: int) -> None:
    whole = np.asarray(np.random.default_rng(2).uniform(size=(60, 4)), order=order)
    array, weights = whole[:, ::step], np.linspace(1, 2, 60)
    before = array.copy()
    loaded = load_points(ArraySource(array, weights, hashed=False))
    array[:], weights[:] = -1.0, 7.0  # the caller fills it with the next batch
    assert np.array_equal(loaded.points, before)
    assert loaded.points.flags.c_contiguous
    assert np.array_equal(loaded.weights, np.linspace(1, 2, 60))


@pytest.mark.parametrize("columns", [[2, 0], [0, 1], [0, 1, 2], [2, 1, 0], [1, 2, 0]])
def test_chosen_columns_of_an_array_in_memory(columns: list[int]) -> None:
    array = np.arange(12.0).reshape(4, 3)
    loaded = load_points(ArraySource(array, hashed=False), columns=np.array(columns))
    assert np.array_equal(loaded.points, array[:, columns])


@pytest.mark.parametrize("hashed", [True, False])
def test_integers_that_float64_rounds_are_noticed_in_an_array(hashed: bool) -> None:
    source = ArraySource(np.array([[1, 2], [3, 2**53 + 1]]), hashed=hashed)
    with pytest.raises(InputError, match="row 1, column 1"):
        load_points(source)
    assert load_points(source, allow_lossy=True).n_lossy == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("hashed", [True, False])
def test_a_bad_value_anywhere_in_an_array_is_found(
    bad: float, hashed: bool, message_of: Callable[..., str]
) -> None:
    for place in range(12):
        array = np.linspace(-1.0, 1.0, 12).reshape(4, 3)
        array.flat[place] = bad
        source = ArraySource(array, name="x", hashed=hashed)
        message = message_of(InputError, lambda source=source: load_points(source))
        assert f"row {place // 3}, column {place % 3} of x is {bad}" in message
        kept = load_points(source, nan="drop")
        assert kept.n_dropped_nan == 1
        assert kept.index.tolist() == [row for row in range(4) if row != place // 3]


def test_float16_is_widened_before_anything_is_computed() -> None:
    array = np.full((4, 2), 60000.0, dtype="f2")
    squares = load_points(ArraySource(array)).points ** 2
    assert np.array_equal(squares, array.astype("f8") ** 2)
    assert np.isfinite(squares).all()


def test_extreme_but_finite_numbers_pass() -> None:
    array = np.array([[1e39, 1e-300], [-1.7e308, 5e-324], [0.0, -0.0]])
    assert np.array_equal(load_points(ArraySource(array)).points, array)


def test_duplicates_and_constant_columns_pass() -> None:
    array = np.ones((100, 3))
    assert load_points(ArraySource(array)).points.shape == (100, 3)
    weights = np.full(100, 0.01)  # summing to 1
    assert load_points(ArraySource(array, weights)).weights.sum() == pytest.approx(1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, 99, 100, 777, 999])
def test_one_bad_value_is_named(
    bad: float, row: int, points: NDArray[np.float64], message_of: Callable[..., str]
) -> None:
    points[row, 1] = bad
    source = ArraySource(points, name="data.h5:/x")
    message = message_of(InputError, lambda: list(float64_blocks(source, rows_per_block=100)))
    assert f"row {row}, column 1 of data.h5:/x is {bad}" in message
    assert "(1 row in all;" in message
    assert "--nan drop" in message
    assert message == message_of(InputError, lambda: load_points(source))


def test_all_bad_rows_are_counted_and_the_first_is_named(
    points: NDArray[np.float64], message_of: Callable[..., str]
) -> None:
    points[123, 2] = np.nan
    points[123, 0] = np.inf
    points[400:416, :] = np.nan
    source = ArraySource(points, name="x.npy")
    for rows_per_block in (1, 7, 1000):
        message = message_of(
            InputError, lambda n=rows_per_block: list(float64_blocks(source, rows_per_block=n))
        )
        assert "row 123, column 0 of x.npy is inf" in message
        assert "(17 rows in all;" in message


def test_columns_are_named_as_in_the_file_and_others_are_not_judged(
    points: NDArray[np.float64], message_of: Callable[..., str]
) -> None:
    points[5, 2] = np.nan
    source = ArraySource(points)
    columns = np.array([2, 0])
    message = message_of(InputError, lambda: load_points(source, columns=columns))
    assert "row 5, column 2" in message
    loaded = load_points(source, columns=np.array([1, 0]))
    assert np.array_equal(loaded.points, points[:, [1, 0]])
    assert loaded.points.flags.c_contiguous


def test_nothing_comes_after_a_bad_block(points: NDArray[np.float64]) -> None:
    points[250, 0] = np.nan
    blocks = float64_blocks(ArraySource(points), rows_per_block=100)
    assert [next(blocks).stop, next(blocks).stop] == [100, 200]
    rest: list[int] = []
    with pytest.raises(InputError, match="row 250"):
        rest.extend(len(block.points) + len(block.weights) + len(block.raw) for block in blocks)
    assert not any(rest)


def test_bad_rows_can_be_dropped(points: NDArray[np.float64]) -> None:
    points[[0, 10, 999], [0, 1, 2]] = np.nan
    loaded = load_points(ArraySource(points), nan="drop")
    keep = np.setdiff1d(np.arange(1000), [0, 10, 999])
    assert loaded.n_dropped_nan == 3
    assert np.array_equal(loaded.index, keep)
    assert np.array_equal(loaded.points, points[keep])


def test_no_row_is_left(message_of: Callable[..., str]) -> None:
    source = ArraySource(np.full((3, 2), np.nan))
    message = message_of(InputError, lambda: load_points(source, nan="drop"))
    assert "none of 3 rows is left: 3 hold a value that is not finite" in message
    array = np.array([[np.nan], [1.0]])
    source = ArraySource(array, weights=np.array([1.0, 0.0]))
    message = message_of(InputError, lambda: load_points(source, nan="drop"))
    assert "1 hold a value that is not finite, 1 have the weight 0" in message


BIG = 2**53


@pytest.mark.parametrize(
    ("values", "dtype", "n_lossy"),
    [
        ([BIG, -BIG, 0], "i8", 0),
        ([BIG + 1, 3], "i8", 1),
        ([-BIG - 1, 3], ">i8", 1),
        ([BIG + 2, 2**60, 2**62], "i8", 0),  # even enough to be exact
        ([2**63 - 1, -(2**63), -(2**63) + 1], "i8", 2),
        ([BIG, 2**63], "u8", 0),
        ([2**64 - 1, 2**64 - 2048, BIG + 1], "u8", 2),
        ([2**64 - 1], ">u8", 1),
    ],
)
def test_integers_that_float64_rounds(
    values: list[int], dtype: str, n_lossy: int, message_of: Callable[..., str]
) -> None:
    array = np.array(values, dtype=dtype).reshape(-1, 1)
    source = ArraySource(array, name="x.npy")
    if n_lossy == 0:
        assert [int(value) for value in load_points(source).points[:, 0]] == values
        return
    first = next(value for value in values if int(np.float64(value)) != value)
    message = message_of(InputError, lambda: load_points(source))
    assert f"row {values.index(first)}, column 0 of x.npy is {first}" in message
    assert f"({n_lossy} value{'s' if n_lossy > 1 else ''} in all" in message
    assert "--allow-lossy" in message
    loaded = load_points(source, allow_lossy=True)
    assert loaded.n_lossy == n_lossy
    assert Counts.of(loaded).notes("x.npy") == [
        f"x.npy: {n_lossy} values are not exact in float64 and were rounded"
    ]
    assert np.array_equal(loaded.points, array.astype("f8"))


@given(
    hnp.arrays(
        st.sampled_from([np.dtype("i8"), np.dtype("u8"), np.dtype(">i8"), np.dtype(">u8")]),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=4),
    )
)
def test_inexact_integers_against_python(array: NDArray[Any]) -> None:
    mask = inexact_mask(array, to_float64(array))
    expected = [[int(float(int(value))) != int(value) for value in row] for row in array]
    assert np.array_equal(np.zeros(array.shape, bool) if mask is None else mask, expected)


def test_long_doubles(message_of: Callable[..., str]) -> None:
    exact = np.array([[0.5, -2.0], [1e300, 0.0]], dtype=np.longdouble)
    assert np.array_equal(load_points(ArraySource(exact)).points, exact.astype("f8"))
    finer = exact + np.longdouble(2) ** -60
    message = message_of(InputError, lambda: load_points(ArraySource(finer)))
    assert "(2 values in all" in message  # the large ones do not notice
    loaded = load_points(ArraySource(finer), allow_lossy=True)
    assert np.array_equal(loaded.points, finer.astype("f8"))
    assert loaded.n_lossy == 2


def test_long_doubles_beyond_float64(message_of: Callable[..., str]) -> None:
    array = np.array([[1.0], [2.0]], dtype=np.longdouble)
    array[1] = np.longdouble("1e4000")
    source = ArraySource(array)
    for allow_lossy in (False, True):
        message = message_of(
            InputError, lambda lossy=allow_lossy: load_points(source, allow_lossy=lossy)
        )
        assert "row 1, column 0 of array is 1e+4000, not a finite float64" in message


@pytest.mark.parametrize("dtype", ["f8", ">f4", "f2", "i4", "?", "longdouble"])
def test_weights_of_every_type(dtype: str) -> None:
    weights = np.array([1, 0, 1, 1], dtype=dtype)
    loaded = load_points(ArraySource(np.arange(8.0).reshape(4, 2), weights))
    assert loaded.weights.dtype == np.float64
    assert loaded.weights.tolist() == [1.0, 1.0, 1.0]
    assert loaded.index.tolist() == [0, 2, 3]
    assert loaded.n_zero_weight == 1


def test_zero_weights_are_dropped_and_counted(points: NDArray[np.float64]) -> None:
    weights = np.arange(1000.0) % 3
    weights[7] = -0.0
    loaded = load_points(ArraySource(points, weights))
    keep = np.flatnonzero(weights > 0)
    assert loaded.n_zero_weight == 1000 - len(keep)
    assert np.array_equal(loaded.index, keep)
    assert np.array_equal(loaded.points, points[keep])
    assert np.array_equal(loaded.weights, weights[keep])


def test_a_row_is_counted_once(points: NDArray[np.float64]) -> None:
    weights = np.ones(1000)
    weights[:10] = 0
    points[5:15, 0] = np.nan
    loaded = load_points(ArraySource(points, weights), nan="drop")
    assert (loaded.n_dropped_nan, loaded.n_zero_weight) == (10, 5)
    assert len(loaded.index) == 985


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0, -1e-300, -2.0], "weights of x: row 1 is -1e-300, which is negative (2 in all)"),
        ([1.0, 2.0, -5], "weights of x: row 2 is -5.0, which is negative (1 in all)"),
        ([np.nan, 1.0, np.nan], "weights of x: row 0 is nan, which is not finite (2 in all)"),
        ([1.0, np.inf, -1.0], "weights of x: row 1 is inf, which is not finite"),
        ([0.0, 0.0, -0.0], "weights of x: all 3 are 0, expected a sum above 0"),
        ([1.5e308, 1.5e308, 1.0], "weights of x: their sum is beyond float64"),
        ([2**53 + 1, 1, 1], "row 0 is 9007199254740993, which is not exact in float64"),
    ],
)
def test_weights_that_are_none(
    weights: list[float], message: str, message_of: Callable[..., str]
) -> None:
    source = ArraySource(np.ones((3, 2)), np.array(weights), name="x")
    assert message in message_of(InputError, lambda: load_points(source))


@pytest.mark.parametrize("n_weights", [2, 4])
def test_weights_of_another_length(n_weights: int, message_of: Callable[..., str]) -> None:
    message = message_of(InputError, lambda: ArraySource(np.ones((3, 2)), np.ones(n_weights)))
    assert f"{n_weights} values" in message
    assert "3 rows" in message


@pytest.mark.parametrize(("smallest", "warns"), [(1e-15, False), (0.9e-15, True), (1e-300, True)])
def test_a_huge_ratio_of_weights_is_a_warning(smallest: float, warns: bool) -> None:
    loaded = load_points(ArraySource(np.ones((3, 2)), np.array([1.0, 0.0, smallest])))
    ratio, *others = Counts.of(loaded).notes("x") if warns else [""]
    assert ("a ratio above 1e+15" in ratio) == warns
    assert len(others) == int(warns)  # one row weighs nothing
    extreme = load_points(ArraySource(np.ones((2, 2)), np.array([1e300, 5e-324])))
    assert len(Counts.of(extreme).notes("x")) == 1


def test_progress_is_told(points: NDArray[np.float64], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("momentc.io.convert.LOAD_BLOCK_BYTES", 24 * 300)
    seen: list[int] = []
    load_points(ArraySource(points), on_rows=seen.append)
    assert seen == [300, 600, 900, 1000]


def test_blocks_put_together_are_the_whole(points: NDArray[np.float64]) -> None:
    weights = np.arange(1000.0) % 3
    points[::50, 1] = np.nan
    source = ArraySource(points, weights)
    whole = load_points(source, nan="drop")
    for rows_per_block in (1, 33, 1000, 10**12):
        blocks = list(float64_blocks(source, nan="drop", rows_per_block=rows_per_block))
        assert np.array_equal(np.concatenate([block.points for block in blocks]), whole.points)
        assert np.array_equal(np.concatenate([block.weights for block in blocks]), whole.weights)
        assert np.array_equal(np.concatenate([block.index for block in blocks]), whole.index)
        assert sum(block.n_dropped_nan for block in blocks) == whole.n_dropped_nan
        assert sum(block.n_zero_weight for block in blocks) == whole.n_zero_weight


@pytest.mark.parametrize(("start", "stop"), [(0, None), (0, 4)])
def test_all_rows_must_weigh_something(
    start: int, stop: int | None, message_of: Callable[..., str]
) -> None:
    """Also where it is said in numbers that all are meant."""
    np.savez("x.npz", x=np.ones((4, 2)), w=np.zeros(4))
    with open_source("x.npz:x", weights="w") as source:
        blocks = float64_blocks(source, start=start, stop=stop)
        assert "all 4 are 0" in message_of(InputError, lambda: list(blocks))


@pytest.mark.parametrize(("start", "stop"), [(1, None), (1, 4), (2, 3)])
def test_some_rows_may_weigh_nothing(start: int, stop: int | None) -> None:
    np.savez("x.npz", x=np.ones((4, 2)), w=np.array([1.0, 0.0, 0.0, 0.0]))
    with open_source("x.npz:x", weights="w") as source:
        blocks = list(float64_blocks(source, start=start, stop=stop))
    assert sum(block.n_zero_weight for block in blocks) == (stop or 4) - start


def test_blocks_never_exceed_32_bit_counts() -> None:
    class Wide(ArraySource):
        asked: list[int]

        def blocks(self, n_rows: int, start: int = 0, stop: int | None = None) -> Any:
            self.asked = [n_rows]
            return iter(())

    source = Wide(np.ones((4, 3)))
    list(float64_blocks(source, rows_per_block=2**40))
    assert source.asked[0] * 3 < 2**31


def test_loading_fills_the_fingerprint_in_the_same_pass(
    points: NDArray[np.float64], monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save("x.npy", points)
    with open_source("x.npy") as source:
        load_points(source)
        monkeypatch.setattr(type(source), "blocks", None)  # another pass would fail
        fingerprint = source.fingerprint()
    assert fingerprint == ArraySource(points).fingerprint()


def test_what_nobody_asks_for_is_not_hashed(points: NDArray[np.float64]) -> None:
    """An array from Python: its fingerprint is found when it is asked for."""
    with ArraySource(points, hashed=False) as plain, ArraySource(points) as source:
        load_points(plain)
        assert plain.digests == {}
        assert plain.fingerprint() == source.fingerprint()


def test_one_fingerprint_whatever_the_container(points: NDArray[np.float64]) -> None:
    np.save("c.npy", points)
    np.save("f.npy", np.asfortranarray(points))
    np.savez_compressed("x.npz", x=points)
    with h5py.File("x.h5", "w") as file:
        file.create_dataset("x", data=points, chunks=(9, 2), compression="gzip")
    found = set()
    for name in ("c.npy", "f.npy", "x.npz", "x.h5"):
        with open_source(name) as source:
            found.add(source.fingerprint())
    assert found == {ArraySource(points).fingerprint()}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, [0, 1, 2, 3, 4, 5, 6]),
        ("0", [0]),
        ("0,1,4:7", [0, 1, 4, 5, 6]),
        ("6,0", [6, 0]),
        (" 1 , 2:4 ", [1, 2, 3]),
        (":", [0, 1, 2, 3, 4, 5, 6]),
        ("5:", [5, 6]),
        (":2", [0, 1]),
    ],
)
def test_a_choice_of_columns(text: str | None, expected: list[int]) -> None:
    columns = select_columns(text, 7)
    assert columns.dtype == np.int64
    assert columns.tolist() == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a column"),
        ("a", "'a' is not a column"),
        ("1,,2", "'' is not a column"),
        ("-1", "'-1' is not a column"),
        ("1.0", "is not a column"),
        ("1:2:3", "'1:2:3' is not a column"),
        ("\N{SUPERSCRIPT TWO}", "is not a column"),
        ("7", "the input has 7 columns"),
        ("4:8", "'4:8' does not lie within 0:7"),
        ("3:3", "'3:3' is empty"),
        ("5:2", "'5:2' is empty"),
        ("0:99999999999999999999", "does not lie within"),
        ("1,0:3", "name a column twice"),
        (",".join(["0:7"] * 1000), "name a column twice"),
    ],
)
def test_no_choice_of_columns(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        select_columns(text, 7)
