"""Outputs are complete or absent, whatever the disk or the folder does."""

import errno
import io
import os
import resource
import socket
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from momentc.errors import OutputError
from momentc.io import atomic
from momentc.io.atomic import probe_output, write_bytes_atomic

from .outputs import NEW, OLD, REFUSING, here, run


def test_a_new_file() -> None:
    write_bytes_atomic("out.npz", NEW, force=False)
    assert Path("out.npz").read_bytes() == NEW
    assert here() == ["out.npz"]


def test_a_folder_that_may_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The new name stands, whether or not the folder can be flushed."""
    really = os.open

    def refuse_folders(path: Any, flags: int, *mode: int) -> int:
        if flags & os.O_DIRECTORY:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return really(path, flags, *mode)

    monkeypatch.setattr(os, "open", refuse_folders)
    write_bytes_atomic("out.npz", NEW, force=False)
    assert Path("out.npz").read_bytes() == NEW


def test_a_probe_that_leaves_no_trace() -> None:
    def forbidden(*_: Any) -> None:
        raise AssertionError("a file was written")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(atomic, "_write_new", forbidden)
        probe_output("out.npz", force=False, by_writing=False)
    Path("out.npz").write_bytes(OLD)
    with pytest.raises(OutputError, match="exists"):
        probe_output("out.npz", force=False, by_writing=False)


def test_an_existing_file_needs_force() -> None:
    Path("out.npz").write_bytes(OLD)
    for action in REFUSING:
        with pytest.raises(OutputError, match=r"out.npz exists.*--force"):
            action("out.npz", force=False)
    assert Path("out.npz").read_bytes() == OLD
    probe_output("out.npz", force=True)
    assert Path("out.npz").read_bytes() == OLD
    write_bytes_atomic("out.npz", NEW, force=True)
    assert Path("out.npz").read_bytes() == NEW
    assert here() == ["out.npz"]


def test_a_replaced_file_keeps_its_mode() -> None:
    Path("out.npz").write_bytes(OLD)
    Path("out.npz").chmod(0o640)
    write_bytes_atomic("out.npz", NEW, force=True)
    assert stat.S_IMODE(Path("out.npz").stat().st_mode) == 0o640


def test_a_file_that_appears_meanwhile_is_not_replaced() -> None:
    def another_program(_: bytes) -> None:
        Path("out.npz").write_bytes(OLD)

    with pytest.raises(OutputError, match="exists"):
        write_bytes_atomic("out.npz", NEW, force=False, check=another_program)
    assert Path("out.npz").read_bytes() == OLD
    assert here() == ["out.npz"]


@pytest.mark.parametrize("kind", [ValueError, OSError, KeyboardInterrupt, SystemExit])
def test_a_failed_check_leaves_nothing(kind: type[BaseException]) -> None:
    def check(content: bytes) -> None:
        assert content == NEW
        assert not Path("out.npz").exists()
        raise kind

    with pytest.raises(kind):
        write_bytes_atomic("out.npz", NEW, force=False, check=check)
    assert here() == []


@pytest.mark.parametrize("call", ["write", "fsync", "close", "replace"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_every_failing_call_leaves_the_old_file(
    call: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Network file systems report a full disk or quota as late as fsync or close."""
    Path("out.npz").write_bytes(OLD)
    original: Any = getattr(Path if call == "replace" else os, call)

    def fail(*arguments: Any) -> Any:
        is_partial = call == "replace" or (
            Path(f"/proc/self/fd/{arguments[0]}").readlink().suffix == ".partial"
        )
        if call == "close":
            original(*arguments)
        if is_partial:
            raise OSError(number, os.strerror(number))
        return None if call == "close" else original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Path if call == "replace" else os, call, fail)
        with pytest.raises(OutputError, match=r"out.npz cannot be written") as caught:
            write_bytes_atomic("out.npz", NEW, force=True)
        assert os.strerror(number) in str(caught.value)
        if call != "replace":
            with pytest.raises(OutputError, match=r"out.npz cannot be written"):
                probe_output("out.npz", force=True)
    assert Path("out.npz").read_bytes() == OLD
    assert here() == ["out.npz"]


