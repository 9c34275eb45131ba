"""Lists, loads and unloads modules of ours on a server."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pulsectl

from pipedtln.audio.server import server_errors
from pipedtln.devices.arguments import parse
from pipedtln.devices.parts import Part, Role, role_of
from pipedtln.errors import ServerError

_POLL_S = 0.01


@dataclass(frozen=True)
class Module:
    """A module of ours as the server has it; ``arguments`` parsed.

    pipewire-pulse gives the index of an unloaded module to the next one, so an index is only good
    until the next look.
    """

    index: int
    role: Role
    name: str
    arguments: Mapping[str, str]


def list_modules(pulse: pulsectl.Pulse) -> list[Module]:
    """Modules of ours, as told by exact arguments and owner property; oldest first.

    Raises
    ------
    ServerError
        If the server is gone.
    """
    with server_errors("list the modules"):
        raws = pulse.module_list()
    found = []
    for raw in raws:
        role = role_of(str(raw.name), raw.argument)
        if role is not None:
            found.append(Module(int(raw.index), role, str(raw.name), parse(raw.argument)))
    return found


def load(pulse: pulsectl.Pulse, part: Part) -> Module:
    """Load a part.

    Raises
    ------
    ServerError
        If the server refuses it or is gone.
    """
    try:
        with server_errors(f"load {part.module}"):
            index = int(pulse.module_load(part.module, part.arguments))
    except ServerError as error:
        raise ServerError(f"{error}; see the log of pulseaudio or pipewire-pulse") from error
    return Module(index, part.role, part.module, parse(part.arguments))


def unload(pulse: pulsectl.Pulse, module: Module) -> None:
    """Unload a module; one that is gone already is no error.

    Raises
    ------
    ServerError
        If it is still there, or the server is gone.
    """
    try:
        with server_errors(f"unload {module.name}"):
            pulse.module_unload(module.index)
    except ServerError:
        # Unloading a null sink takes along what hangs on it, and others may tidy up at the same
        # time; only a module that is still there is a failure.
        if module in list_modules(pulse):
            raise


def wait_until(reached: Callable[[], bool], timeout: float) -> bool:
    """Ask the server again until it has settled; False after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not reached():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_S)
    return True
