"""Creates, adopts, repairs, verifies and removes the virtual devices.

apps ──▶ DTLN Speaker (null sink) ── monitor ──▶ loopback ──▶ real output
bridge ──▶ DTLN Output (null sink) ── monitor ──▶ remap ──▶ DTLN Microphone ──▶ apps
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field

import pulsectl

from pipedtln.devices.listing import Device, list_sinks, list_sources
from pipedtln.devices.loopback import check_output, ensure_loopback, plays_on, target_of
from pipedtln.devices.modules import Module, list_modules, load, unload, wait_until
from pipedtln.devices.names import RESERVED
from pipedtln.devices.parts import MICROPHONE_PART, OUTPUT_PART, SPEAKER_PART, Part, Role
from pipedtln.errors import DeviceError, ServerError

_APPEAR_S = 3.0
_SETTLE_S = 0.5
_PASSES = 5
_PAUSE_S = 0.1
_DEVICE_PARTS = (SPEAKER_PART, OUTPUT_PART, MICROPHONE_PART)
_REMOVAL_ORDER: tuple[Role, ...] = ("loopback", "microphone", "output", "speaker")


@dataclass
class Changes:
    """What :meth:`VirtualDevices.ensure` did, by role, in order."""

    created: list[Role] = field(default_factory=list)
    adopted: list[Role] = field(default_factory=list)
    removed: list[Role] = field(default_factory=list)


class VirtualDevices:
    """The virtual devices on one server.

    Its calls block for some 20 ms, up to three seconds where the server has to settle, and belong
    to the thread of the connection. Nothing is remembered between calls: the server is asked each
    time, so that what a killed process, a login drop-in or a second instance left is adopted.

    Parameters
    ----------
    pulse : control connection (:func:`pipedtln.audio.server.connect`)
    """

    def __init__(self, pulse: pulsectl.Pulse) -> None:
        self._pulse = pulse

    def modules(self) -> list[Module]:
        """Modules of ours, oldest first.

        Raises
        ------
        ServerError
            If the server is gone.
        """
        return list_modules(self._pulse)

    def ensure(self, output: str | None) -> Changes:
        """Make the set complete and right; does nothing if it is.

        Missing parts are created, present ones adopted, doubles and wrong ones replaced.

        Parameters
        ----------
        output : real sink that DTLN Speaker plays to; None leaves the loopback away

        Raises
        ------
        DeviceNotFoundError
            If there is no sink of that name.
        DeviceError
            If ``output`` is ours, or another program has a device of one of our names.
        ServerError
            If the server is gone or refuses a module.
        """
        check_output(self._pulse, output)
        self._refuse_foreign_namesakes()
        changes = Changes()
        for left in reversed(range(_PASSES)):
            # A second instance or a login drop-in may load the same at the same time: look again
            # until nothing is left to mend.
            try:
                self._mend(output, changes)
                break
            except (DeviceError, ServerError):
                if not left:
                    raise
                # Two that mend in step would undo each other's work for ever.
                time.sleep(random.uniform(0.0, _PAUSE_S))
        here = {module.role for module in self.modules()}
        changes.adopted = [
            role for role in reversed(_REMOVAL_ORDER) if role in here - set(changes.created)
        ]
        return changes

    def repin(self, output: str | None) -> bool:
        """Point the loopback at another real sink; True if it had to be changed.

        Raises
        ------
        DeviceError, DeviceNotFoundError, ServerError
            As for :meth:`ensure`.
        """
        check_output(self._pulse, output)
        changes = Changes()
        self._ensure_loopback(output, changes)
        return bool(changes.created or changes.removed)

    def verify(self, output: str | None) -> list[str]:
        """Tell what is wrong, one line each; an empty list if the set is complete and right.

        Raises
        ------
        ServerError
            If the server is gone.
        """
        modules = self.modules()
        devices = self._devices()
        problems = []
        for part in _DEVICE_PARTS:
            count = sum(module.role == part.role for module in modules)
            if count > 1:
                problems.append(f"{part.module} for {part.name} is loaded {count} times")
            if not any(device.ours and device.name == part.name for device in devices):
                problems.append(f"{part.kind} {part.name} is missing")
        loopbacks = [module for module in modules if module.role == "loopback"]
        if output is None:
            if loopbacks:
                problems.append("DTLN Speaker plays on although there is no real output")
        elif len(loopbacks) != 1:
            problems.append(f"DTLN Speaker has {len(loopbacks)} loopbacks instead of one")
        elif not plays_on(self._pulse, loopbacks[0], output):
            problems.append(f"DTLN Speaker does not play on {output}")
        return problems

    def loopback_target(self) -> str | None:
        """Name of the sink that DTLN Speaker plays on now, None if on none.

        Raises
        ------
        ServerError
            If the server is gone.
        """
        loopbacks = [module for module in self.modules() if module.role == "loopback"]
        targets = [target_of(self._pulse, module) for module in loopbacks]
        return next((target for target in targets if target is not None), None)

    def remove(self) -> list[Role]:
        """Unload exactly our modules, doubles too, in reverse order; returns their roles.

        Raises
        ------
        DeviceError
            If one of our devices stays, because it was not made by a module.
        ServerError
            If the server is gone.
        """
        removed: list[Role] = []
        for role in _REMOVAL_ORDER:
            for module in reversed(self.modules()):
                if module.role == role:
                    unload(self._pulse, module)
                    removed.append(role)
        left: list[str] = []

        def gone() -> bool:
            left[:] = [device.name for device in self._devices() if device.ours]
            return not left

        if not wait_until(gone, _APPEAR_S):
            raise DeviceError(
                f"{left[0]} was not made by a module and cannot be unloaded; remove pipedtln's "
                "files from ~/.config/pipewire and log in again"
            )
        return removed

    def _mend(self, output: str | None, changes: Changes) -> None:
        """Do what is missing once; raises DeviceError if the set is not right then."""
        new_speaker = self._ensure_device(SPEAKER_PART, changes)
        self._ensure_device(OUTPUT_PART, changes)
        self._ensure_device(MICROPHONE_PART, changes)
        self._ensure_loopback(output, changes, reload=new_speaker)
        problems = self.verify(output)
        if problems:
            raise DeviceError(
                f"the virtual devices could not be made whole: {problems[0]}; "
                "try: pipedtln teardown, then pipedtln setup"
            )

    def _ensure_device(self, part: Part, changes: Changes) -> bool:
        """Have exactly one device of a part; True if it was made now."""
        mine = [module for module in self.modules() if module.role == part.role]
        device = self._find(part)
        # PulseAudio names the device of a double "<name>.2": the one with the name is kept.
        keeper = next((m for m in mine if device is not None and m.index == device.module), None)
        for module in mine:
            if module is keeper and part.matches(module.arguments):
                continue
            unload(self._pulse, module)
            changes.removed.append(part.role)
        if keeper is not None and part.matches(keeper.arguments):
            return False
        if mine:
            wait_until(lambda: self._find(part) is None, _SETTLE_S)
        if self._find(part) is not None:
            return False  # made by other means than a module, e.g. a drop-in of PipeWire
        load(self._pulse, part)
        changes.created.append(part.role)
        if not wait_until(lambda: self._find(part) is not None, _APPEAR_S):
            raise DeviceError(
                f"the server loaded {part.module} but shows no {part.name}; "
                "restart it with: systemctl --user restart pipewire-pulse pulseaudio"
            )
        return True

    def _ensure_loopback(
        self, output: str | None, changes: Changes, *, reload: bool = False
    ) -> None:
        unloaded, loaded = ensure_loopback(self._pulse, output, reload=reload)
        changes.removed += ["loopback"] * unloaded
        changes.created += ["loopback"] * loaded

    def _refuse_foreign_namesakes(self) -> None:
        for device in self._devices():
            # A monitor goes by its sink, which may come or go between the two listings.
            if device.name in RESERVED and not (device.ours or device.is_monitor):
                hint = (
                    "rename it in the program that made it"
                    if device.module is None
                    else f"remove it with: pactl unload-module {device.module}"
                )
                raise DeviceError(
                    f"another program made a {device.kind} named {device.name!r}; {hint}"
                )

    def _devices(self) -> list[Device]:
        return [*list_sinks(self._pulse), *list_sources(self._pulse)]

    def _find(self, part: Part) -> Device | None:
        devices = list_sinks(self._pulse) if part.kind == "sink" else list_sources(self._pulse)
        return next(
            (device for device in devices if device.ours and device.name == part.name), None
        )
