"""Puts an object with methods and properties on a bus."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from xml.etree import ElementTree as ET

from dbus_fast import ErrorType, Message, MessageType, SignatureTree, Variant
from dbus_fast.aio import MessageBus

from pipedtln.control import bus as session
from pipedtln.control.wire import INTROSPECTABLE, PROPERTIES


@dataclass(frozen=True)
class Method:
    """What it takes and gives, as D-Bus signatures, and who does it."""

    takes: str
    gives: str
    do: Callable[..., list[Any]]


class Exported(ABC):
    """One interface at one path; a message handler of the bus.

    Parameters
    ----------
    bus : where it is offered
    """

    path: ClassVar[str]
    interface: ClassVar[str]

    def __init__(self, bus: MessageBus) -> None:
        self._bus = bus
        bus.add_message_handler(self._receive)

    @abstractmethod
    def methods(self) -> Mapping[str, Method]:
        """The methods by name."""

    @abstractmethod
    def properties(self) -> Mapping[str, Variant]:
        """The properties as they are now, by name."""

    def signals(self) -> Mapping[str, str]:
        """Signatures of the signals by name."""
        return {}

    def emit(self, signal: str, *body: Any) -> None:
        """Send one of the signals to everybody."""
        signature = self.signals()[signal]
        message = Message.new_signal(self.path, self.interface, signal, signature, list(body))
        session.post(self._bus, message)

    def _receive(self, message: Message) -> Message | None:
        if message.message_type is not MessageType.METHOD_CALL or message.path != self.path:
            return None
        if message.interface == PROPERTIES:
            return self._property(message)
        if message.interface == INTROSPECTABLE:
            return Message.new_method_return(message, "s", [self._introspection()])
        method = self.methods().get(message.member or "")
        if method is None or message.interface not in (self.interface, None):
            return None  # the library answers that there is no such method
        return self._answer(message, method)

    def _answer(self, message: Message, method: Method) -> Message:
        if message.signature != method.takes:
            return Message.new_error(message, ErrorType.INVALID_SIGNATURE, f"takes {method.takes}")
        try:
            given = method.do(*message.body)
        except LookupError as error:
            return Message.new_error(message, ErrorType.INVALID_ARGS, str(error))
        return Message.new_method_return(message, method.gives, given)

    def _property(self, message: Message) -> Message | None:
        properties = self.properties()
        if message.member == "GetAll" and message.signature == "s":
            return Message.new_method_return(message, "a{sv}", [dict(properties)])
        if message.member == "Get" and message.signature == "ss":
            value = properties.get(message.body[1])
            if value is None:
                return Message.new_error(message, ErrorType.UNKNOWN_PROPERTY, message.body[1])
            return Message.new_method_return(message, "v", [value])
        if message.member == "Set":
            return Message.new_error(message, ErrorType.PROPERTY_READ_ONLY, "nothing can be set")
        return None

    def _introspection(self) -> str:
        node = ET.Element("node")
        interface = ET.SubElement(node, "interface", name=self.interface)
        for name, method in self.methods().items():
            element = ET.SubElement(interface, "method", name=name)
            for direction, signature in (("in", method.takes), ("out", method.gives)):
                for one in _single(signature):
                    ET.SubElement(element, "arg", type=one, direction=direction)
        for name, signature in self.signals().items():
            element = ET.SubElement(interface, "signal", name=name)
            for one in _single(signature):
                ET.SubElement(element, "arg", type=one)
        for name, value in self.properties().items():
            ET.SubElement(interface, "property", name=name, type=value.signature, access="read")
        return ET.tostring(node, encoding="unicode")


def _single(signature: str) -> list[str]:
    """The complete types of a signature, one by one."""
    return [str(kind.signature) for kind in SignatureTree(signature).types]
