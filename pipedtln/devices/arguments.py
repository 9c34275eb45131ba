"""Reads and writes the argument text of server modules, e.g. ``sink_name=x props='a="b c"'``.

Argument texts and property lists have one grammar on both servers: ``key=value`` separated by
white space, the value bare or in single or double quotes, a backslash escaping one character.
"""

from __future__ import annotations

from collections.abc import Mapping

from pipedtln.devices.names import OWNER, OWNER_PROPERTY

PROPERTY_LISTS = (
    "sink_properties",
    "source_properties",
    "sink_input_properties",
    "source_output_properties",
)
"""Arguments of modules whose value is again such a text."""


def parse(text: str | None) -> dict[str, str]:
    """Split an argument text or property list; the last of equal keys wins.

    Text that is of no such form (PipeWire's own modules carry JSON) gives what can be read,
    never an error.
    """
    found: dict[str, str] = {}
    rest = text or ""
    at = 0
    while at < len(rest):
        equals = rest.find("=", at)
        if equals < 0:
            break
        # Anything before the last white space is no key, but a word without a value.
        words = rest[at:equals].split()
        value, at = _value(rest, equals + 1)
        if words and not rest[equals - 1].isspace():
            found[words[-1]] = value
    return found


def _value(text: str, at: int) -> tuple[str, int]:
    quote = text[at] if at < len(text) and text[at] in "'\"" else ""
    at += len(quote)
    taken: list[str] = []
    while at < len(text):
        char = text[at]
        at += 1
        if char == "\\" and at < len(text):
            taken.append(text[at])
            at += 1
        elif (quote and char == quote) or (not quote and char.isspace()):
            break
        else:
            taken.append(char)
    return "".join(taken), at


def properties(values: Mapping[str, str]) -> str:
    """Write a property list in single quotes, with our owner property added.

    Only the form ``'key="A B"'`` works everywhere: the reverse quoting fails on PulseAudio and is
    cut to the first word on PipeWire.
    """
    items = {**values, OWNER_PROPERTY: OWNER}
    return "'" + " ".join(f'{key}="{value}"' for key, value in items.items()) + "'"


def is_owned(arguments: Mapping[str, str]) -> bool:
    """Whether parsed arguments give what the module makes our owner property."""
    return any(
        parse(arguments[key]).get(OWNER_PROPERTY) == OWNER
        for key in PROPERTY_LISTS
        if key in arguments
    )