def test_a_short_write_is_continued(monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda number, data: write(number, data[:1000]))
    write_bytes_atomic("out.npz", NEW, force=False)
    assert Path("out.npz").read_bytes() == NEW


def test_a_disk_that_gives_back_other_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_bytes", lambda self: NEW[:-1] + b"\0")
    with pytest.raises(OutputError, match="gave back other bytes"):
        write_bytes_atomic("out.npz", NEW, force=False)
    assert here() == []


def test_a_limit_on_file_sizes() -> None:
    Path("out.npz").write_bytes(OLD)
    script = """
    try:
        write_bytes_atomic("out.npz", bytes(100_000), force=True)
    except OSError as error:
        print(type(error).__name__, error)
    """
    done = run(
        script,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)),
    )
    assert done.stdout.startswith("OutputError out.npz cannot be written"), done.stderr
    assert "File too large. A limit on file sizes is set" in done.stdout
    assert Path("out.npz").read_bytes() == OLD
    assert here() == ["out.npz"]


def test_a_full_device() -> None:
    with pytest.raises(OutputError, match="/dev/full cannot be written: No space left on device"):
        write_bytes_atomic("/dev/full", NEW, force=False)


def test_the_folder_itself_is_flushed(monkeypatch: pytest.MonkeyPatch) -> None:
    flushed = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        flushed.append(stat.S_ISDIR(os.fstat(descriptor).st_mode))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    write_bytes_atomic("out.npz", NEW, force=False)
    assert flushed == [False, True]


