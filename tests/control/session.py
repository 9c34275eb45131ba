"""A private session bus for a test, and other programs that use it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType


class SessionBus:
    """A real dbus-daemon on a socket of its own, that can be killed and started again."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="bus")
        self.folder = Path(self._folder.name)
        self.address = f"unix:path={self.folder / 'bus'}"
        self._daemon: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._daemon = subprocess.Popen(
            ["dbus-daemon", "--session", "--nofork", "--nopidfile", f"--address={self.address}"],
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._answers, "answer from the bus")

    def _answers(self) -> bool:
        # The socket's file is there a moment before somebody listens on it.
        with socket.socket(socket.AF_UNIX) as link:
            return link.connect_ex(str(self.folder / "bus")) == 0

    def kill(self) -> None:
        if self._daemon is not None:
            self._daemon.kill()
            self._daemon.wait()
            self._daemon = None
            (self.folder / "bus").unlink(missing_ok=True)

    def __enter__(self) -> SessionBus:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        self._folder.cleanup()

    @property
    def environment(self) -> dict[str, str]:
        """Of a process that lives on this bus and knows no other."""
        kept = {"PATH", "LANG", "LC_ALL", "HOME", "VIRTUAL_ENV"}
        return {
            **{name: value for name, value in os.environ.items() if name in kept},
            "DBUS_SESSION_BUS_ADDRESS": self.address,
            "XDG_CONFIG_HOME": str(self.folder / "config"),
        }

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a program on this bus to its end."""
        return subprocess.run(
            command,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def pipedtln(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run our command line on this bus to its end."""
        return self.run(sys.executable, "-m", "pipedtln", *arguments)


def wait_until(fact: Callable[[], bool], what: str, within_s: float = 10.0) -> None:
    """Poll for a fact; fails when it does not come true in time."""
    deadline = time.monotonic() + within_s
    while not fact():
        assert time.monotonic() < deadline, f"no {what} within {within_s} s"
        time.sleep(0.01)
