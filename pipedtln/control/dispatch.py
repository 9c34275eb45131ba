"""Answers the method calls that arrive for our object on the bus."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from dbus_fast import DBusError, Message, MessageFlag, MessageType, Variant
from dbus_fast.aio import MessageBus

from pipedtln import config
from pipedtln.control import bus as session
from pipedtln.control import properties, wire
from pipedtln.control.api import Recording, Steerable
from pipedtln.control.introspection import METHODS, xml
from pipedtln.control.subscribers import Subscribers
from pipedtln.errors import InputError, PipedtlnError

_log = logging.getLogger(__name__)

_SHORTHANDS = {
    "SetMicrophone": "mic",
    "SetReference": "reference",
    "SetModel": "model",
    "SetStrength": "strength",
    "SetBypass": "bypass",
    "SetMuted": "muted",
}


class Dispatcher:
    """Calls the bridge for others, and answers with its results or its errors.

    Parameters
    ----------
    changed : called after each call that may have changed the bridge
    """

    def __init__(
        self, bus: MessageBus, steerable: Steerable, subscribers: Subscribers, changed: Any
    ) -> None:
        self._bus = bus
        self._steerable = steerable
        self._subscribers = subscribers
        self._changed = changed
        self._calls: set[asyncio.Task[None]] = set()

    def __call__(self, message: Message) -> bool:
        """Take a message from the bus; True if it was for our object."""
        if message.message_type is MessageType.SIGNAL:
            if message.sender == wire.BUS and message.member == "NameOwnerChanged":
                name, _, owner = message.body
                if not owner:
                    self._subscribers.leave(name)
            return False
        if message.message_type is not MessageType.METHOD_CALL:
            return False
        if message.interface == wire.INTROSPECTABLE and message.member == "Introspect":
            text = xml(message.path or "")
            if text is None:
                return False
            session.post(self._bus, Message.new_method_return(message, "s", [text]))
            return True
        if message.path != wire.PATH or message.interface == "org.freedesktop.DBus.Peer":
            return False
        task = asyncio.get_running_loop().create_task(self._answer(message))
        self._calls.add(task)  # the loop itself keeps only weak references
        task.add_done_callback(self._calls.discard)
        return True

    def close(self) -> None:
        """Give up the calls under way."""
        for task in self._calls:
            task.cancel()

    async def _answer(self, message: Message) -> None:
        try:
            signature, body = await self._call(message)
            reply = Message.new_method_return(message, signature, body)
        except PipedtlnError as error:
            reply = Message.new_error(message, wire.error_name(error), wire.one_line(str(error)))
        except DBusError as error:
            reply = Message.new_error(message, error.type, wire.one_line(error.text))
        except Exception as error:  # noqa: BLE001 - every call is answered, bugs included
            _log.exception("%s failed", message.member)
            reply = Message.new_error(
                message,
                wire.ERRORS + "PipedtlnError",
                f"a bug in pipedtln: {message.member} failed ({type(error).__name__}); "
                "see its log: journalctl --user -u pipedtln",
            )
        if not message.flags & MessageFlag.NO_REPLY_EXPECTED:
            session.post(self._bus, reply)

    async def _call(self, message: Message) -> tuple[str, list[Any]]:
        """Signature and values of the reply."""
        member, body = message.member or "", message.body
        if message.interface == wire.PROPERTIES:
            return self._property(message)
        if message.interface not in (None, "", wire.INTERFACE):
            raise DBusError(wire.UNKNOWN_INTERFACE, f"no interface {message.interface} here")
        method = METHODS.get(member)
        if method is None:
            raise DBusError(wire.UNKNOWN_METHOD, f"no method {member} in {wire.INTERFACE}")
        if message.signature != method.signature:
            raise DBusError(
                wire.INVALID_ARGS,
                f"{member} takes '{method.signature}', not '{message.signature}'",
            )
        if member in _SHORTHANDS:
            await self._set(_SHORTHANDS[member], body[0], keep=True)
            return "", []
        result: list[Any] = []
        if member == "GetStatus":
            result = [wire.status_to_json(self._steerable.status())]
        elif member == "GetSettings":
            result = [wire.settings_to_variants(self._steerable.settings())]
        elif member == "Set":
            await self._set(body[0], body[1].value, keep=body[2])
        elif member == "Reload":
            await self._steerable.reload()
            self._changed()
        elif member == "Record":
            result = [await self._record(*body)]
        else:
            await self._subscription(member, body[0], message.sender or "")
        return method.returns, result

    async def _set(self, key: str, value: object, *, keep: bool) -> None:
        # Checked here already, so that nothing of the wrong type gets any further.
        checked = config.check(key, value)
        await self._steerable.set(key, checked, keep=keep)
        self._changed()

    async def _record(self, seconds: float, folder: str) -> list[str]:
        if not isinstance(self._steerable, Recording):
            raise DBusError(wire.NOT_SUPPORTED, "this bridge does not offer recording")
        if not 0 < seconds <= 600:
            raise InputError(f"cannot record {seconds:g} seconds; choose more than 0, up to 600")
        return [wire.clean_text(name) for name in await self._steerable.record(seconds, folder)]

    async def _subscription(self, member: str, signal: str, sender: str) -> None:
        if signal not in wire.SUBSCRIBABLE:
            offered = " or ".join(wire.SUBSCRIBABLE)
            raise DBusError(wire.INVALID_ARGS, f"no signal '{signal}' to subscribe to; {offered}")
        if member == "Unsubscribe":
            await self._subscribers.remove(signal, sender)
            return
        if not self._subscribers.offers(signal):
            raise DBusError(wire.NOT_SUPPORTED, f"this bridge does not tell {signal}")
        await self._subscribers.add(signal, sender)

    def _property(self, message: Message) -> tuple[str, list[Any]]:
        expected = {"Get": "ss", "GetAll": "s", "Set": "ssv"}.get(message.member or "")
        if expected is None or message.signature != expected:
            raise DBusError(
                wire.UNKNOWN_METHOD,
                f"no method {message.member}({message.signature}) in {wire.PROPERTIES}",
            )
        if message.body[0] not in (wire.INTERFACE, ""):
            raise DBusError(wire.UNKNOWN_INTERFACE, f"no interface {message.body[0]} here")
        if message.member == "GetAll":
            return "a{sv}", [properties.read_all(self._steerable.status())]
        entry = properties.BY_NAME.get(message.body[1])
        if entry is None:
            raise DBusError(wire.UNKNOWN_PROPERTY, f"no property {message.body[1]}")
        if message.member == "Set":
            raise DBusError(
                wire.READ_ONLY, f"{entry.name} tells what is; change settings with method Set"
            )
        value: Variant = entry.read(self._steerable.status())
        return "v", [value]
