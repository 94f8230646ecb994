"""One process at a time in a directory."""

from __future__ import annotations

import os

from tfcontrastive.config import InputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


class DirectoryLock:
    """Keeps others out of a directory until it is released, or until this process ends, however it ends.

    The kernel's own lock of the directory: no file is written, so that a process that was killed leaves nothing behind.
    Places that have no such locks (buckets and other `scheme://`, some network drives, Windows) are not watched.

    Args:
        argument: that names the directory, for the error.
        path: the directory; it need not exist yet, `take` is called again once it does.
        wait: until it is free, where another process has it; else that is refused.

    Examples:
        >>> with DirectoryLock("model_dir", "of_a_run_to_come") as lock:
        ...     lock.held
        False
    """

    def __init__(self, argument: str, path: str, *, wait: bool = False):
        self._argument, self._path, self._wait = argument, path, wait
        self._file: int | None = None

    @property
    def held(self) -> bool:
        """Whether the directory is locked."""
        return self._file is not None

    def take(self) -> None:
        """Locks the directory that lies there now, if there is one; does nothing where that one is locked already.

        Raises:
            InputError: another process has it, or another run of this one.
        """
        if fcntl is None or "://" in self._path:
            return
        try:
            file = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:  # there is none, or not one that may be read: whoever writes to it will say so
            return
        if self.held and os.path.samestat(os.fstat(file), os.fstat(self._file)):
            os.close(file)
            return
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if self._wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(file)
            raise InputError(
                f"`{self._argument}` must be used by one process at a time. Received: {self._path!r}, where another one is "
                "at work. Wait until it ends, or choose another directory."
            ) from None
        except OSError:  # a file system without locks
            os.close(file)
            return
        self.release()  # of what has been moved aside since
        self._file = file

    def release(self) -> None:
        """Lets others in."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __enter__(self) -> DirectoryLock:
        self.take()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
