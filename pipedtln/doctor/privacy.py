"""Takes out of a text what names a person or one single device, so that it can be pasted."""

from __future__ import annotations

import os
import pwd
import re
import socket
from collections.abc import Callable
from pathlib import Path

HIDDEN = "(hidden)"

_ADDRESS = re.compile(r"\b[0-9A-Fa-f]{2}(?:([:_-])[0-9A-Fa-f]{2})(?:\1[0-9A-Fa-f]{2}){4}\b")
_USB = re.compile(r"(?<=\.usb-)[^\s'\"]+?(?=-\d\d\b)")
# A model's number, as in "C920", may stay; what is longer or mixed may be a serial number.
_MODEL_NUMBER = re.compile(r"[A-Za-z]{1,4}\d{1,4}")


def scrubber() -> Callable[[str], str]:
    """A function that hides names of user and machine, the home folder and serial numbers."""
    home = str(Path.home())
    words = sorted({_user(), socket.gethostname().split(".")[0]} - {"", "root", "localhost"})
    names = re.compile(rf"\b(?:{'|'.join(map(re.escape, words))})\b") if words else None

    def scrub(text: str) -> str:
        if len(home) > 1:
            text = text.replace(home, "~")
        text = _ADDRESS.sub(HIDDEN, text)
        text = _USB.sub(lambda found: _without_serial(found[0]), text)
        return names.sub(HIDDEN, text) if names else text

    return scrub


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user without a name
        return ""


def _without_serial(identity: str) -> str:
    """``Maker_Model_Serial`` as udev builds it, without what looks like a serial number."""
    maker, *rest = identity.split("_")
    return "_".join([maker, *(HIDDEN if _is_serial(part) else part for part in rest)])


def _is_serial(part: str) -> bool:
    if _MODEL_NUMBER.fullmatch(part):
        return False
    return any(map(str.isdigit, part)) or (len(part) >= 8 and part.isupper())
