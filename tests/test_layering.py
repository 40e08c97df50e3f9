"""The arrows between momentc's rooms, read from the source, and what nobody may write."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "momentc"

# Rooms without arrows of their own (beyond errors) that everyone may import.
LEAVES = frozenset(
    {
        "cells",
        "cgroup",
        "compiled_code",
        "cpus",
        "errors",
        "groups",
        "indexing",
        "jit",
        "lapack",
        "map_function",
        "options",
        "process_memory",
        "progress",
        "report",
        "stopwatch",
        "text",
        "tolerances",
        "version",
        "weighted",
    }
)

# room -> the rooms it may import, besides itself and the leaves
ALLOWED: dict[str, frozenset[str]] = {
    "cli": frozenset({"files", "kernels", "study"}),
    # Compiles what a compression calls.
    "kernels": frozenset({"clustering", "hybrid", "moments", "reduction"}),
    # The measuring commands read and write files, and --k auto measures: files call the study,
    # which opens none itself.
    # Streams are set up here, from a sample of the input to the merge of its parts.
    "files": frozenset(
        {
            "compression",
            "effort",
            "engine",
            "io",
            "learn",
            "moments",
            "panel",
            "pipeline",
            "streaming",
            "study",
            "verification",
        }
    ),
    # Networks and training sets; only it knows torch. Its checkpoints are files, which io opens.
    "learn": frozenset({"api", "compression", "io", "moments"}),
    "api": frozenset({"compression", "engine", "incremental", "io", "pipeline", "verification"}),
    # The API for arrays that lie on a Dask cluster.
    "dask": frozenset({"api", "engine", "incremental", "io", "streaming"}),
    # Besides whole compressions it runs baselines of its own, over processes, and checks them.
    "study": frozenset(
        {"clustering", "effort", "engine", "moments", "panel", "pipeline", "verification"}
    ),
    "verification": frozenset({"moments"}),
    "pipeline": frozenset(
        {
            "clustering",
            "compression",
            "effort",
            "engine",
            "hybrid",
            "moments",
            "reduction",
            "streaming",
            "surplus",
        }
    ),
    # What is done beyond what was asked; known before a row is read.
    "effort": frozenset({"moments"}),
    # What a compression hands over, and the certificate.
    "compression": frozenset({"moments"}),
    # Batches from memory, for the API.
    "incremental": frozenset(
        {"clustering", "compression", "effort", "engine", "moments", "pipeline", "streaming"}
    ),
    "streaming": frozenset({"clustering", "effort", "moments", "reduction"}),
    "hybrid": frozenset({"clustering", "reduction", "moments"}),
    "surplus": frozenset({"effort", "moments", "panel", "reduction"}),
    "clustering": frozenset({"moments"}),
    "reduction": frozenset({"moments"}),
    # The functions by which errors are measured: one set, whoever measures.
    "panel": frozenset(),
    "moments": frozenset(),
    "io": frozenset(),
    "engine": frozenset(),
}

# Rooms that may not even import every leaf.
NARROW: dict[str, frozenset[str]] = {
    "engine": frozenset({"cpus", "errors", "map_function"}),
    "io": frozenset({"errors", "text", "weighted"}),
    "errors": frozenset(),
    "options": frozenset({"errors", "text"}),
    "progress": frozenset({"errors"}),
    "version": frozenset(),
    "weighted": frozenset({"errors"}),
}

SOURCES = sorted(PACKAGE.rglob("*.py"))


def room_of(source: Path) -> str:
    """`momentc/io/source.py` -> `io`; `momentc/errors.py` -> `errors`; the API -> `__init__`."""
    return source.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(source: Path, text: str) -> Iterator[tuple[int, str]]:
    """Line and room of every import of momentc itself, wherever in the file it stands."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                parts = alias.name.split(".")
                if parts[0] == "momentc":
                    yield node.lineno, parts[1] if len(parts) > 1 else "__init__"
        elif isinstance(node, ast.ImportFrom) and node.level > 0:
            package = ["momentc", *source.relative_to(PACKAGE).parts[:-1]]
            base = package[: len(package) - node.level + 1]
            parts = [*base, *(node.module.split(".") if node.module else [])]
            yield from ((node.lineno, room) for room in rooms_of_names(parts, node))
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            parts = node.module.split(".")
            if parts[0] == "momentc":
                yield from ((node.lineno, room) for room in rooms_of_names(parts, node))


def rooms_of_names(parts: list[str], node: ast.ImportFrom) -> list[str]:
    """`from momentc.io import x` -> io; `from momentc import io, compress` -> io, __init__."""
    if len(parts) > 1:
        return [parts[1]]
    return [
        alias.name
        if (PACKAGE / alias.name).is_dir() or (PACKAGE / f"{alias.name}.py").is_file()
        else "__init__"
        for alias in node.names
    ]


def test_every_room_stands_in_the_table() -> None:
    rooms = {room_of(source) for source in SOURCES} - {"__init__", "__main__"}
    assert rooms <= ALLOWED.keys() | LEAVES, "a new room needs a line in ALLOWED"


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_follow_the_arrows(source: Path) -> None:
    room = room_of(source)
    if room == "__init__":  # the public API may name anything
        return
    if room == "__main__":
        allowed = frozenset({"cli"})
    else:
        allowed = ALLOWED.get(room, frozenset()) | NARROW.get(room, LEAVES) | {room}
    wrong = [
        f"line {line}: {room} imports {other}"
        for line, other in imported_rooms(source, source.read_text(encoding="utf-8"))
        if other not in allowed
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_pickles_and_no_fork(source: Path) -> None:
    """Pickles run code of the input; a fork after faiss has run hangs."""
    wrong = []
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            is_off = isinstance(node.value, ast.Constant) and node.value.value is False
            if not is_off:
                wrong.append(f"line {node.value.lineno}: allow_pickle is not the literal False")
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            if isinstance(node, ast.ImportFrom):
                names.append(node.module or "")
            if any(name.split(".")[0] in {"pickle", "cloudpickle", "dill"} for name in names):
                wrong.append(f"line {node.lineno}: imports a pickle module")
        elif isinstance(node, ast.Constant) and node.value in {"fork", "forkserver"}:
            wrong.append(f"line {node.lineno}: names the start method {node.value!r}")
        elif isinstance(node, ast.Attribute) and node.attr in {"fork", "forkpty"}:
            wrong.append(f"line {node.lineno}: calls {node.attr}")
    assert not wrong, "\n".join(wrong)


def test_the_reader_of_imports_sees_every_form() -> None:
    """The tests above prove nothing if the reader overlooks a way to write an import."""
    text = (
        "import momentc.cli\n"
        "from momentc import files\n"
        "from momentc import compress\n"
        "from ..pipeline import x\n"
        "from .. import engine\n"
        "from . import convert\n"
        "def f():\n"
        "    from momentc.moments.frame import Frame\n"
    )
    found = sorted(imported_rooms(PACKAGE / "io" / "made_up.py", text))
    rooms = [room for _, room in found]
    assert rooms == ["cli", "files", "__init__", "pipeline", "engine", "io", "moments"]
