"""Noticing that a file changes while it is read."""

import os

from momentc.errors import InputError

__all__ = ["FileStamp"]


class FileStamp:
    """Notices that an open file changes under the reader.

    Parameters
    ----------
    name : str
        The file, for the message.
    descriptor : int
        Open file descriptor. It belongs to the caller and stays open.
    """

    def __init__(self, name: str, descriptor: int) -> None:
        self.name = name
        self.descriptor = descriptor
        self.size, self._modified_ns = self._now()

    def _now(self) -> tuple[int, int]:
        try:
            status = os.fstat(self.descriptor)
        except OSError as error:
            raise InputError(
                f"{self.name} cannot be read any more: {error.strerror}. On a network file system, "
                "the file may have been removed or replaced by another machine"
            ) from error
        return status.st_size, status.st_mtime_ns

    def check(self) -> None:
        """Raise `InputError` if size or modification time are not those of the start."""
        size, modified_ns = self._now()
        if size != self.size:
            raise InputError(
                f"{self.name} changed while it was read: {self.size} bytes at the start, {size} "
                "now. "
                "Wait until its writer has finished, then start again"
            )
        if modified_ns != self._modified_ns:
            raise InputError(
                f"{self.name} changed while it was read: it was written to. "
                "Wait until its writer has finished, then start again"
            )
