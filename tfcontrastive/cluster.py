"""TF_CONFIG: who trains together, which of them this process is, and whether they can be reached."""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import json
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator

from tfcontrastive.config import ClusterError, InputError

_FORM = (
    'TF_CONFIG must be JSON such as {"cluster": {"worker": ["host0:port", "host1:port"]}, '
    '"task": {"type": "worker", "index": 0}}'
)


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The tasks of a run over several processes, as TF_CONFIG names them.

    Args:
        addresses: `{"worker": ["host:port", ...]}`, with or without `{"chief": ["host:port"]}`.
        kind, index: this process' task.
    """

    addresses: dict[str, list[str]]
    kind: str
    index: int

    @classmethod
    def from_environment(cls) -> Cluster | None:
        """The cluster of TF_CONFIG; None where it is not set.

        Raises:
            InputError: TF_CONFIG is not JSON of that form, or its task is not one of its cluster's.
        """
        text = os.environ.get("TF_CONFIG")
        if not text:
            return None
        try:
            config = json.loads(text)
            addresses, task = dict(config["cluster"]), config["task"]
            kind, index = task["type"], task["index"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(f"{_FORM}. Received: {text!r}.") from error
        for places in addresses.values():
            if not isinstance(places, list) or not all(isinstance(place, str) for place in places):
                raise InputError(f"{_FORM}. Received: {text!r}.")
            for place in places:
                _check_address(place)
        places = [place.lower() for group in addresses.values() for place in group]
        twice = sorted({place for place in places if places.count(place) > 1})
        if twice:
            raise InputError(
                f"TF_CONFIG must give each task an address of its own. Received: {', '.join(twice)} twice."
            )
        if type(index) is not int or not isinstance(kind, str):
            raise InputError(
                'TF_CONFIG\'s `task` must have a text as "type" and a whole number as "index", without quotation marks. '
                f"Received: {json.dumps(task)}."
            )
        cluster = cls(addresses, kind, index)
        if len(addresses.get("chief", [])) > 1:
            raise InputError(f"TF_CONFIG must name one chief at most. Received: {', '.join(addresses['chief'])}.")
        if (kind, index) not in cluster.tasks:
            names = ", ".join(f"{kind} {index}" for kind, index in cluster.tasks) or "it names no worker"
            raise InputError(f"TF_CONFIG's `task` must be one of its `cluster`: {names}. Received: {kind} {index}.")
        return cluster

    @property
    def tasks(self) -> list[tuple[str, int]]:
        """Those that train together, as (kind, index), in the order of their replicas."""
        return [(kind, index) for kind in ("chief", "worker") for index in range(len(self.addresses.get(kind, [])))]

    @property
    def is_chief(self) -> bool:
        """Whether this task writes checkpoints and logs."""
        return self.kind == "chief" or (self.index == 0 and not self.addresses.get("chief"))

    def name(self, kind: str, index: int) -> str:
        """A task as people speak of it."""
        places = self.addresses.get(kind, [])
        return f"{kind} {index} ({places[index]})" if index < len(places) else f"{kind} {index}"

    def wait_for_all(self, seconds: float) -> None:
        """Returns once every other task listens at its address; this one listens at its own until then.

        Raises:
            InputError: naming the tasks that could not be reached in that time, or this task's port is taken.
        """
        waiting = {
            self.name(kind, index): place
            for kind in ("chief", "worker")
            for index, place in enumerate(self.addresses.get(kind, []))
            if (kind, index) != (self.kind, self.index)
        }
        end = time.monotonic() + seconds
        with self._listening():
            while waiting:
                waiting = {name: place for name, place in waiting.items() if not _reachable(place, end)}
                if waiting and time.monotonic() > end:
                    raise InputError(
                        f"every task of TF_CONFIG must be reached within {seconds:g} s (--cluster_timeout). "
                        f"Received: no answer from {', '.join(waiting)}. Start the same command there, open the port."
                    )
                time.sleep(0.1 if waiting else 0)

    def _listening(self) -> socket.socket:
        port = int(self.addresses[self.kind][self.index].rsplit(":", 1)[1])
        try:
            return socket.create_server(("", port), backlog=128)
        except OSError as error:
            raise InputError(
                f"the port of {self.name(self.kind, self.index)} in TF_CONFIG must be free. Received: {error.strerror}."
            ) from error

    @contextlib.contextmanager
    def ends_unless_done(self, seconds: float) -> Iterator[None]:
        """Ends the process, with code 2, if what happens inside takes longer.

        TensorFlow waits, where Python cannot interrupt it, for a task that died between answering and joining.
        """

        def end() -> None:
            message = (
                f"every task of TF_CONFIG must join within {seconds:g} s (--cluster_timeout). Received: one did not."
            )
            print(f"tfcontrastive: {message}", file=sys.stderr, flush=True)
            os._exit(2)

        timer = threading.Timer(seconds, end)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def lost(self, message: str) -> ClusterError | None:
        """The error for TensorFlow's message about a collective that another task left; None for other messages."""
        own = (self.kind, self.index)
        tasks = [(kind, int(index)) for kind, index in re.findall(r"/job:(\w+)(?:/replica:\d+)?/task:(\d+)", message)]
        others = sorted({self.name(*task) for task in tasks if task != own})
        if not others:
            return None
        return ClusterError(
            f"lost {', '.join(others)}: the process there ended, or cannot be reached any more. Start the same command "
            "again on every machine: all go on from the last checkpoint."
        )


def _reachable(place: str, end: float) -> bool:
    host, port = place.rsplit(":", 1)
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=min(2, max(0.1, end - time.monotonic()))):
            return True
    except OSError:
        return False


def _check_address(place: str) -> None:
    host, _, port = place.rpartition(":")
    known = _is_host(host)
    if not known or not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        raise InputError(
            'TF_CONFIG\'s addresses must be such as "host0:port": a host name or an IP address, and a port from 1 to 65535. '
            f"Received: {place!r}."
        )


def _is_host(host: str) -> bool:
    if host.startswith("[") and host.endswith("]"):
        try:
            ipaddress.IPv6Address(host[1:-1])
        except ValueError:
            return False
        return True
    label = "[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
    return len(host) <= 253 and all(re.fullmatch(label, part) for part in host.removesuffix(".").split("."))
