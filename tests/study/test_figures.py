"""The figures: drawn without a screen, the same bytes every time, nothing missing."""

from typing import Any

import pytest

from momentc.errors import UsageError
from momentc.study.bench_figure import draw_bench
from momentc.study.drawing import check_plot
from momentc.study.scan_figure import draw_polylog, draw_scan
from momentc.study.summary import exponents, means, polylog_rows

from .test_summary import record

SIGNATURES = {"x.png": b"\x89PNG", "x.pdf": b"%PDF", "x.svg": b"<?xml"}


def scan(ms: tuple[int, ...]) -> list[dict[str, Any]]:
    return [
        record(m=m, d=d, target=d // 10, method=method, k=k, error=d ** -(k + 0.5) * 10.0)
        for m in ms
        for d in (1000, 2000, 4000)
        for method, ks in (
            ("momentc", (1, 4)),
            ("paper", (1, 4)),
            ("random", (0,)),
            ("kmeans", (0,)),
        )
        for k in ks
    ]


@pytest.mark.parametrize("path", list(SIGNATURES))
@pytest.mark.parametrize("ms", [(1,), (1, 2, 3)])
def test_a_scan(path: str, ms: tuple[int, ...]) -> None:
    rows = means(scan(ms))
    found = draw_scan(rows, exponents(rows), path)
    assert found.startswith(SIGNATURES[path])
    if path.endswith("svg"):
        text = found.decode()
        assert "rounding" in text
        assert "k = 4" in text
    if path.endswith("png"):
        assert draw_scan(rows, exponents(rows), path) == found


def test_a_scan_of_one_cell() -> None:
    rows = means([record(error=0.0)])
    assert draw_scan(rows, exponents(rows), "x.png").startswith(b"\x89PNG")


def test_polylog() -> None:
    records = [
        record(m=m, d=d, k=k, errors={"eq98": {"rms": 1e-9, "mean_abs": 1e-9, "worst": 1e-9}})
        for m in (1, 2) for d in (1000, 2000) for k in (3, 5)
    ]  # fmt: skip
    assert draw_polylog(polylog_rows(records), "x.png").startswith(b"\x89PNG")


@pytest.mark.parametrize("ok", [True, False])
def test_a_bench_says_whether_the_results_were_right(ok: bool) -> None:
    cells = [
        {
            "m": m, "k": 5, "d": d, "target": 100, "threads": t, "seconds": d / t * 1e-5,
            "peak_memory": 1e8 + 80 * d, "moment_error": 2e-16, "ok": ok,
            "stages": {"moments": 0.1, "reduction": 0.8},
            "baselines": {"svd": {"seconds": d * 1e-3}, "paper": {"skipped": "too slow"}},
        }
        for m in (1, 2) for d in (1000, 2000, 4000) for t in (1, 2)
    ]  # fmt: skip
    text = draw_bench(cells, "x.svg").decode()
    assert ("each of its results was verified" in text) == ok
    assert ("12 of 12 cells FAILED" in text) != ok


def test_a_name_that_is_no_picture() -> None:
    check_plot("x.PNG")
    with pytest.raises(UsageError, match="expected a name that ends in"):
        check_plot("x.jpg")
