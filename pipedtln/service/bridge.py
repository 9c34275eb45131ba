"""The bridge as a whole: starts its parts, steers them, tells what they do, stops them."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic

from pipedtln import systemd
from pipedtln.config import Config, Value, check, load, resolve
from pipedtln.configfile import save_key
from pipedtln.control.api import BANDS, Status
from pipedtln.control.notifier import Notifier
from pipedtln.control.server import ControlServer
from pipedtln.errors import ConfigError, ServerError
from pipedtln.service.choice import AnySupervisor, BackendChoice, make_supervisor
from pipedtln.service.health import hung
from pipedtln.service.network import Network
from pipedtln.service.realtime import Realtime
from pipedtln.service.recording import record_moment
from pipedtln.service.telling import Teller, status_line
from pipedtln.service.view import View
from pipedtln.stream.engine import Engine
from pipedtln.stream.failopen import FailOpen
from pipedtln.stream.spectrum import Spectrometer
from pipedtln.stream.tap import LevelMeter
from pipedtln.stream.voice import Voice

LOG = logging.getLogger(__name__)

SURE_S = 2.0
"""Seconds after which a thread that seems to hang is believed to."""


class Bridge:
    """Everything that runs in one process; see :class:`pipedtln.control.api.Steerable`.

    Parameters
    ----------
    config : the settings in force
    reload_config : reads them again; raises ConfigError
    config_path : file that kept settings are written to; None for the usual one
    """

    def __init__(
        self,
        config: Config,
        *,
        reload_config: Callable[[], Config] = load,
        config_path: Path | None = None,
        remove_devices: bool = False,
    ) -> None:
        self._config = config
        self._reload_config = reload_config
        self._config_path = config_path
        self._remove_devices = remove_devices
        self._processing = FailOpen(None)
        self._voice = Voice(self._processing)
        self._engine = Engine(self._voice)
        self._teller = Teller(self._engine, self._processing)
        self._meter = LevelMeter()
        self._metered = False
        self._spectrometer: Spectrometer | None = None
        self._network = Network(self._processing)
        self._changed = asyncio.Event()
        self._stopping = asyncio.Event()
        self._control = ControlServer(self)
        self._notifier = Notifier()
        self._supervisor: AnySupervisor | None = None
        self._choice = BackendChoice()
        self._realtime = Realtime()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._hung_since: float | None = None

    # --- life -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Run until :meth:`stop`.

        Raises
        ------
        ServiceError
            If another bridge is on the session bus.
        """
        self._loop = asyncio.get_running_loop()
        if not await self._control.start():
            LOG.warning("%s; the bridge runs without remote control", self._control.problem)
        try:
            await asyncio.to_thread(self._network.load, self._config)
            self._apply_settings()
            self._supervisor = make_supervisor(self._config, self._engine, self._view_changed)
            self._supervisor.start()
            await self._tend()
        finally:
            systemd.stopping()
            if self._supervisor is not None:
                await asyncio.to_thread(self._supervisor.stop, remove_devices=self._remove_devices)
            await self._notifier.close()
            await self._control.stop()

    def stop(self) -> None:
        """Ask :meth:`run` to end; on the loop's thread."""
        self._stopping.set()
        self._changed.set()

    def _view_changed(self) -> None:
        """In the supervisor's thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._changed.set)

    async def _settle_backend(self) -> None:
        """Go from a sound server to bare cards or back where that is due."""
        supervisor = self._supervisor
        if supervisor is None or not self._choice.due(self._config, supervisor):
            return
        other = await asyncio.to_thread(self._choice.other, self._config, supervisor)
        if other is None:
            return
        try:
            after = make_supervisor(self._config, self._engine, self._view_changed, other)
        except ServerError as error:
            LOG.error("staying with what there is: %s", error)
            return
        LOG.info("changing to %s", other)
        await asyncio.to_thread(supervisor.stop)
        self._supervisor = after
        after.start()

    async def _tend(self) -> None:
        """Tell systemd and the bus of changes; feed the watchdog; look for a missing model."""
        pause = min(systemd.watchdog_interval() or 5.0, 5.0)
        ready = False
        told = ""
        while not self._stopping.is_set():
            self._changed.clear()
            status = self.status()
            line = status_line(status)
            if not ready and (self._view.ready or status.problems):
                # Waiting for a server or a microphone is a working state: systemd need not wait.
                ready = systemd.ready(line) or True
                LOG.info("ready: %s", line)
            elif line != told:
                systemd.status(line)
            told = line
            self._control.notify()
            self._notifier.look(status, wanted=self._config.notifications)
            self._feed_watchdog()
            await self._settle_backend()
            await self._realtime.follow(self._engine.thread_id)
            if self._network.wants_loading(self._config):
                await asyncio.to_thread(self._network.load, self._config)
                continue
            try:
                await asyncio.wait_for(self._changed.wait(), pause)
            except asyncio.TimeoutError:
                continue

    def _feed_watchdog(self) -> None:
        """Feed systemd's watchdog unless a thread hangs; then it will start us anew."""
        if self._supervisor is None:
            return
        reason = hung(self._engine, self._supervisor.alive_at)
        if reason is None:
            self._hung_since = None
        elif self._hung_since is None:
            # Perhaps we have only been stopped ourselves, and are about to catch up.
            self._hung_since = monotonic()
        elif monotonic() - self._hung_since > SURE_S:
            LOG.error("%s; systemd is left to start the service anew", reason)
            return
        systemd.alive()

    # --- steering --------------------------------------------------------------------------

    def settings(self) -> Mapping[str, Value]:
        """The settings in force by key."""
        return dataclasses.asdict(self._config)

    async def set(self, key: str, value: object, *, keep: bool) -> None:
        """Change one setting now; ``keep`` writes config.toml, too.

        Raises
        ------
        ConfigError
            If the key or value is not valid; nothing has changed. Or if config.toml cannot be
            written; the change holds until the service ends: on a full disk, too, one must be able
            to mute.
        """
        checked = check(key, value)
        config = resolve(self.settings(), {key: checked})
        unkept: ConfigError | None = None
        if keep:
            try:
                await asyncio.to_thread(save_key, key, checked, self._config_path)
            except ConfigError as error:
                unkept = error
        await self._follow(config)
        if unkept is not None:
            raise ConfigError(f"{key} has changed, but not for the next start: {unkept}")

    async def reload(self) -> None:
        """Read the settings again.

        Raises
        ------
        ConfigError
            If they are wrong; the old ones stay in force.
        """
        await self._follow(await asyncio.to_thread(self._reload_config))

    async def record(self, seconds: float, path: str) -> list[str]:
        """Write mic.wav, reference.wav and clean.wav of one moment into a folder.

        Raises
        ------
        InputError
            If the folder cannot be written.
        DeviceError
            If nothing is recording DTLN Microphone, so that there is no sound.
        """
        delay = self._voice.latency_samples
        return await record_moment(self._engine, seconds, delay, Path(path))

    async def _follow(self, config: Config) -> None:
        self._config = config
        self._apply_settings()
        if self._network.wants_loading(config):
            await asyncio.to_thread(self._network.load, config)
        if self._supervisor is not None:
            self._supervisor.reconfigure(config)
        self._changed.set()

    def _apply_settings(self) -> None:
        self._processing.strength = self._config.strength
        self._processing.bypass = self._config.bypass
        self._processing.muted = self._config.muted

    # --- telling ---------------------------------------------------------------------------

    @property
    def _view(self) -> View:
        return self._supervisor.view if self._supervisor else View()

    def levels(self) -> tuple[float, float, float]:
        """RMS of microphone, reference and output over the last 100 ms, in dBFS."""
        if not self._metered:
            # Metered from the first question on: who never asks never pays.
            self._metered = True
            self._engine.add_tap(self._meter)
        return self._meter.levels()

    def spectra(self) -> tuple[bytes, bytes]:
        """Spectra of microphone and output; see :class:`pipedtln.control.api.Spectral`."""
        if self._spectrometer is None:
            self._spectrometer = Spectrometer(BANDS)
            self._engine.add_tap(self._spectrometer)
        return self._spectrometer.spectra()

    def status(self) -> Status:
        """A snapshot of the whole."""
        latency = self._supervisor.latency() if self._supervisor else None
        found = (self._network.problem, self._control.problem)
        problems = [problem for problem in found if problem]
        return self._teller.status(self._config, self._view, latency, self._network.name, problems)
