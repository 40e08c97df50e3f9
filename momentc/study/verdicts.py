"""Whether a reproduced figure shows what the paper's does: what was wanted, found and published.

A verdict is a dict: ``panel``, ``what``, ``wanted`` (a sentence), ``found`` (number), ``low`` and
``high`` (its spread over the seeds, or one standard error to both sides), ``published`` (text) and
``ok``. Ratios of losses are averaged as logarithms; the spread is the whole range of the seeds.

Published values are the final losses in the data files of the authors' repository
(github.com/WHY-David/moment_compression), for the paper's sizes.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, Final

from momentc.study.fit import FLOOR, fit_power

__all__ = ["PUBLISHED", "judge", "judge_errors", "judge_polylog", "judge_times", "laws", "pairs_of"]

Record = dict[str, Any]

# Fig. 3: what is wanted of final test losses.
NEAR: Final = 0.30
WORSE: Final = 5.0
# Curves that differ by less cannot be told apart in print: the width of a line on two decades.
ALIKE: Final = 0.02

# Fig. 4: at every recorded epoch; and what "several times" means.
ALONG: Final = 0.20
SEVERAL: Final = 3.0

# Fig. 5: what "about doubles" means.
DOUBLE: Final = (1.6, 2.4)

# Fig. 7: the test losses of 2,560 episodes in the published file differ by up to 5 % in epochs 1-3.
HEADS_ALONG: Final = 0.10

# Fig. 6: "roughly proportional to d".
PROPORTIONAL: Final = 1.2

# Standard errors by which a fitted exponent may miss its theory.
SURE: Final = 2.0

# (full, compressed, random) final test losses, or (alpha, alpha') for Fig. 5.
PUBLISHED: Final[dict[tuple[str, str], tuple[float, ...]]] = {
    ("fig3", "a"): (0.0171, 0.0189, 0.2255),
    ("fig3", "b"): (0.19687, 0.19696, 0.24891),
    ("fig3", "c"): (0.0153, 0.0197, 0.2544),
    ("fig3", "d"): (0.0153, 0.0167, 0.2294),
    ("fig4", "b"): (9.59e-3, 9.99e-3, 1.27e-2),
    ("fig4", "c"): (3.99e-4, 4.60e-4, 2.60e-3),
    ("fig4", "d"): (2.19e-3, 2.04e-3, 2.81e-3),
    ("fig5", "a"): (0.683, 1.271),
    ("fig5", "b"): (0.308, 0.607),
    ("fig7", "a"): (0.0759, 0.0756, 0.0679),
}


def judge(figure: str, records: Sequence[Record]) -> list[Record]:
    """Return the verdicts of a figure on the records of its runs."""
    found: list[Record] = []
    for panel in dict.fromkeys(record["panel"] for record in records):
        mine = [record for record in records if record["panel"] == panel]
        found += _JUDGES[figure](panel, mine)
    return found


def judge_errors(exponents: Sequence[Record], ms: Sequence[int]) -> list[Record]:
    """Return the verdicts of Fig. 2 on the exponents of :func:`momentc.study.summary.exponents`.

    The error must not fall more slowly than the dashed lines of Fig. 2(e). Where it is nothing but
    rounding at nearly all sizes, there is no exponent and nothing to judge.
    """
    found = []
    shown = [row for row in exponents if row["family"] == "eq13" and row["theory"]]
    for m in ms:
        mine = [row for row in shown if row["m"] == m]
        if not mine:
            nothing = math.nan, math.nan, math.nan
            found.append(
                _row(f"m = {m}", "errors are rounding: no exponent", "", *nothing, "", ok=None)
            )
            continue
        above = [row["exponent"] - row["theory"] for row in mine]
        found.append(
            _row(
                f"m = {m}", "exponent of the error less (k+1)/m + 0.5, least over k",
                f"at least 0, less {SURE:g} std. errors", min(above), min(above), max(above), "0",
                ok=all(
                    excess + SURE * row["standard_error"] >= 0.0
                    for excess, row in zip(above, mine, strict=True)
                ),
            )
        )  # fmt: skip
    return found


def judge_times(exponents: Sequence[Record]) -> list[Record]:
    """Return the verdicts of Fig. 6 on the exponents of time in d."""
    return [
        _row(
            f"m = {row['m']}", "exponent of the time in d", f"at most {PROPORTIONAL:g}",
            row["exponent"], row["exponent"] - row["standard_error"],
            row["exponent"] + row["standard_error"], "about 1", ok=row["exponent"] <= PROPORTIONAL,
        )
        for row in exponents
        if row["system"] == "momentc"
    ]  # fmt: skip


def judge_polylog(rows: Sequence[Record]) -> list[Record]:
    """Return the verdicts of Fig. 8: errors do not grow with d, or are nothing but rounding."""
    found = []
    for m in sorted({row["m"] for row in rows}):
        mine = [row for row in rows if row["m"] == m and row["method"] == "momentc"]
        errors = [row["mean_least_error"] for row in mine]
        law = fit_power([row["d"] for row in mine], errors, FLOOR)
        if law is None:
            # Too few above rounding for a slope: what is above must come before what is not.
            by_size = [row["mean_least_error"] for row in sorted(mine, key=lambda row: row["d"])]
            above = [max(error, FLOOR) for error in by_size]
            found.append(
                _row(
                    f"m = {m}", "largest of the least errors",
                    f"at most {FLOOR:.0e}, or falling to it",
                    max(errors), min(errors), max(errors), "2e-14 to 2e-11",
                    ok=all(later <= earlier for earlier, later in pairwise(above)),
                )
            )  # fmt: skip
            continue
        slack = SURE * law.standard_error
        found.append(
            _row(
                f"m = {m}", "exponent of the least error in d",
                f"at most 0, and {SURE:g} std. errors",
                law.exponent, law.exponent - law.standard_error,
                law.exponent + law.standard_error, "not above 0", ok=law.exponent <= slack,
            )
        )  # fmt: skip
    return found


def pairs_of(records: Iterable[Record], other: str) -> list[tuple[Record, Record]]:
    """Return (full, other) of every seed and size that has both."""
    places: dict[tuple[int, int], dict[str, Record]] = defaultdict(dict)
    for record in records:
        places[record["seed"], record["d"]][record["curve"]] = record
    return [(p["full"], p[other]) for p in places.values() if "full" in p and other in p]


def laws(records: Sequence[Record]) -> dict[str, Record]:
    """Return the exponents of one panel of Fig. 5, for the curves 'full' and 'compressed'.

    The line goes through the geometric means over the seeds. Its slope is the mean of the seeds'
    own slopes, so their scatter gives its standard error; the scatter of the points about the
    line gives another one, and the larger counts.

    Returns
    -------
    dict
        By curve: ``exponent`` (alpha > 0 where the loss falls), ``standard_error``, ``points``:
        list of (objects, geometric mean, least, largest).
    """
    found: dict[str, Record] = {}
    for curve in ("full", "compressed"):
        by_seed: dict[int, dict[int, float]] = defaultdict(dict)
        for record in records:
            if record["curve"] == curve:
                count = record["d"] if curve == "full" else record["target"]
                by_seed[record["seed"]][count] = record["test"][-1]
        sizes = sorted(set.intersection(*(set(line) for line in by_seed.values())))
        points = []
        for size in sizes:
            losses = [line[size] for line in by_seed.values()]
            points.append((size, _mean(losses), min(losses), max(losses)))
        law = fit_power(sizes, [point[1] for point in points])
        if law is None:
            continue
        slopes = [
            -one.exponent
            for line in by_seed.values()
            if (one := fit_power(sizes, [line[size] for size in sizes])) is not None
        ]
        error = law.standard_error
        if len(slopes) > 1:
            centre = math.fsum(slopes) / len(slopes)
            square = math.fsum((slope - centre) ** 2 for slope in slopes) / (len(slopes) - 1)
            error = max(error, math.sqrt(square / len(slopes)))
        found[curve] = {
            "exponent": -law.exponent,
            "standard_error": error,
            "intercept": law.intercept,
            "points": points,
        }
    return found


def _judge_samples(panel: str, records: Sequence[Record]) -> list[Record]:
    published = PUBLISHED["fig3", panel]
    near, far = pairs_of(records, "compressed"), pairs_of(records, "random")
    if panel == "b":  # the rate is so low that no set gets far in 400 steps: all curves are close
        return [
            _verdict(
                panel, "largest difference of the curves, compressed to full",
                f"at most {ALIKE:.0%}", [_largest(a, b) for a, b in near], max,
                f"{abs(published[1] / published[0] - 1):.2%} at the end", lambda x: x <= ALIKE,
            )
        ]  # fmt: skip
    return [
        _verdict(
            panel, "final test loss, compressed / full", f"within {NEAR:.0%} of 1",
            [_final(a, b) for a, b in near], _mean, f"{published[1] / published[0]:.2f}",
            lambda x: abs(x - 1.0) <= NEAR,
        ),
        _verdict(
            panel, "final test loss, random / full", f"at least {WORSE:g}",
            [_final(a, b) for a, b in far], _mean, f"{published[2] / published[0]:.1f}",
            lambda x: x >= WORSE,
        ),
    ]  # fmt: skip


def _judge_network(panel: str, records: Sequence[Record]) -> list[Record]:
    published = PUBLISHED["fig4", panel]
    found = _judge_dynamics(panel, records, ALONG, published)
    if panel == "c":  # the others learn too little for it, in the published data as well
        far = pairs_of(records, "random")
        found.append(
            _verdict(
                panel, "final test loss, random / full", f"at least {SEVERAL:g}",
                [_final(a, b) for a, b in far], _mean, f"{published[2] / published[0]:.1f}",
                lambda x: x >= SEVERAL,
            )
        )  # fmt: skip
    return found


def _judge_heads(panel: str, records: Sequence[Record]) -> list[Record]:
    return _judge_dynamics(panel, records, HEADS_ALONG, PUBLISHED["fig7", panel])


def _judge_dynamics(
    panel: str, records: Sequence[Record], along: float, published: tuple[float, ...]
) -> list[Record]:
    """Judge whether the compressed curve stays with the full one, and the random one does not."""
    near = [_largest(a, b) for a, b in pairs_of(records, "compressed")]
    far = [_largest(a, b) for a, b in pairs_of(records, "random")]
    return [
        _verdict(
            panel, "largest difference of the curves, compressed to full", f"at most {along:.0%}",
            near, max, f"{abs(published[1] / published[0] - 1):.0%} at the end",
            lambda x: x <= along,
        ),
        _verdict(
            panel, "the same of random, over that of compressed", f"at least {SEVERAL:g}",
            [b / a if a else math.inf for a, b in zip(near, far, strict=True)], _mean,
            _published_ratio(published), lambda x: x >= SEVERAL,
        ),
    ]  # fmt: skip


def _published_ratio(published: tuple[float, ...]) -> str:
    full, compressed, random = published
    return f"{abs(random / full - 1) / abs(compressed / full - 1):.1f} at the end"


def _judge_law(panel: str, records: Sequence[Record]) -> list[Record]:
    found = laws(records)
    published = PUBLISHED["fig5", panel]
    what = "exponent of d' over that of d"
    wanted = f"{DOUBLE[0]:g} to {DOUBLE[1]:g}"
    if len(found) < 2 or not found["full"]["exponent"] > 0.0:
        return [_row(panel, what, wanted, math.nan, math.nan, math.nan, "", ok=False)]
    full, small = found["full"], found["compressed"]
    ratio = small["exponent"] / full["exponent"]
    error = ratio * math.hypot(
        small["standard_error"] / small["exponent"], full["standard_error"] / full["exponent"]
    )
    rows = [
        _row(
            panel, f"alpha of {name}", "", law["exponent"],
            law["exponent"] - law["standard_error"], law["exponent"] + law["standard_error"],
            f"{value:.2f}", ok=None,
        )
        for (name, law), value in zip(
            (("d", full), ("d'", small)), published, strict=True
        )
    ]  # fmt: skip
    rows.append(
        _row(
            panel, what, wanted, ratio, ratio - error, ratio + error,
            f"{published[1] / published[0]:.2f}", ok=DOUBLE[0] <= ratio <= DOUBLE[1],
        )
    )  # fmt: skip
    return rows


_JUDGES: Final[dict[str, Callable[[str, Sequence[Record]], list[Record]]]] = {
    "fig3": _judge_samples,
    "fig4": _judge_network,
    "fig5": _judge_law,
    "fig7": _judge_heads,
}


def _final(full: Record, other: Record) -> float:
    return float(other["test"][-1] / full["test"][-1])


def _largest(full: Record, other: Record) -> float:
    """Return the largest relative difference over the recorded epochs, the first included."""
    pairs = zip(full["test"], other["test"], strict=True)
    return max(abs(float(b) / float(a) - 1.0) for a, b in pairs)


def _verdict(
    panel: str, what: str, wanted: str, values: list[float],
    average: Callable[[list[float]], float], published: str, good: Callable[[float], bool],
) -> Record:  # fmt: skip
    found = average(values) if values else math.nan
    low, high = (min(values), max(values)) if values else (math.nan, math.nan)
    return _row(panel, what, wanted, found, low, high, published, ok=bool(good(found)))


def _row(
    panel: str, what: str, wanted: str, found: float, low: float, high: float, published: str,
    *, ok: bool | None,
) -> Record:  # fmt: skip
    numbers = [value if math.isfinite(value) else None for value in (found, low, high)]
    return {
        "panel": panel, "what": what, "wanted": wanted, "found": numbers[0], "low": numbers[1],
        "high": numbers[2], "published": published, "ok": ok,
    }  # fmt: skip


def _mean(values: Sequence[float]) -> float:
    """Return the geometric mean."""
    if not all(0.0 < value < math.inf for value in values):
        return math.nan
    return math.exp(math.fsum(math.log(value) for value in values) / len(values))
