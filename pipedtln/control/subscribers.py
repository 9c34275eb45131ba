"""Who wants levels or spectra; they are measured and sent only while somebody does."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from dbus_fast import DBusError, Message
from dbus_fast.aio import MessageBus

from pipedtln.control import bus as session
from pipedtln.control.api import Spectral, Steerable
from pipedtln.control.introspection import SIGNALS
from pipedtln.control.wire import BUS, INTERFACE, LEVELS, PATH, SPECTRA, SUBSCRIBABLE

_log = logging.getLogger(__name__)

PERIOD_S = 0.1


class Subscribers:
    """The subscribers on one connection to the bus, by unique name.

    Each gets the signals addressed to itself, ten a second, and is forgotten when it leaves.
    """

    def __init__(self, bus: MessageBus, steerable: Steerable) -> None:
        self._bus = bus
        self._steerable = steerable
        self._names: dict[str, set[str]] = {signal: set() for signal in SUBSCRIBABLE}
        self._task: asyncio.Task[None] | None = None

    def offers(self, signal: str) -> bool:
        """Whether the bridge can tell this signal."""
        return signal == LEVELS or (signal == SPECTRA and isinstance(self._steerable, Spectral))

    async def add(self, signal: str, name: str) -> None:
        """Send a signal to a client from now on; twice is once.

        Raises
        ------
        DBusError
            If the client has left the bus already.
        """
        known = self._knows(name)
        self._names[signal].add(name)
        if not known:
            try:
                await self._call("AddMatch", "s", _leaves(name))
                # It may have left before the match was in place.
                await self._call("GetNameOwner", "s", name)
            except DBusError:
                self.leave(name)
                raise
        if self._task is None and self._names[signal]:
            self._task = asyncio.get_running_loop().create_task(self._send())

    async def remove(self, signal: str, name: str) -> None:
        """Stop sending a signal to a client."""
        if name in self._names[signal]:
            self._names[signal].discard(name)
            if not self._knows(name):
                await self._call("RemoveMatch", "s", _leaves(name))

    def leave(self, name: str) -> None:
        """Forget a client that has left the bus."""
        if self._knows(name):
            for names in self._names.values():
                names.discard(name)
            session.post(
                self._bus,
                Message(
                    destination=BUS,
                    path="/org/freedesktop/DBus",
                    interface=BUS,
                    member="RemoveMatch",
                    signature="s",
                    body=[_leaves(name)],
                ),
            )

    def close(self) -> None:
        """Send nothing any more."""
        for names in self._names.values():
            names.clear()
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _knows(self, name: str) -> bool:
        return any(name in names for names in self._names.values())

    async def _call(self, member: str, signature: str, argument: str) -> None:
        await session.call(self._bus, member, signature, [argument])

    async def _send(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        try:
            while any(self._names.values()) and self._bus.connected:
                self._tell()
                # Kept to a grid, but never hurried to make up for a stall.
                due = max(due + PERIOD_S, loop.time())
                await asyncio.sleep(due - loop.time())
        except Exception:  # noqa: BLE001 - the bridge outlives a fault in its meters
            _log.exception("levels are no longer sent: the bridge could not tell them")
            for names in self._names.values():
                names.clear()
        finally:
            if self._task is asyncio.current_task():
                self._task = None

    def _tell(self) -> None:
        if self._names[LEVELS]:
            self._signal(LEVELS, [float(level) for level in self._steerable.levels()])
        if self._names[SPECTRA] and isinstance(self._steerable, Spectral):
            self._signal(SPECTRA, [bytes(spectrum) for spectrum in self._steerable.spectra()])

    def _signal(self, signal: str, body: list[Any]) -> None:
        for name in tuple(self._names[signal]):
            message = Message.new_signal(PATH, INTERFACE, signal, SIGNALS[signal].returns, body)
            message.destination = name
            session.post(self._bus, message)


def _leaves(name: str) -> str:
    return (
        f"type='signal',sender='{BUS}',interface='{BUS}',member='NameOwnerChanged',"
        f"arg0='{name}',arg2=''"
    )
