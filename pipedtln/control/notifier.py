"""Tells on the desktop what goes wrong for longer than a moment, and takes it back once mended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from time import monotonic
from typing import Any, Literal

from dbus_fast import DBusError, Variant
from dbus_fast.aio import MessageBus

from pipedtln.control import bus as session
from pipedtln.control.api import Status
from pipedtln.errors import ServiceError

_log = logging.getLogger(__name__)

NAME = "org.freedesktop.Notifications"
PATH = "/org/freedesktop/Notifications"

LASTING_S = 5.0
"""Seconds that a trouble must last before it is told."""
SPARE_S = 600.0
"""Seconds in which one kind of trouble is told once."""

Trouble = Literal["open", "lost"]
_TITLES: dict[Trouble, str] = {
    "open": "DTLN Microphone lets noise through",
    "lost": "DTLN Microphone has lost its microphone",
}
_ADVICE: dict[Trouble, str] = {
    "open": "Others hear your microphone unprocessed. See: pipedtln status",
    "lost": "Others hear silence until it is back. See: pipedtln devices",
}
_APP = "pipedtln"
_ICON = "io.github.pipedtln"


@dataclass
class _Told:
    """A notification that may still stand."""

    trouble: Trouble
    number: int
    bus: MessageBus


class Notifier:
    """Watches snapshots of the bridge; belongs to one event loop.

    Without a bus or a desktop that shows notifications nothing happens.

    Parameters
    ----------
    address : of the bus; by default that of the session
    lasting_s : how long a trouble must last
    spare_s : how long its kind is not told again
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        lasting_s: float = LASTING_S,
        spare_s: float = SPARE_S,
    ) -> None:
        self._address = address
        self._lasting_s = lasting_s
        self._spare_s = spare_s
        self._trouble: Trouble | None = None
        self._why = ""
        self._had_mic = False
        self._told_at: dict[Trouble, float] = {}
        self._told: _Told | None = None
        self._bus: MessageBus | None = None
        self._guard = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._calls: set[asyncio.Task[None]] = set()
        self._end: asyncio.Task[None] | None = None

    def look(self, status: Status, *, wanted: bool) -> None:
        """Take a snapshot; ``wanted`` is the user's setting. Returns at once."""
        self._had_mic = self._had_mic or status.mic is not None
        trouble = self._find(status) if wanted else None
        self._why = status.problems[0] if status.problems else ""
        if trouble == self._trouble:
            return
        self._trouble = trouble
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if trouble is not None:
            self._task = asyncio.get_running_loop().create_task(self._tell_later(trouble))
        elif self._told is not None or self._calls:
            self._call(self._take_back())

    async def close(self) -> None:
        """Take back what stands and leave the bus; safe to call twice."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await asyncio.gather(*self._calls, return_exceptions=True)
        await self._take_back()
        if self._end is not None:
            await asyncio.wait([self._end], timeout=1.0)

    def _find(self, status: Status) -> Trouble | None:
        if status.state == "open":
            return "open"
        # One that never had a microphone has lost none, and a server that restarts is no news.
        if self._had_mic and status.server is not None and status.mic is None:
            return "lost"
        return None

    async def _tell_later(self, trouble: Trouble) -> None:
        await asyncio.sleep(self._lasting_s)
        last = self._told_at.get(trouble)
        wait = 0.0 if last is None else last + self._spare_s - monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        self._told_at[trouble] = monotonic()
        # A task of its own: one that is cancelled half way would leave what nobody takes back.
        self._call(self._tell(trouble))

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _tell(self, trouble: Trouble) -> None:
        async with self._guard:
            await self._notify(trouble)

    async def _notify(self, trouble: Trouble) -> None:
        text = "\n".join(filter(None, (self._why, _ADVICE[trouble])))
        hints = {"desktop-entry": Variant("s", _ICON), "urgency": Variant("y", 1)}
        try:
            # The connection stays while the notification stands: some desktops remove those of
            # programs that have left the bus.
            if self._bus is None or not self._bus.connected:
                self._bus = await session.connect(self._address)
                # Somebody has to take note of how the connection ends, or asyncio complains.
                self._end = asyncio.get_running_loop().create_task(session.ended(self._bus))
            replaces = self._told.number if self._told and self._told.bus is self._bus else 0
            (number,) = await session.call(
                self._bus,
                "Notify",
                "susssasa{sv}i",
                [_APP, replaces, _ICON, _TITLES[trouble], _plain(text), [], hints, -1],
                destination=NAME,
                path=PATH,
                interface=NAME,
                start=True,
            )
        except (ServiceError, DBusError, ConnectionError, asyncio.TimeoutError) as error:
            _log.debug("no notification: %s", error)
            self._leave()
            return
        self._told = _Told(trouble, number, self._bus)

    async def _take_back(self) -> None:
        async with self._guard:
            told, self._told = self._told, None
            if told is not None and told.bus.connected:
                try:
                    await session.call(
                        told.bus,
                        "CloseNotification",
                        "u",
                        [told.number],
                        destination=NAME,
                        path=PATH,
                        interface=NAME,
                        timeout_s=1.0,
                    )
                except (DBusError, ConnectionError, asyncio.TimeoutError) as error:
                    _log.debug("the notification stays: %s", error)  # or the user closed it
            self._leave()

    def _leave(self) -> None:
        bus, self._bus = self._bus, None
        if bus is not None and bus.connected:
            bus.disconnect()


def _plain(text: str) -> str:
    """A text for servers that read markup in it."""
    for char, word in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(char, word)
    return text