@pytest.mark.parametrize(
    ("number", "fails"), [(errno.EINVAL, False), (errno.ENOTSUP, False), (errno.EIO, True)]
)
def test_folders_that_cannot_be_flushed(
    number: int, fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def refuse_folders(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    if fails:
        with pytest.raises(OutputError, match="Input/output error"):
            write_bytes_atomic("out.npz", NEW, force=False)
    else:
        write_bytes_atomic("out.npz", NEW, force=False)
    assert Path("out.npz").read_bytes() == NEW


@pytest.mark.parametrize("make_link", [os.link, os.symlink])
@pytest.mark.parametrize("force", [False, True])
def test_an_input_is_never_replaced(make_link: Callable[[str, str], None], force: bool) -> None:
    Path("x.npy").write_bytes(OLD)
    make_link("x.npy", "link.npy")
    Path("chain.npy").symlink_to("link.npy")
    for output, given in (
        ("x.npy", "x.npy"),
        ("link.npy", "x.npy"),
        ("x.npy", "link.npy"),
        ("chain.npy", "x.npy"),
        (f"{Path.cwd()}/x.npy", "./x.npy"),
    ):
        for action in REFUSING:
            with pytest.raises(OutputError, match=r"is the input .* itself, or a link to it"):
                action(output, force=force, inputs=[Path(given)])
    assert Path("x.npy").read_bytes() == OLD
    assert here() == ["chain.npy", "link.npy", "x.npy"]


def test_a_symbolic_link_is_written_through() -> None:
    Path("disk").mkdir()
    Path("disk/real.npz").write_bytes(OLD)
    Path("out.npz").symlink_to("disk/real.npz")
    Path("new.npz").symlink_to("disk/new.npz")
    with pytest.raises(OutputError, match="exists"):
        write_bytes_atomic("out.npz", NEW, force=False)
    write_bytes_atomic("out.npz", NEW, force=True)
    write_bytes_atomic("new.npz", NEW, force=False)
    assert Path("out.npz").is_symlink()
    assert Path("disk/real.npz").read_bytes() == NEW
    assert Path("disk/new.npz").read_bytes() == NEW


def test_outputs_that_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("folder").mkdir()
    Path("file").write_bytes(OLD)
    Path("loop").symlink_to("loop")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("socket")
    listener.close()
    for output, message in (
        ("folder", "is a folder"),
        ("gone/out.npz", "there is no folder .*gone. Make it first"),
        ("file/out.npz", "Not a directory"),
        ("n" * 256, "File name too long"),
        ("loop", "symbolic link"),
        ("socket", "neither a file nor a pipe"),
        ("", "is not a file name"),
        ("a\0b", "is not a file name"),
    ):
        for action in REFUSING:
            with pytest.raises(OutputError, match=message):
                action(output, force=True)
    assert here() == ["file", "folder", "loop", "socket"]


@pytest.fixture
def open_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Stand in a folder that every user may enter; those of pytest are shut."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        with monkeypatch.context() as patch:
            patch.chdir(name)
            yield Path(name)


@pytest.mark.parametrize("action", ["probe_output({0})", "write_bytes_atomic({0}, data=b'x')"])
@pytest.mark.usefixtures("open_folder")
def test_a_folder_without_permission(action: str) -> None:
    """As a user without rights: root may write everywhere."""
    Path("shut").mkdir(mode=0o555)
    Path("open").mkdir()
    Path("open").chmod(0o777)
    script = f"""
    if os.getuid() == 0:
        os.setuid(65534)
    for folder in ("shut", "open"):
        try:
            {action.format("folder + '/out.npz', force=False")}
            print(folder, "done")
        except OSError as error:
            print(folder, type(error).__name__, error)
    """
    done = run(script)
    assert done.stdout.splitlines() == [
        "shut OutputError shut/out.npz cannot be written: Permission denied. "
        "Write to a folder of your own with -o",
        "open done",
    ], done.stderr


def test_a_read_only_file_system(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(OutputError, match=r"Read-only file system. Write elsewhere"):
            probe_output("out.npz", force=False)
    assert here() == []


def test_a_probe_leaves_no_trace() -> None:
    probe_output("out.npz", force=False)
    assert here() == []


def test_devices_and_fifos_are_written_directly() -> None:
    checked: list[bytes] = []
    write_bytes_atomic("/dev/null", NEW, force=False, check=checked.append)
    assert checked == [NEW]
    os.mkfifo("pipe")
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(Path("pipe").read_bytes()))
    reader.start()
    probe_output("pipe", force=False)
    write_bytes_atomic("pipe", NEW, force=False)
    reader.join()
    assert received == [NEW]
    assert here() == ["pipe"]
    assert stat.S_ISFIFO(Path("pipe").stat().st_mode)


def test_a_failed_check_sends_nothing_to_a_device() -> None:
    def check(_: bytes) -> None:
        raise ValueError("wrong")

    os.mkfifo("pipe")
    with pytest.raises(ValueError, match="wrong"):  # opening the pipe would wait for ever
        write_bytes_atomic("pipe", NEW, force=False, check=check)


def test_a_closed_pipe_is_told_apart() -> None:
    os.mkfifo("pipe")
    reader = threading.Thread(target=lambda: io.FileIO("pipe").close())
    reader.start()
    with pytest.raises(BrokenPipeError):
        write_bytes_atomic("pipe", bytes(1_000_000), force=False)
    reader.join()


@pytest.mark.parametrize(
    "name",
    [
        "größe 数据.npz",
        "with space.npz",
        "-leading.npz",
        "new\nline.npz",
        os.fsdecode(b"latin-\xe9.npz"),
        "n" * 251 + ".npz",
        ".hidden.npz",
    ],
)
def test_unusual_names_are_written(name: str) -> None:
    probe_output(name, force=False)
    write_bytes_atomic(name, NEW, force=False)
    assert here() == [name]
    assert Path(name).read_bytes() == NEW
    with pytest.raises(OutputError) as caught:
        write_bytes_atomic(name, NEW, force=False)
    str(caught.value).encode()
    assert "\n" not in str(caught.value)
