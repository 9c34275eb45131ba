"""The monitor: levels, spectra and figures of the running bridge, and keys that steer it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Footer, Static

from pipedtln.config import Value
from pipedtln.control.api import Status
from pipedtln.control.client import BridgeClient
from pipedtln.errors import PipedtlnError, ServiceError
from pipedtln.monitor import choices, facts
from pipedtln.monitor.meter import Meter
from pipedtln.monitor.spectrogram import Spectrogram

_LOOK_EVERY_S = 1.0
_SILENT_AFTER_S = 1.0


class MonitorApp(App[None]):
    """Shows the bridge until the user quits; waits for a service that is not there.

    Parameters
    ----------
    address : of the bus; by default that of the session
    microphones, models : what the menus offer
    """

    TITLE = "pipedtln"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { layout: vertical; }
    #headline { height: 1; text-style: bold; }
    .line { height: 1; }
    .title { height: 1; text-style: underline; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("b", "switch('bypass')", "Bypass"),
        Binding("m", "switch('muted')", "Mute"),
        Binding("plus,equals_sign,up", "strength(5)", "Stronger", key_display="+"),
        Binding("minus,down", "strength(-5)", "Weaker", key_display="-"),
        Binding("i", "microphone", "Microphone"),
        Binding("n", "model", "Model"),
        Binding("q", "quit", "Quit"),
    ]

    def __init__(
        self,
        address: str | None = None,
        *,
        microphones: choices.Offer = choices.microphones,
        models: choices.Offer = choices.models,
    ) -> None:
        super().__init__()
        self._address = address
        self._microphones = microphones
        self._models = models
        self._client: BridgeClient | None = None
        self._now: Status | None = None
        self._wanted_strength: int | None = None
        self._looking = asyncio.Lock()
        self._last_levels = self._last_spectra = 0.0
        # Kept, not looked for by name: an answer of the bus may find the screen empty, at the end.
        self._headline = Static("looking for the service", id="headline", markup=False)
        names = ("devices", "steering", "figures")
        self._lines = {name: Static(id=name, classes="line", markup=False) for name in names}
        titles = (("mic", "microphone"), ("ref", "reference"), ("out", "output"))
        self._meters = {name: Meter(title, id=name) for name, title in titles}
        self._spectrograms = {name: Spectrogram(id=name) for name in ("before", "after")}

    def compose(self) -> ComposeResult:
        """From top to bottom; the spectrograms share what height is left."""
        yield self._headline
        yield from self._lines.values()
        yield from self._meters.values()
        yield Static("microphone, 0-8 kHz", classes="title", markup=False)
        yield self._spectrograms["before"]
        yield Static("output, 0-8 kHz", classes="title", markup=False)
        yield self._spectrograms["after"]
        yield Footer()

    async def on_mount(self) -> None:
        """Begin to look."""
        await self._look()
        self.set_interval(_LOOK_EVERY_S, self._look)

    async def on_unmount(self) -> None:
        """Leave the bus."""
        if self._client is not None:
            await self._client.close()

    def action_switch(self, key: str) -> None:
        """Turn a switch over."""
        if self._now is not None:
            on = self._now.bypass if key == "bypass" else self._now.muted
            self._change(key, not on)

    def action_strength(self, step: int) -> None:
        """Change the strength by some percent; quick presses add up."""
        if self._now is not None:
            held = self._now.strength if self._wanted_strength is None else self._wanted_strength
            self._wanted_strength = min(max(held + step, 0), 100)
            self._change("strength", self._wanted_strength)

    def action_microphone(self) -> None:
        """Choose another microphone."""
        self.run_worker(self._choose("mic", "Microphone", self._microphones), exclusive=True)

    def action_model(self) -> None:
        """Choose another network."""
        self.run_worker(self._choose("model", "Model", self._models), exclusive=True)

    async def _choose(self, key: str, title: str, offer: choices.Offer) -> None:
        try:
            offered = await asyncio.to_thread(offer)
        except PipedtlnError as error:
            self._complain(error)
            return
        value = await self.push_screen_wait(choices.Menu(title, offered))
        if value is not None:
            await self._set(key, value)

    def _change(self, key: str, value: Value) -> None:
        self.run_worker(self._set(key, value), group=key)

    async def _set(self, key: str, value: Value) -> None:
        if self._client is None:
            return
        try:
            await self._client.set(key, value)
        except PipedtlnError as error:
            self._complain(error)
        finally:
            if key == "strength" and value == self._wanted_strength:
                self._wanted_strength = None
        await self._look()

    async def _look(self) -> None:
        async with self._looking:  # never two connections at a time
            try:
                self._now = await (await self._reach()).status()
            except ServiceError as error:
                self._now = None
                self._wanted_strength = None
                self._headline.update(str(error))
                for line in self._lines.values():
                    line.update("")
                self._silence_meters()
                self._silence_spectrograms("waiting for the service")
                return
        self._headline.update(facts.headline(self._now))
        self._lines["devices"].update(facts.devices(self._now))
        self._lines["steering"].update(facts.steering(self._now))
        self._lines["figures"].update(facts.figures(self._now))
        late = asyncio.get_running_loop().time() - _SILENT_AFTER_S
        if self._last_levels < late:
            self._silence_meters()
        if self._last_spectra < late:
            self._silence_spectrograms("no spectra from this service")

    async def _reach(self) -> BridgeClient:
        """A client that is on the bus; a new one after the bus was lost."""
        if self._client is not None:
            if self._client.connected:
                return self._client
            await self._client.close()
        self._client = client = BridgeClient(self._address)
        await client.connect()
        # Where the service does not run yet, the client asks again when it comes.
        with suppress(ServiceError):
            await client.on_levels(self._show_levels)
        with suppress(ServiceError):
            await client.on_spectra(self._show_spectra)
        return client

    def _show_levels(self, mic: float, ref: float, out: float) -> None:
        self._last_levels = asyncio.get_running_loop().time()
        for name, level in (("mic", mic), ("ref", ref), ("out", out)):
            self._meters[name].show(level)

    def _show_spectra(self, mic: bytes, out: bytes) -> None:
        self._last_spectra = asyncio.get_running_loop().time()
        self._spectrograms["before"].add(mic)
        self._spectrograms["after"].add(out)

    def _silence_meters(self) -> None:
        for meter in self._meters.values():
            meter.show(None)

    def _silence_spectrograms(self, note: str) -> None:
        for spectrogram in self._spectrograms.values():
            spectrogram.clear(note)

    def _complain(self, error: PipedtlnError) -> None:
        self.notify(str(error), severity="error", timeout=8, markup=False)
