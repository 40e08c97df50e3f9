"""Journals: what is finished outlasts any end, and only serves the job it belongs to."""

import errno
import json
import os
from pathlib import Path

import pytest

from momentc.errors import OutputError, PartsError
from momentc.io.journal import Journal, read_journal

HEAD = {"job": "scan", "seed": 0}


def test_pieces_are_found_again(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    with Journal(path, HEAD) as journal:
        journal.append({"a": 1})
        assert read_journal(path, HEAD) == [{"a": 1}]  # on the disk at once
        journal.append({"a": 2.5})
    with Journal(path, HEAD) as journal:
        assert journal.pieces == [{"a": 1}, {"a": 2.5}]
        journal.append({"a": 3})
    assert read_journal(path, HEAD) == [{"a": 1}, {"a": 2.5}, {"a": 3}]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.jsonl"]


@pytest.mark.parametrize("cut", [1, 5, 9])
def test_a_line_cut_short_is_done_again(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "x.jsonl"
    with Journal(path, HEAD) as journal:
        journal.append({"a": 1})
        journal.append({"b": 22})
    path.write_bytes(path.read_bytes()[:-cut])
    with Journal(path, HEAD) as journal:
        assert journal.pieces == [{"a": 1}]
        journal.append({"c": 3})
    assert read_journal(path, HEAD) == [{"a": 1}, {"c": 3}]


def test_a_head_cut_short_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"job": "sc')
    with Journal(path, HEAD) as journal:
        assert journal.pieces == []
        journal.append({"cell": 1})
    head, piece = map(json.loads, path.read_text().splitlines())
    assert head.items() >= HEAD.items()
    assert piece["cell"] == 1


def test_another_job_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    with Journal(path, HEAD) as journal:
        journal.append({"cell": 1})
    before = path.read_bytes()
    with (
        pytest.raises(PartsError, match="its seed is 0, this job's is 1"),
        Journal(path, {"job": "scan", "seed": 1}),
    ):
        pass
    assert path.read_bytes() == before
    path.write_text("name,value\n")
    with pytest.raises(PartsError, match="no journal"):
        read_journal(path, HEAD)
    assert read_journal(tmp_path / "none.jsonl", HEAD) == []


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError), Journal(tmp_path / "missing" / "x.jsonl", HEAD):
        pass


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "x.jsonl"
    with Journal(path, HEAD) as journal:
        journal.append({"a": 1})
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(OutputError, match="No space left"):
            journal.append({"a": 2})
        monkeypatch.undo()
    assert read_journal(path, HEAD) == [{"a": 1}]


@pytest.mark.parametrize("line", [1, 2])
def test_a_line_that_was_altered_is_done_again(tmp_path: Path, line: int) -> None:
    path = tmp_path / "x.jsonl"
    with Journal(path, {"job": 1}) as journal:
        journal.append({"cell": 1, "error": 0.25})
        journal.append({"cell": 2, "error": 0.25})
    lines = path.read_text().splitlines(keepends=True)
    lines[line] = lines[line].replace("0.25", "10.25")
    path.write_text("".join(lines))
    assert [piece["cell"] for piece in read_journal(path, {"job": 1})] == [1, 2][: line - 1]
    lines[line] = "{}\n"
    path.write_text("".join(lines))
    assert len(read_journal(path, {"job": 1})) == line - 1


def test_without_a_piece_no_file_is_left(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    with Journal(path, {"job": 1}):
        assert path.exists()
    assert not path.exists()


@pytest.mark.parametrize("content", ['{"job": 1}\n{"cell": 2}\n', '{"my": "data"}\n', "x\n"])
def test_what_is_no_journal_of_this_version_is_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(content)
    with pytest.raises(PartsError, match="no journal of this version"), Journal(path, {"job": 1}):
        pass
    assert path.read_text() == content
