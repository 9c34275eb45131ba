"""A stand-in for rtkit-daemon, with the real one's demands; gives what the kernel gives."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dbus_fast import BusType, DBusError, PropertyAccess
from dbus_fast.aio import MessageBus
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property

from pipedtln.atomic import write_atomic
from pipedtln.demo.processes import wait_until
from tests.control.session import SessionBus

ROOT = Path(__file__).parents[2]
RTTIME_US, MOST = 200_000, 20


def may_have_priority() -> bool:
    """Whether this kernel and this user allow it at all."""
    give = "import os; os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))"
    done = subprocess.run([sys.executable, "-c", give], check=False, stderr=subprocess.DEVNULL)
    return done.returncode == 0


@contextmanager
def rtkit(folder: Path) -> Iterator[dict[str, str]]:
    """A system bus with the stand-in; yields the environment that leads there.

    ``folder`` gets the file ``given`` with a thread and its priority, once one was asked for.
    """
    with SessionBus() as bus:
        address = {"DBUS_SYSTEM_BUS_ADDRESS": bus.address}
        command = [sys.executable, "-m", "tests.service.rtkit", str(folder)]
        with subprocess.Popen(command, cwd=ROOT, env={**os.environ, **address}) as daemon:
            try:
                assert wait_until((folder / "ready").exists, 20)
                yield address
            finally:
                daemon.terminate()


class RealtimeKit(ServiceInterface):
    """org.freedesktop.RealtimeKit1"""

    def __init__(self, pid_file: Path) -> None:
        super().__init__("org.freedesktop.RealtimeKit1")
        self._pid_file = pid_file

    @dbus_property(access=PropertyAccess.READ)
    def RTTimeUSecMax(self) -> "x":  # type: ignore[name-defined]  # noqa: F821, UP037
        return RTTIME_US

    @dbus_property(access=PropertyAccess.READ)
    def MaxRealtimePriority(self) -> "i":  # type: ignore[name-defined]  # noqa: F821, UP037
        return MOST

    @dbus_method()
    def MakeThreadRealtime(self, thread: "t", priority: "u"):  # type: ignore # noqa: F821, UP037
        status = Path(f"/proc/{thread}/status").read_text()
        pid = next(line.split()[1] for line in status.splitlines() if line.startswith("Tgid:"))
        limits = Path(f"/proc/{pid}/limits").read_text()
        hard = next(line.split()[4] for line in limits.splitlines() if "realtime timeout" in line)
        if hard == "unlimited" or int(hard) > RTTIME_US or priority > MOST:
            raise DBusError("org.freedesktop.DBus.Error.AccessDenied", "RLIMIT_RTTIME is too high")
        policy = os.SCHED_RR | os.SCHED_RESET_ON_FORK
        os.sched_setscheduler(thread, policy, os.sched_param(priority))
        write_atomic(self._pid_file, f"{thread} {priority}".encode())


async def main(folder: Path) -> None:
    bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
    bus.export("/org/freedesktop/RealtimeKit1", RealtimeKit(folder / "given"))
    await bus.request_name("org.freedesktop.RealtimeKit1")
    (folder / "ready").touch()
    await bus.wait_for_disconnect()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
