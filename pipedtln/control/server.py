"""The bridge's place on the session bus: gets it, keeps it, tells what changes there."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from dbus_fast import DBusError, Message, NameFlag, RequestNameReply
from dbus_fast.aio import MessageBus

from pipedtln.control import bus as session
from pipedtln.control.api import Steerable
from pipedtln.control.dispatch import Dispatcher
from pipedtln.control.properties import Changes
from pipedtln.control.subscribers import Subscribers
from pipedtln.control.wire import INTERFACE, NAME, PATH, PROPERTIES
from pipedtln.errors import ServiceError

_log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
"""How often the properties are looked at; also the pace of those that are told slowly."""
_REST_S = 0.05
"""Shortest time between two looks, however often the bridge says that something changed."""


class NameTakenError(ServiceError):
    """Another instance owns our name."""


class ControlServer:
    """Offers a bridge to the session bus, and comes back when the bus does.

    Parameters
    ----------
    steerable : the bridge; called on this loop only
    address : of the bus; by default that of the session
    first_retry_s, last_retry_s : the pause after a lost bus doubles from the one to the other
    """

    def __init__(
        self,
        steerable: Steerable,
        address: str | None = None,
        *,
        first_retry_s: float = 0.5,
        last_retry_s: float = 60.0,
    ) -> None:
        self._steerable = steerable
        self._address = address
        self._first_retry_s = first_retry_s
        self._last_retry_s = last_retry_s
        self._bus: MessageBus | None = None
        self._subscribers: Subscribers | None = None
        self._dispatcher: Dispatcher | None = None
        self._look = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._complaint: str | None = None

    @property
    def connected(self) -> bool:
        """Whether the bridge is on the bus now."""
        return self._bus is not None and self._bus.connected

    @property
    def problem(self) -> str | None:
        """Why the bridge is not on the bus, in one line, or None."""
        return None if self.connected else self._complaint

    async def start(self) -> bool:
        """Take our name on the bus and answer there.

        Returns
        -------
        False if there is no bus (``problem`` says why; the caller logs it). The bridge works
        without; the server keeps looking for a bus, ever more seldom.

        Raises
        ------
        ServiceError
            If another instance runs already; says which.
        """
        found = True
        try:
            await self._join()
        except NameTakenError:
            raise
        except ServiceError as error:
            self._complaint = str(error)
            found = False
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._stay()), loop.create_task(self._tell())]
        return found

    async def stop(self) -> None:
        """Leave the bus; safe to call twice and without start()."""
        while self._tasks:
            # More than once: before Python 3.12 asyncio.wait_for() swallows a cancellation that
            # comes together with what it waits for (python/cpython issue 86296).
            for task in self._tasks:
                task.cancel()
            _, left = await asyncio.wait(self._tasks, timeout=0.1)
            self._tasks = list(left)
        bus = self._bus
        self._part()
        if bus is not None and bus.connected:
            # The bus frees the name before it confirms, so a successor may start at once.
            with suppress(DBusError, ConnectionError, asyncio.TimeoutError):
                await session.call(bus, "ReleaseName", "s", [NAME], timeout_s=1.0)
            bus.disconnect()
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(session.ended(bus), 1.0)

    def notify(self) -> None:
        """Say that the bridge changed: its properties are looked at now, not within a second."""
        self._look.set()

    async def _join(self) -> None:
        bus = await session.connect(self._address)
        subscribers = Subscribers(bus, self._steerable)
        dispatcher = Dispatcher(bus, self._steerable, subscribers, self.notify)
        # Before the name is ours, so that not even the first call is missed.
        bus.add_message_handler(dispatcher)
        try:
            await _take_name(bus)
        except ServiceError:
            bus.disconnect()
            raise
        self._bus, self._subscribers, self._dispatcher = bus, subscribers, dispatcher
        self._complaint = None
        self._look.set()

    def _part(self) -> None:
        if self._dispatcher is not None:
            self._dispatcher.close()
        if self._subscribers is not None:
            self._subscribers.close()
        self._bus = self._subscribers = self._dispatcher = None

    async def _stay(self) -> None:
        pause = self._first_retry_s
        while True:
            if self._bus is not None:
                await session.ended(self._bus)
                self._part()
                self._complaint = "the D-Bus session bus went away; waiting for it"
                _log.warning("%s", self._complaint)
                pause = self._first_retry_s
            await asyncio.sleep(pause)
            pause = min(2 * pause, self._last_retry_s)
            try:
                await self._join()
            except ServiceError as error:
                if isinstance(error, NameTakenError) and str(error) != self._complaint:
                    _log.warning("%s", error)
                self._complaint = str(error)
            except Exception:  # noqa: BLE001 - the bridge outlives its bus, whatever happens
                _log.exception("cannot join the session bus")
            else:
                _log.info("on the D-Bus session bus as %s", NAME)

    async def _tell(self) -> None:
        loop = asyncio.get_running_loop()
        changes, told_to, slow_due, failure = Changes(), self._bus, 0.0, ""
        while True:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._look.wait(), LOOK_EVERY_S)
            self._look.clear()
            bus = self._bus
            if bus is None:
                continue
            if bus is not told_to:
                changes, told_to = Changes(), bus
            slowly = loop.time() >= slow_due
            if slowly:
                slow_due = loop.time() + 0.95 * LOOK_EVERY_S
            try:
                changed = changes.since(self._steerable.status(), slowly=slowly)
                if changed:
                    body = [INTERFACE, changed, []]
                    session.post(
                        bus,
                        Message.new_signal(PATH, PROPERTIES, "PropertiesChanged", "sa{sv}as", body),
                    )
            except Exception as error:  # noqa: BLE001 - told once, tried again
                if str(error) != failure:
                    failure = str(error)
                    _log.exception("the bridge could not tell its status")
            await asyncio.sleep(_REST_S)


async def _who_runs(bus: MessageBus) -> str:
    try:
        (pid,) = await session.call(bus, "GetConnectionUnixProcessID", "s", [NAME])
        who = f" (process {pid})"
    except (DBusError, ConnectionError, asyncio.TimeoutError):
        who = ""
    return (
        f"pipedtln runs already{who}. See it with: pipedtln status; "
        "end it with: systemctl --user stop pipedtln"
    )


async def _take_name(bus: MessageBus) -> None:
    try:
        reply = await asyncio.wait_for(
            bus.request_name(NAME, NameFlag.DO_NOT_QUEUE), session.CONNECT_TIMEOUT_S
        )
    except (DBusError, OSError, EOFError, AttributeError, asyncio.TimeoutError) as error:
        raise ServiceError(f"the session bus refused the name {NAME}: {error}") from error
    if reply not in (RequestNameReply.PRIMARY_OWNER, RequestNameReply.ALREADY_OWNER):
        raise NameTakenError(await _who_runs(bus))
