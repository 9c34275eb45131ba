"""Tell systemd how the service is: ready, stopping, alive, and a line of status."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


def notify(*lines: str, environment: Mapping[str, str] | None = None) -> bool:
    """Send lines of sd_notify(3), for instance ``notify("READY=1", "STATUS=idle")``.

    Returns
    -------
    Whether systemd listens; without it nothing happens and False is returned.
    """
    address = (os.environ if environment is None else environment).get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):  # a name in Linux's abstract namespace
        address = "\0" + address[1:]
    message = "\n".join(line.replace("\n", " ") for line in lines).encode()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as link:
        try:
            # Never let a manager that does not read hold the caller up.
            link.setblocking(False)
            link.sendto(message, address)
        except OSError:
            return False
    return True


def ready(status: str) -> bool:
    """Say that the service works; ``status`` is the line that systemctl shows."""
    return notify("READY=1", f"STATUS={status}")


def status(text: str) -> bool:
    """Change the line that ``systemctl --user status`` shows."""
    return notify(f"STATUS={text}")


def alive() -> bool:
    """Feed the watchdog; to be called at least every :func:`watchdog_interval`."""
    return notify("WATCHDOG=1")


def stopping() -> bool:
    """Say that the service ends on purpose."""
    return notify("STOPPING=1")


def watchdog_interval(environment: Mapping[str, str] | None = None) -> float | None:
    """Seconds between two calls of :func:`alive`: half of what systemd grants.

    None when no watchdog waits for this process.
    """
    environment = os.environ if environment is None else environment
    pid = environment.get("WATCHDOG_PID", "")
    microseconds = environment.get("WATCHDOG_USEC", "")
    if not microseconds.isdecimal() or int(microseconds) == 0:
        return None
    if pid and pid != str(os.getpid()):
        return None
    return int(microseconds) / 2e6
