"""What busctl and others read of our object: its methods, properties and signals as XML."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree as ET

from pipedtln.control import properties
from pipedtln.control.wire import INTERFACE, INTROSPECTABLE, LEVELS, PATH, PROPERTIES, SPECTRA

_DOCTYPE = (
    '<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN" '
    '"http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">\n'
)
_EMITS = "org.freedesktop.DBus.Property.EmitsChangedSignal"

Arguments = tuple[tuple[str, str], ...]
"""Name and signature of each."""


@dataclass(frozen=True)
class Member:
    """A method or a signal."""

    name: str
    takes: Arguments = ()
    gives: Arguments = ()

    @property
    def signature(self) -> str:
        """Of what it takes, whole."""
        return "".join(signature for _, signature in self.takes)

    @property
    def returns(self) -> str:
        """Of what it gives, whole."""
        return "".join(signature for _, signature in self.gives)


METHODS = {
    method.name: method
    for method in (
        Member("GetStatus", gives=(("json", "s"),)),
        Member("GetSettings", gives=(("settings", "a{sv}"),)),
        Member("Set", takes=(("key", "s"), ("value", "v"), ("keep", "b"))),
        Member("SetMicrophone", takes=(("name", "s"),)),
        Member("SetReference", takes=(("name", "s"),)),
        Member("SetModel", takes=(("name", "s"),)),
        Member("SetStrength", takes=(("percent", "u"),)),
        Member("SetBypass", takes=(("bypass", "b"),)),
        Member("SetMuted", takes=(("muted", "b"),)),
        Member("Reload"),
        Member("Record", takes=(("seconds", "d"), ("folder", "s")), gives=(("files", "as"),)),
        Member("Subscribe", takes=(("signal", "s"),)),
        Member("Unsubscribe", takes=(("signal", "s"),)),
    )
}

SIGNALS = {
    signal.name: signal
    for signal in (
        Member(LEVELS, gives=(("mic_dbfs", "d"), ("reference_dbfs", "d"), ("output_dbfs", "d"))),
        Member(SPECTRA, gives=(("mic", "ay"), ("output", "ay"))),
    )
}

_STANDARD = {
    PROPERTIES: (
        Member("Get", (("interface", "s"), ("property", "s")), (("value", "v"),)),
        Member("GetAll", (("interface", "s"),), (("properties", "a{sv}"),)),
        Member("Set", (("interface", "s"), ("property", "s"), ("value", "v"))),
    ),
    INTROSPECTABLE: (Member("Introspect", gives=(("xml", "s"),)),),
    "org.freedesktop.DBus.Peer": (Member("Ping"), Member("GetMachineId", gives=(("id", "s"),))),
}


def xml(path: str) -> str | None:
    """Introspection of our object, or of a node on the way to it; None elsewhere."""
    node = ET.Element("node")
    if path == PATH:
        for name, methods in _STANDARD.items():
            interface = ET.SubElement(node, "interface", name=name)
            for method in methods:
                _member(interface, "method", method)
        ours = ET.SubElement(node, "interface", name=INTERFACE)
        for method in METHODS.values():
            _member(ours, "method", method)
        for signal in SIGNALS.values():
            _member(ours, "signal", signal)
        for entry in properties.ALL:
            told = ET.SubElement(
                ours, "property", name=entry.name, type=entry.signature, access="read"
            )
            if entry.tells == "never":
                ET.SubElement(told, "annotation", name=_EMITS, value="false")
    else:
        above = path.rstrip("/") + "/"
        if not PATH.startswith(above):
            return None
        ET.SubElement(node, "node", name=PATH[len(above) :].split("/", 1)[0])
    ET.indent(node)
    return _DOCTYPE + ET.tostring(node, encoding="unicode") + "\n"


def _member(parent: ET.Element, kind: str, member: Member) -> None:
    element = ET.SubElement(parent, kind, name=member.name)
    for direction, arguments in (("in", member.takes), ("out", member.gives)):
        for name, signature in arguments:
            argument = ET.SubElement(element, "arg", name=name, type=signature)
            if kind == "method":
                argument.set("direction", direction)
