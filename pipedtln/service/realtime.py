"""Real-time priority for the thread that carries the sound, from rtkit where it is offered.

rtkit gives it to unprivileged programs that bound how long they run without a pause
(``RLIMIT_RTTIME``): the kernel sends SIGXCPU at the soft limit, and kills at the hard one. At the
first the thread goes back to where it came from, for a machine that is that busy has no time to
give away.

Source: rtkit's README and org.freedesktop.RealtimeKit1.xml.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from dbus_fast import DBusError

from pipedtln.control import bus
from pipedtln.errors import PipedtlnError

LOG = logging.getLogger(__name__)

RTKIT = "org.freedesktop.RealtimeKit1"
RTKIT_PATH = "/org/freedesktop/RealtimeKit1"
SYSTEM_BUS = "unix:path=/run/dbus/system_bus_socket"
PRIORITY = 5
"""Below the sound servers, which ask for 20 and more: we wait for them, never they for us."""
PATIENCE_S = 3.0
MOST_BUSY_US = 100_000
"""Microseconds without a pause after which the priority is given back."""


def system_bus_address(environment: Mapping[str, str] | None = None) -> str:
    """Address of the system bus."""
    environment = os.environ if environment is None else environment
    return environment.get("DBUS_SYSTEM_BUS_ADDRESS") or SYSTEM_BUS


class Realtime:
    """Asks once for each thread; belongs to the main loop.

    Attributes
    ----------
    priority : what the thread has got, or None
    """

    def __init__(self) -> None:
        self.priority: int | None = None
        self._thread: int | None = None

    async def follow(self, thread_id: int | None) -> None:
        """Ask for a thread that has not been asked for; never raises, never waits long.

        Parameters
        ----------
        thread_id : the operating system's number of it; None while there is none
        """
        if thread_id is None or thread_id == self._thread:
            return
        self._thread, self.priority = thread_id, None
        try:
            self.priority = await asyncio.wait_for(_ask(thread_id), PATIENCE_S)
        except (PipedtlnError, DBusError, OSError, ValueError, asyncio.TimeoutError) as error:
            LOG.debug("no real-time priority: %s", error)
            return
        with suppress(NotImplementedError, RuntimeError, ValueError):
            asyncio.get_running_loop().add_signal_handler(signal.SIGXCPU, self._give_back)
        LOG.info("the sound has real-time priority %d", self.priority)

    def _give_back(self) -> None:
        if self._thread is not None and self.priority is not None:
            self.priority = None
            with suppress(OSError):
                os.sched_setscheduler(self._thread, os.SCHED_OTHER, os.sched_param(0))
            LOG.warning("this machine is too busy: the sound gives its real-time priority back")


async def _ask(thread_id: int) -> int:
    link = await bus.connect(system_bus_address())
    try:
        most = int(await _property(link, "MaxRealtimePriority"))
        hard_us = int(await _property(link, "RTTimeUSecMax"))
        if most < 1 or hard_us < 1:
            raise ValueError(f"rtkit offers priority {most} for {hard_us} us")
        _, present = resource.getrlimit(resource.RLIMIT_RTTIME)
        if present == resource.RLIM_INFINITY or present > hard_us:
            present = hard_us
        resource.setrlimit(resource.RLIMIT_RTTIME, (min(MOST_BUSY_US, present), present))
        priority = min(PRIORITY, most)
        await _call(link, RTKIT, "MakeThreadRealtime", "tu", [thread_id, priority])
        return priority
    finally:
        link.disconnect()


async def _property(link: Any, name: str) -> Any:
    properties = "org.freedesktop.DBus.Properties"
    (variant,) = await _call(link, properties, "Get", "ss", [RTKIT, name])
    return variant.value


async def _call(link: Any, interface: str, member: str, signature: str, body: list[Any]) -> Any:
    return await bus.call(
        link,
        member,
        signature,
        body,
        destination=RTKIT,
        path=RTKIT_PATH,
        interface=interface,
        start=True,
    )
