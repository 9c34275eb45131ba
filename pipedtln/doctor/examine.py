"""Runs every check in order; a check that fails is a finding as well."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace

from pipedtln import config as settings
from pipedtln.config import Config
from pipedtln.doctor import system
from pipedtln.doctor.finding import Check, Finding, problem
from pipedtln.doctor.network import NetworkChecks
from pipedtln.doctor.privacy import scrubber
from pipedtln.doctor.sound import SoundChecks
from pipedtln.errors import PipedtlnError

_log = logging.getLogger(__name__)

_SERVER = "systemctl --user restart pipewire-pulse (or: pulseaudio)"


def examine(*, verbose: bool = False) -> Iterator[Finding]:
    """Look at everything, one finding after the other; changes nothing.

    Parameters
    ----------
    verbose : leave in names of users, machines and folders, and serial numbers
    """
    scrub = str if verbose else scrubber()
    for finding in _findings():
        yield replace(finding, says=scrub(finding.says), mend=scrub(finding.mend))


def _findings() -> Iterator[Finding]:
    yield from _run("pipedtln", system.program)
    config = Config()
    try:
        config = settings.load()
    except PipedtlnError as error:
        yield problem("settings", str(error), "correct that line")
    else:
        yield from _run("settings", system.settings_file)
    yield from _sound(config)
    network = NetworkChecks(config)
    yield from _run("models", network.models)
    yield from _run("runtime", network.runtime)
    yield from _run("speed", network.speed)
    yield from _run("realtime", system.realtime)
    yield from _run("user service", system.unit)
    yield from _run("bridge", system.session_bus)
    yield from _run("packages", system.packages)


def _sound(config: Config) -> Iterator[Finding]:
    try:
        sound = SoundChecks(config)
    except PipedtlnError as error:
        yield problem("sound server", str(error), _SERVER)
        return
    try:
        yield from _run("sound server", sound.server)
        yield from _run("own devices", sound.own_devices)
        yield from _run("own devices", sound.namesakes)
        yield from _run("default microphone", sound.defaults)
        yield from _run("microphone", sound.chosen_devices)
        yield from _run("recorders", sound.recorders)
        yield from _run("feedback", sound.feedback)
        yield from _run("bluetooth", sound.bluetooth)
    finally:
        sound.close()


def _run(topic: str, check: Check) -> Iterator[Finding]:
    try:
        yield from check()
    except PipedtlnError as error:
        yield problem(topic, str(error))
    except Exception as error:  # noqa: BLE001 - one broken check must not hide the others
        _log.debug("the check of %s failed", topic, exc_info=True)
        yield problem(
            topic, f"could not be looked at ({type(error).__name__}: {error}); please report it"
        )
