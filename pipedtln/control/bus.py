"""A connection to the session bus, with our errors in place of the library's."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dbus_fast import DBusError, Message, MessageFlag, MessageType
from dbus_fast.aio import MessageBus

from pipedtln.control.wire import BUS, BUS_PATH, NotRunningError

CONNECT_TIMEOUT_S = 5.0


def session_bus_address(environment: Mapping[str, str] | None = None) -> str | None:
    """Address of the session bus: that of the environment, else the user manager's socket."""
    environment = os.environ if environment is None else environment
    named = environment.get("DBUS_SESSION_BUS_ADDRESS")
    if named:
        return named
    runtime = environment.get("XDG_RUNTIME_DIR")
    if runtime and (Path(runtime) / "bus").is_socket():
        return "unix:path=" + quote(str(Path(runtime) / "bus"), safe="/")
    return None


async def connect(address: str | None = None) -> MessageBus:
    """Join the session bus.

    Parameters
    ----------
    address : by default :func:`session_bus_address`

    Raises
    ------
    NotRunningError
        If there is no bus or it does not let us in.
    """
    address = address or session_bus_address()
    if address is None:
        raise NotRunningError(
            "no D-Bus session bus: neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR leads to "
            "one. Log in to a desktop or user session, or use: dbus-run-session"
        )
    try:
        # The library's releases differ in whether the constructor or connect() opens the socket.
        return await asyncio.wait_for(MessageBus(bus_address=address).connect(), CONNECT_TIMEOUT_S)
    except asyncio.TimeoutError as error:
        raise NotRunningError(
            f"the D-Bus session bus at {address} does not answer; is its daemon alive?"
        ) from error
    except (OSError, EOFError, ValueError, TypeError, DBusError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise NotRunningError(
            f"cannot reach the D-Bus session bus at {address}: {why}; is its daemon alive?"
        ) from error


async def call(
    bus: MessageBus,
    member: str,
    signature: str = "",
    body: list[Any] | None = None,
    *,
    destination: str = BUS,
    path: str = BUS_PATH,
    interface: str = BUS,
    timeout_s: float = CONNECT_TIMEOUT_S,
    start: bool = False,
) -> list[Any]:
    """Call a method, by default one of the bus itself.

    Parameters
    ----------
    start : whether the bus may start the destination for it

    Returns
    -------
    The reply's values.

    Raises
    ------
    DBusError
        If the reply is an error.
    ConnectionError
        If the bus went away.
    TimeoutError (asyncio's)
        If no reply came in time.
    """
    if not bus.connected:
        raise ConnectionError("the bus went away")
    message = Message(
        destination=destination,
        path=path,
        interface=interface,
        member=member,
        signature=signature,
        body=body or [],
        flags=MessageFlag.NONE if start else MessageFlag.NO_AUTOSTART,
    )
    try:
        reply = await asyncio.wait_for(bus.call(message), timeout_s)
    except (OSError, EOFError) as error:
        if isinstance(error, asyncio.TimeoutError):  # an OSError from Python 3.11 on
            raise
        raise ConnectionError("the bus went away") from error
    if reply is None:
        raise ConnectionError("the bus went away")
    if reply.message_type is MessageType.ERROR:
        text = str(reply.body[0]) if reply.body else ""
        raise DBusError(reply.error_name or "org.freedesktop.DBus.Error.Failed", text, reply)
    return list(reply.body)


async def ended(bus: MessageBus) -> None:
    """Return when the connection has ended, whatever ended it."""
    with suppress(Exception):
        # Shielded: all who wait share one future, and one who gives up would cancel it for all.
        await asyncio.shield(bus.wait_for_disconnect())  # type: ignore[no-untyped-call]


def post(bus: MessageBus, message: Message) -> None:
    """Send a message that nobody answers; lost in silence when the bus has gone."""
    if bus.connected:
        bus.send(message).add_done_callback(_forget)


def _forget(sent: asyncio.Future[Any]) -> None:
    """Take note of a failed send; that the bus ended is told elsewhere."""
    if not sent.cancelled():
        sent.exception()
