"""The system around: program, settings, user service, session bus, realtime priority, packages."""

from __future__ import annotations

import asyncio
import ctypes.util
import importlib.util
import platform
import resource
from collections.abc import Iterator
from pathlib import Path

import platformdirs
from dbus_fast import BusType, Message
from dbus_fast.aio import MessageBus

import pipedtln
from pipedtln.configfile import config_path
from pipedtln.control.bus import session_bus_address
from pipedtln.control.client import BridgeClient, ask
from pipedtln.control.wire import NAME, NotRunningError
from pipedtln.doctor.finding import Finding, ok, problem, warning
from pipedtln.install.unit import (
    UNIT,
    enablement_path,
    is_active,
    manager_runs,
    unit_path,
)

_RTKIT = "org.freedesktop.RealtimeKit1"


def program() -> Iterator[Finding]:
    """Which pipedtln, Python and machine."""
    yield ok(
        "pipedtln",
        f"{pipedtln.__version__}, Python {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}",
    )


def settings_file() -> Iterator[Finding]:
    """Where the settings come from; that they can be read was seen before."""
    path = config_path()
    yield ok("settings", str(path) if path.exists() else "all at their defaults (no config file)")


def unit() -> Iterator[Finding]:
    """The user service: installed, started at login, running."""
    if not manager_runs():
        yield warning(
            "user service",
            "no systemd user manager answers",
            "start the bridge by hand at login: pipedtln run",
        )
        return
    if not unit_path().exists():
        yield problem("user service", f"{UNIT} is not installed", "pipedtln setup")
        return
    if is_active():
        yield ok("user service", "runs")
    else:
        yield problem("user service", "does not run", "systemctl --user restart pipedtln")
    if not enablement_path().is_symlink():
        yield warning("user service", "does not start at login", "systemctl --user enable pipedtln")


def session_bus() -> Iterator[Finding]:
    """D-Bus: whether status and steering get through."""
    if session_bus_address() is None:
        yield warning(
            "D-Bus",
            "there is no session bus: status, set, bypass and mute cannot reach the service",
            "log in to a desktop or user session, or use: dbus-run-session",
        )
        return
    try:
        status = ask(BridgeClient.status)
    except NotRunningError as error:
        yield problem("bridge", str(error), "systemctl --user start pipedtln")
        return
    yield ok("D-Bus", f"{NAME} answers")
    if status.version != pipedtln.__version__:
        yield warning(
            "bridge",
            f"version {status.version} runs, {pipedtln.__version__} is installed",
            "systemctl --user restart pipedtln",
        )
    for line in status.problems:
        yield problem("bridge", line, "see: journalctl --user -u pipedtln")
    if not status.problems:
        yield ok("bridge", f"{status.state}, latency {_ms(status.latency_ms)}")
    files = Path(platformdirs.user_data_path()) / "dbus-1" / "services" / f"{NAME}.service"
    if not files.exists():
        yield ok("D-Bus", "activation is not installed (only other programs would use it)")


def realtime() -> Iterator[Finding]:
    """Whether the bridge can have priority over what else runs."""
    soft, _ = resource.getrlimit(resource.RLIMIT_RTPRIO)
    if soft > 0:
        yield ok("realtime", f"priority up to {soft} is allowed")
    elif asyncio.run(_offered_on_system_bus(_RTKIT)):
        yield ok("realtime", "rtkit gives priority")
    else:
        yield warning(
            "realtime",
            "no priority to be had: a busy processor may be heard as clicks",
            "sudo apt install rtkit (or your distribution's package of it)",
        )


def packages() -> Iterator[Finding]:
    """Libraries outside of Python, and optional parts."""
    if ctypes.util.find_library("pulse"):
        yield ok("packages", "libpulse is there")
    else:
        yield problem("packages", "libpulse is missing", "sudo apt install libpulse0")
    for module, extra, use in (
        ("textual", "monitor", "pipedtln monitor"),
        ("matplotlib", "plot", "pictures of recordings"),
    ):
        if importlib.util.find_spec(module) is None:
            yield ok("packages", f"{module} is not installed; {use} needs pipedtln[{extra}]")


def _ms(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.0f} ms"


async def _offered_on_system_bus(name: str) -> bool:
    try:
        bus = await asyncio.wait_for(MessageBus(bus_type=BusType.SYSTEM).connect(), 3)
    except (OSError, ValueError, EOFError, asyncio.TimeoutError):
        return False
    try:
        for member in ("ListNames", "ListActivatableNames"):
            message = Message(
                destination="org.freedesktop.DBus",
                path="/org/freedesktop/DBus",
                interface="org.freedesktop.DBus",
                member=member,
            )
            reply = await asyncio.wait_for(bus.call(message), 3)
            if reply is not None and reply.body and name in reply.body[0]:
                return True
    except (OSError, asyncio.TimeoutError):
        pass
    finally:
        bus.disconnect()
    return False
