"""The words on the bus: names, and how a Status, a setting and an error cross it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from dbus_fast import Variant

from pipedtln import errors
from pipedtln.config import Value
from pipedtln.control.api import Status
from pipedtln.errors import PipedtlnError, ServiceError

NAME = "io.github.pipedtln"
"""Well-known name on the session bus."""
PATH = "/io/github/pipedtln"
INTERFACE = "io.github.pipedtln.Bridge"
ERRORS = "io.github.pipedtln.Error."

BUS = "org.freedesktop.DBus"
BUS_PATH = "/org/freedesktop/DBus"
PROPERTIES = "org.freedesktop.DBus.Properties"
INTROSPECTABLE = "org.freedesktop.DBus.Introspectable"

LEVELS = "Levels"
SPECTRA = "Spectra"
SUBSCRIBABLE = (LEVELS, SPECTRA)
"""Signals sent only to those who subscribed."""

NOT_SUPPORTED = "org.freedesktop.DBus.Error.NotSupported"
INVALID_ARGS = "org.freedesktop.DBus.Error.InvalidArgs"
UNKNOWN_METHOD = "org.freedesktop.DBus.Error.UnknownMethod"
UNKNOWN_PROPERTY = "org.freedesktop.DBus.Error.UnknownProperty"
UNKNOWN_INTERFACE = "org.freedesktop.DBus.Error.UnknownInterface"
READ_ONLY = "org.freedesktop.DBus.Error.PropertyReadOnly"
_NOBODY = (
    "org.freedesktop.DBus.Error.ServiceUnknown",
    "org.freedesktop.DBus.Error.NameHasNoOwner",
)

NOT_RUNNING = (
    "the service is not running. Start it with: systemctl --user start pipedtln (or: pipedtln run)"
)
NO_ANSWER = (
    "the service does not answer. Restart it with: systemctl --user restart pipedtln; "
    "its log: journalctl --user -u pipedtln"
)


class NotRunningError(ServiceError):
    """Nobody is there to answer."""


def status_to_json(status: Status) -> str:
    """One line of JSON with every field of a Status; numbers that are not finite become null."""
    return json.dumps({name: _finite(value) for name, value in asdict(status).items()})


def status_from_json(text: str) -> Status:
    """A Status from the service's JSON; fields that this version does not know are left out.

    Raises
    ------
    ServiceError
        If the text is no Status.
    """
    known = {field.name for field in fields(Status)}
    try:
        said = json.loads(text)
        return Status(**{name: value for name, value in said.items() if name in known})
    except (ValueError, TypeError, AttributeError) as error:
        raise ServiceError(
            "the running service speaks another version's language. "
            "Restart it with: systemctl --user restart pipedtln"
        ) from error


def to_variant(value: Value) -> Variant:
    """A setting as D-Bus carries it: ``b``, ``i`` or ``s``."""
    if isinstance(value, bool):
        return Variant("b", value)
    if isinstance(value, int):
        return Variant("i", value)
    return Variant("s", clean_text(value))


def settings_to_variants(settings: Mapping[str, Value]) -> dict[str, Variant]:
    """Settings as ``a{sv}``."""
    return {key: to_variant(value) for key, value in settings.items()}


def clean_text(text: str) -> str:
    """A text that D-Bus accepts: no NUL and no half of a character."""
    return str(text).replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def one_line(text: str) -> str:
    """A message without line breaks, fit for D-Bus."""
    return clean_text(" ".join(text.split()))


def error_name(error: PipedtlnError) -> str:
    """D-Bus name of one of our exceptions; of its nearest ancestor in errors.py if need be."""
    for ancestor in type(error).__mro__:
        name: str = ancestor.__name__
        if getattr(errors, name, None) is ancestor:
            return ERRORS + name
    return ERRORS + PipedtlnError.__name__


def error_from(name: str, message: str) -> PipedtlnError:
    """Our exception for an error reply."""
    if name.startswith(ERRORS):
        kind = getattr(errors, name[len(ERRORS) :], None)
        if isinstance(kind, type) and issubclass(kind, PipedtlnError):
            return kind(message)
        return PipedtlnError(message)
    if name in _NOBODY:
        return NotRunningError(NOT_RUNNING)
    if name == NOT_SUPPORTED:
        return ServiceError(message)
    if name in (UNKNOWN_METHOD, UNKNOWN_PROPERTY, UNKNOWN_INTERFACE, INVALID_ARGS):
        return ServiceError(
            f"the running service does not understand this ({one_line(message)}). It may be of "
            "another version; restart it with: systemctl --user restart pipedtln"
        )
    return ServiceError(f"{NO_ANSWER} ({one_line(message)})")


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return value
