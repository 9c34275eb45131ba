"""Keeps DTLN Speaker playing on one real output, and only there."""

from __future__ import annotations

import pulsectl

from pipedtln.audio.server import server_errors
from pipedtln.devices.listing import list_sinks
from pipedtln.devices.modules import Module, list_modules, load, unload, wait_until
from pipedtln.devices.names import RESERVED, SPEAKER_MONITOR
from pipedtln.devices.parts import loopback_part
from pipedtln.errors import DeviceError, DeviceNotFoundError

_SETTLE_S = 0.5
_START_S = 3.0


def check_output(pulse: pulsectl.Pulse, output: str | None) -> None:
    """Refuse a sink that is ours or not there; None is fine.

    Raises
    ------
    DeviceError, DeviceNotFoundError, ServerError
    """
    if output is None:
        return
    if output in RESERVED:
        raise DeviceError(f"DTLN Speaker cannot play to {output!r}, which is pipedtln's own")
    if all(sink.name != output for sink in list_sinks(pulse)):
        raise DeviceNotFoundError(f"no sink named {output!r}. List sinks with: pipedtln devices")


def ensure_loopback(
    pulse: pulsectl.Pulse, output: str | None, *, reload: bool = False
) -> tuple[int, bool]:
    """Have exactly one loopback, on ``output``; none where that is None.

    Parameters
    ----------
    reload : replace it even if it looks right, because its source was made anew

    Returns
    -------
    How many loopbacks were unloaded, and whether one was loaded.

    Raises
    ------
    DeviceError
        If its stream does not come to play there.
    ServerError
        If the server is gone or refuses the module.
    """
    part = loopback_part(output) if output is not None else None
    kept = False
    unloaded = 0
    for module in list_modules(pulse):
        if module.role != "loopback":
            continue
        if (
            part is not None
            and not (kept or reload)
            and part.matches(module.arguments)
            and plays_on(pulse, module, output)
        ):
            kept = True
        else:
            unload(pulse, module)
            unloaded += 1
    if part is None or kept:
        return unloaded, False
    made = load(pulse, part)
    # A second instance may take it for a double and unload it meanwhile.
    wait_until(
        lambda: target_of(pulse, made) == output or made not in list_modules(pulse), _START_S
    )
    if target_of(pulse, made) != output:
        raise DeviceError(f"DTLN Speaker does not come to play on {output}; see: pipedtln devices")
    return unloaded, True


def plays_on(pulse: pulsectl.Pulse, module: Module, output: str | None) -> bool:
    """Whether a loopback plays DTLN Speaker on this sink; waits while PipeWire links it."""
    return wait_until(lambda: target_of(pulse, module) == output, _SETTLE_S)


def target_of(pulse: pulsectl.Pulse, module: Module) -> str | None:
    """Name of the sink that a loopback plays DTLN Speaker on, None if either end is loose.

    Raises
    ------
    ServerError
        If the server is gone.
    """
    with server_errors("follow the loopback"):
        sinks = {sink.index: str(sink.name) for sink in pulse.sink_list()}
        monitors = {
            source.index for source in pulse.source_list() if source.name == SPEAKER_MONITOR
        }
        fed = any(
            stream.owner_module == module.index and stream.source in monitors
            for stream in pulse.source_output_list()
        )
        targets = [
            sinks.get(stream.sink)
            for stream in pulse.sink_input_list()
            if stream.owner_module == module.index
        ]
    return targets[0] if fed and targets else None
