"""Child processes of a private audio server that never outlive this process."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

# Kills the process groups of the last line that it read and removes the folder once its input
# ends: also after a kill -9 of the process that holds the other end.
_GUARDIAN = (
    "groups=; while read -r line; do groups=$line; done; "
    'for group in $groups; do kill -s KILL -- "-$group"; done 2>/dev/null; rm -rf -- "$1"'
)


class Processes:
    """Processes by role, each in a group of its own, with a log file in a folder.

    Only pids that were started here are ever signalled.

    Parameters
    ----------
    folder : where logs go; removed by the guardian if this process dies
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._guardian: subprocess.Popen[bytes] | None = None

    def start(self, role: str, command: Sequence[str], env: Mapping[str, str]) -> None:
        """Start a process; its output goes to ``<role>.log``."""
        if self._guardian is None:
            self._guardian = subprocess.Popen(
                ["/bin/sh", "-c", _GUARDIAN, "guardian", str(self._folder)],
                stdin=subprocess.PIPE,
                start_new_session=True,
            )
        with self.log(role).open("ab") as log:
            self._running[role] = subprocess.Popen(
                list(command),
                env=dict(env),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._tell_guardian()

    def log(self, role: str) -> Path:
        """The log file of a role."""
        return self._folder / f"{role}.log"

    def log_tail(self, role: str) -> str:
        """The last line that a role logged, for error messages."""
        with contextlib.suppress(OSError):
            lines = self.log(role).read_text(errors="replace").split("\n")
            return next((line.strip() for line in reversed(lines) if line.strip()), "no log")
        return "no log"

    def pid(self, role: str) -> int | None:
        """Process id of a role that runs, else None."""
        process = self._running.get(role)
        return process.pid if process is not None and process.poll() is None else None

    def send(self, role: str, number: signal.Signals) -> None:
        """Send a signal to the role's process alone, e.g. SIGSTOP and SIGCONT."""
        process = self._running.get(role)
        if process is not None and process.poll() is None:
            process.send_signal(number)

    def stop(
        self, role: str, *, number: signal.Signals = signal.SIGTERM, grace: float = 3.0
    ) -> None:
        """End a role's process group: ``number`` first, SIGKILL after ``grace`` seconds."""
        process = self._running.pop(role, None)
        if process is None:
            return
        if process.returncode is None:
            _signal_group(process, number)
            # A stopped process would not see SIGTERM.
            _signal_group(process, signal.SIGCONT)
            wait_until(lambda: _has_ended(process), grace)
            # What the leader left behind in its group, and the leader if it would not end; it is
            # not reaped yet, so that its id cannot belong to anyone else.
            _signal_group(process, signal.SIGKILL)
            process.wait()
        self._tell_guardian()

    def close(self) -> None:
        """End everything, latest first."""
        for role in reversed(list(self._running)):
            self.stop(role)
        if self._guardian is not None:
            self._guardian.kill()
            self._guardian.wait()
            if self._guardian.stdin is not None:
                self._guardian.stdin.close()
            self._guardian = None

    def _tell_guardian(self) -> None:
        if self._guardian is None or self._guardian.stdin is None:
            return
        groups = " ".join(str(process.pid) for process in self._running.values())
        with contextlib.suppress(BrokenPipeError):
            self._guardian.stdin.write(f"{groups}\n".encode())
            self._guardian.stdin.flush()


def wait_until(reached: Callable[[], bool], timeout: float, step: float = 0.01) -> bool:
    """Poll ``reached()`` until it is true; False after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not reached():
        if time.monotonic() > deadline:
            return False
        time.sleep(step)
    return True


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    options = os.WEXITED | os.WNOHANG | os.WNOWAIT
    return os.waitid(os.P_PID, process.pid, options) is not None
