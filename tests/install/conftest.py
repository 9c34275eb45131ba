"""A systemd user manager of the test's own: private home, runtime folder and bus."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

_PROGRAMS = ("/lib/systemd/systemd", "/usr/lib/systemd/systemd")


class UserManager:
    """``systemd --user`` in a home of its own; ``env`` leads programs to it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pipedtln-manager-"))
        self.home = self.folder / "home"
        self.runtime = self.folder / "run"
        self.home.mkdir()
        self.runtime.mkdir(mode=0o700)
        self._process: subprocess.Popen[bytes] | None = None
        self._cgroups = own_cgroups(self.folder.name)
        self.env = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(self.home),
            # The usual place; but dbus-daemon takes its own user's home from /etc/passwd.
            "XDG_DATA_HOME": str(self.home / ".local" / "share"),
            "XDG_RUNTIME_DIR": str(self.runtime),
            "DBUS_SESSION_BUS_ADDRESS": f"unix:path={self.runtime / 'bus'}",
        }
        models = os.environ.get("PIPEDTLN_MODELS_DIR")
        if models:
            self.env["PIPEDTLN_MODELS_DIR"] = models

    def start(self) -> None:
        """Start it and wait until it has reached its default target."""
        # systemd wants to see that the machine was booted by it.
        Path("/run/systemd/system").mkdir(parents=True, exist_ok=True)
        program = next(name for name in _PROGRAMS if Path(name).exists())
        join = "".join(f"echo $$ > {path}/cgroup.procs; " for path in self._cgroups)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["sh", "-c", f"{join}exec {program} --user"],
                env={**self.env, "SYSTEMD_LOG_TARGET": "console"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(
            lambda: self.systemctl("is-active", "--quiet", "default.target").returncode == 0,
            f"the user manager: {self.log()[-500:]}",
        )

    def stop(self) -> None:
        """End it the way a logout does, with all its services."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def remove(self) -> None:
        """End it and remove all that it made."""
        self.stop()
        for path in Path("/sys/fs/cgroup").glob(f"**/{self.folder.name}"):
            for inner in sorted(path.rglob("*/"), reverse=True):
                _rmdir(inner)
            _rmdir(path)
        shutil.rmtree(self.folder, ignore_errors=True)

    def reboot(self) -> None:
        """End it and start it anew, as logging out and in does."""
        self.stop()
        shutil.rmtree(self.runtime)
        self.runtime.mkdir(mode=0o700)
        self.start()

    def log(self) -> str:
        """What the manager and its services wrote."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def run(self, *command: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a program as the user."""
        return subprocess.run(
            command, env=self.env, capture_output=True, text=True, timeout=timeout, check=False,
            stdin=subprocess.DEVNULL, cwd=self.home,
        )  # fmt: skip

    def systemctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``systemctl --user``."""
        return self.run("systemctl", "--user", "--no-pager", *arguments)

    def show(self, unit: str, name: str) -> str:
        """One property of a unit."""
        return self.systemctl("show", unit, f"--property={name}", "--value").stdout.strip()


def own_cgroups(name: str) -> list[Path]:
    """Make a control group for one manager, as the system's manager does for each user.

    Two managers in one group would kill each other's services, which bear the same names.
    Nothing is made where this process may not; then it has to be the only one.
    """
    made = []
    for root in ("/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"):
        path = Path(root) / name
        if (path.parent / "cgroup.procs").exists() and os.access(root, os.W_OK):
            with contextlib.suppress(OSError):
                path.mkdir()
                made.append(path)
    return made


def _rmdir(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.rmdir()


def wait_until(condition: Callable[[], bool], what: str, timeout: float = 20.0) -> None:
    """Poll until it holds; fail after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {timeout} s: {what}")
        time.sleep(0.05)


@pytest.fixture
def manager() -> Iterator[UserManager]:
    """A running user manager."""
    if not any(Path(name).exists() for name in _PROGRAMS) or not shutil.which("systemctl"):
        pytest.skip("systemd is not installed")
    user = UserManager()
    try:
        user.start()
        yield user
    finally:
        user.remove()
