"""Runs the tray item: registers it with the desktop, follows the bridge, does what is clicked."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

from dbus_fast import DBusError, Message, MessageType
from dbus_fast.aio import MessageBus

from pipedtln.control import bus as session
from pipedtln.control import wire
from pipedtln.control.api import Status
from pipedtln.control.client import BridgeClient
from pipedtln.errors import PipedtlnError, ServiceError
from pipedtln.tray.entries import describe, entries
from pipedtln.tray.item import Face, Item
from pipedtln.tray.menu import Menu

_log = logging.getLogger(__name__)

WATCHER = "org.kde.StatusNotifierWatcher"
_WATCHER_PATH = "/StatusNotifierWatcher"
_SHOWN = frozenset({"State", "Bypass", "Muted", "Strength", "Microphone", "Recorders", "Problems"})
"""Properties whose change is seen in the tray."""
_REST_S = 0.05
_STEP = 5

Offer = Callable[[], Sequence[tuple[str, str]]]
"""Names and descriptions of microphones; may take a moment, may raise PipedtlnError."""


def microphones() -> Sequence[tuple[str, str]]:
    """Real microphones of this desktop.

    Raises
    ------
    ServerError
        If no sound server answers.
    """
    from pipedtln.audio.server import connect
    from pipedtln.devices.listing import list_sources

    with connect() as pulse:
        sources = [one for one in list_sources(pulse, monitors=False) if not one.ours]
    return [(source.name, source.description) for source in sources]


class Tray:
    """The item from start to end; belongs to one event loop.

    Parameters
    ----------
    address : of the bus; by default that of the session
    offer : what can be chosen as microphone
    """

    def __init__(self, address: str | None = None, *, offer: Offer = microphones) -> None:
        self._address = address
        self._offer = offer
        self._client = BridgeClient(address)
        self._look = asyncio.Event()
        self._end = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._status: Status | None = None
        self._microphone = "auto"
        self._microphones: Sequence[tuple[str, str]] = ()
        self._problem = ""
        self._listed = True
        self._bus: MessageBus
        self._item: Item
        self._menu: Menu

    def stop(self) -> None:
        """Have :meth:`run` return."""
        self._end.set()

    async def run(self) -> None:
        """Show the item until :meth:`stop`, a click on its last entry or the end of the bus.

        A desktop that has no tray, or gets one later, is waited for.

        Raises
        ------
        ServiceError
            If there is no session bus.
        """
        self._bus = await session.connect(self._address)
        ended = asyncio.get_running_loop().create_task(session.ended(self._bus))
        try:
            await self._client.connect()
            self._item = Item(self._bus, self._press, self._turn)
            self._menu = Menu(self._bus, self._click, self._open)
            self._bus.add_message_handler(self._receive)
            for rule in (
                f"type='signal',sender='{wire.NAME}',path='{wire.PATH}',"
                f"interface='{wire.PROPERTIES}',member='PropertiesChanged'",
                _owner_rule(WATCHER),
                _owner_rule(wire.NAME),
            ):
                await session.call(self._bus, "AddMatch", "s", [rule])
            self._do(self._register())
            self._do(self._follow())
            stopped = asyncio.get_running_loop().create_task(self._end.wait())
            await asyncio.wait([ended, stopped], return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._client.close()
            if self._bus.connected:
                self._bus.disconnect()
            await asyncio.wait([ended], timeout=1.0)

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _receive(self, message: Message) -> None:
        if message.message_type is not MessageType.SIGNAL:
            return
        if message.member == "NameOwnerChanged" and message.sender == wire.BUS:
            name, _, owner = message.body
            if name == WATCHER and owner:
                self._do(self._register())
            elif name == wire.NAME:
                self._look.set()
        elif (
            message.member == "PropertiesChanged"
            and message.path == wire.PATH
            and _SHOWN & set(message.body[1])
        ):
            self._look.set()

    async def _register(self) -> None:
        """Tell the desktop's tray that we are here; it comes by itself if there is none yet."""
        name = f"org.kde.StatusNotifierItem-{os.getpid()}-1"
        with suppress(DBusError, ConnectionError, asyncio.TimeoutError):
            await self._bus.request_name(name)
            await session.call(
                self._bus,
                "RegisterStatusNotifierItem",
                "s",
                [name],
                destination=WATCHER,
                path=_WATCHER_PATH,
                interface=WATCHER,
            )
            return
        _log.info("this desktop has no tray yet")

    async def _follow(self) -> None:
        """Show the bridge as it is, again after each change."""
        while True:
            self._look.clear()
            try:
                self._status = await self._client.status()
                self._microphone = str((await self._client.settings()).get("mic", "auto"))
            except ServiceError:
                self._status = None
            if self._listed:
                self._listed = False
                with suppress(PipedtlnError):  # without a server there is nothing to choose
                    self._microphones = await asyncio.to_thread(self._offer)
            self._show()
            await self._look.wait()
            await asyncio.sleep(_REST_S)

    def _show(self) -> None:
        status = self._status
        self._item.show(Face(status.state if status else "off", describe(status)))
        self._menu.show(entries(status, self._microphone, self._microphones, self._problem))

    # --- what the user does ------------------------------------------------------------------

    def _open(self) -> None:
        self._listed = True
        self._look.set()

    def _press(self) -> None:
        if self._status is not None:
            self._do(self._set("bypass", not self._status.bypass))

    def _turn(self, steps: int) -> None:
        if self._status is not None:
            strength = min(100, max(0, self._status.strength + _STEP * steps))
            self._do(self._set("strength", strength))

    def _click(self, value: tuple[str, Any]) -> None:
        what, wanted = value
        if what == "quit":
            self.stop()
        elif what == "start":
            self._do(self._start())
        else:
            self._do(self._set(what, wanted))

    async def _set(self, key: str, value: Any) -> None:
        try:
            await self._client.set(key, value)
            self._problem = ""
        except PipedtlnError as error:
            self._problem = str(error)
        self._look.set()

    async def _start(self) -> None:
        """Have the bus start the service, by the file that setup installs."""
        self._problem = ""
        try:
            await session.call(
                self._bus, "StartServiceByName", "su", [wire.NAME, 0], timeout_s=30.0
            )
        except (DBusError, ConnectionError, asyncio.TimeoutError):
            self._problem = "It could not be started; see: systemctl --user status pipedtln"
        self._look.set()


def _owner_rule(name: str) -> str:
    return (
        f"type='signal',sender='{wire.BUS}',interface='{wire.BUS}',"
        f"member='NameOwnerChanged',arg0='{name}'"
    )
