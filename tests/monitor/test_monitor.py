"""The monitor shows a real ControlServer's bridge, and its keys steer it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from pipedtln.control.server import ControlServer
from pipedtln.errors import ServerError
from pipedtln.monitor.app import MonitorApp
from pipedtln.monitor.choices import Menu
from pipedtln.monitor.spectrogram import Spectrogram
from tests.control.bridge import QuietBridge, RichBridge
from tests.control.listening import until
from tests.control.session import SessionBus

Scene = Callable[[Pilot[None], QuietBridge], Coroutine[Any, Any, None]]


@pytest.fixture
def bus() -> Iterator[SessionBus]:
    """Start a private session bus."""
    with SessionBus() as session:
        yield session


def play(
    bus: SessionBus,
    scene: Scene,
    bridge: QuietBridge | None = None,
    size: tuple[int, int] = (80, 24),
) -> None:
    """Run the monitor against a bridge."""

    async def run() -> None:
        steered = bridge or RichBridge()
        server = ControlServer(steered, bus.address)
        await server.start()
        app = monitor(bus)
        async with app.run_test(size=size) as pilot:
            await until(lambda: shown(app, "figures") != "", "figures")
            await scene(pilot, steered)
        await server.stop()

    asyncio.run(run())


def monitor(bus: SessionBus) -> MonitorApp:
    return MonitorApp(
        bus.address,
        microphones=lambda: [("auto", "choose"), ("usb_mic", "USB [bold]mic[/]")],
        models=lambda: [("auto", "choose"), ("quiet-512", "quieter")],
    )


def shown(app: MonitorApp, name: str) -> str:
    return str(app.screen_stack[0].query_one(f"#{name}", Static).content)


def screen(app: MonitorApp) -> list[str]:
    """The screen's lines as a reader sees them."""
    width, height = app.size
    lines = app.screen._compositor.render_strips()
    assert len(lines) == height
    assert {line.cell_length for line in lines} == {width}
    return [line.text for line in lines]


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
def test_everything_is_on_the_screen(bus: SessionBus, size: tuple[int, int]) -> None:
    async def scene(pilot: Pilot[None], bridge: QuietBridge) -> None:
        app = pilot.app
        assert isinstance(app, MonitorApp)
        await until(lambda: "▀" in "".join(screen(app)), "spectrograms")
        text = "\n".join(screen(app))
        print(text)
        for words in (
            "ready (nobody records)", "fake_mic", "fake_speaker.monitor", "Zoom", "quiet-256",
            "strength 100 %", "latency 44 ms", "load 5% (p99 11%)", "echo 63 ms", "xruns 0",
            "microphone", "-20 dB", "silent", "output", "Bypass", "Mute", "Quit",
        ):  # fmt: skip
            assert words in text, words
        for name in ("before", "after"):
            assert app.query_one(f"#{name}", Spectrogram).size.height >= 5

    play(bus, scene, size=size)


def test_keys_steer_the_bridge(bus: SessionBus) -> None:
    async def scene(pilot: Pilot[None], bridge: QuietBridge) -> None:
        app = pilot.app
        assert isinstance(app, MonitorApp)
        await pilot.press("b")
        await until(lambda: bridge.config.bypass, "bypass")
        await until(lambda: "BYPASS" in shown(app, "steering"), "word of the bypass")
        await pilot.press("b", "m")
        await until(lambda: bridge.config.muted and not bridge.config.bypass, "mute")
        await pilot.press("minus", "minus", "minus", "plus")
        await until(lambda: bridge.config.strength == 90, "strength")
        await until(lambda: "strength 90 %" in shown(app, "steering"), "figure of the strength")
        await pilot.press(*["plus"] * 5)
        await until(lambda: bridge.config.strength == 100, "full strength")

    play(bus, scene)


@pytest.mark.parametrize(
    ("key", "setting", "value"), [("i", "mic", "usb_mic"), ("n", "model", "quiet-512")]
)
def test_menus_choose_or_leave(bus: SessionBus, key: str, setting: str, value: str) -> None:
    async def scene(pilot: Pilot[None], bridge: QuietBridge) -> None:
        app = pilot.app
        await pilot.press(key)
        await until(lambda: isinstance(app.screen, Menu), "menu")
        await pilot.press("escape")
        await until(lambda: not isinstance(app.screen, Menu), "closed menu")
        assert getattr(bridge.config, setting) == "auto"
        await pilot.press(key)
        await until(lambda: isinstance(app.screen, Menu), "menu")
        await asyncio.sleep(1.2)  # the view below goes on meanwhile
        await pilot.press("down", "enter")
        await until(lambda: getattr(bridge.config, setting) == value, "choice")

    play(bus, scene)


def test_a_refusal_is_shown_in_words(bus: SessionBus) -> None:
    async def scene(pilot: Pilot[None], bridge: QuietBridge) -> None:
        app = pilot.app
        assert isinstance(app, MonitorApp)
        app._microphones = lambda: [("nowhere", "gone")]
        await pilot.press("i")
        await until(lambda: isinstance(app.screen, Menu), "menu")
        await pilot.press("enter")

        def said() -> str:
            return " ".join(note.message for note in app._notifications)

        await until(lambda: "no source named 'nowhere'" in said(), "complaint")

        def fails() -> list[tuple[str, str]]:
            raise ServerError("no sound server answers")

        app._microphones = fails
        await pilot.press("i")
        await until(lambda: "no sound server answers" in said(), "complaint")

    play(bus, scene)


def test_trouble_is_told_in_the_first_line(bus: SessionBus) -> None:
    async def scene(pilot: Pilot[None], bridge: QuietBridge) -> None:
        app = pilot.app
        assert isinstance(app, MonitorApp)
        bridge.now = replace(bridge.now, state="open", mic=None, problems=["[red]model gone[/]"])
        await until(lambda: "OPEN" in shown(app, "headline"), "trouble")
        assert "[red]model gone[/]" in shown(app, "headline")

    play(bus, scene)


def test_a_bridge_without_spectra_is_shown_without(bus: SessionBus) -> None:
    async def scene(pilot: Pilot[None], bridge: QuietBridge) -> None:
        app = pilot.app
        assert isinstance(app, MonitorApp)
        await until(lambda: "no spectra from this service" in "".join(screen(app)), "note")
        await until(lambda: "-20 dB" in "".join(screen(app)), "levels all the same")

    play(bus, scene, bridge=QuietBridge())


def test_the_service_and_the_bus_may_come_go_and_come_back(bus: SessionBus) -> None:
    async def run() -> None:
        app = monitor(bus)
        async with app.run_test(size=(80, 24)) as pilot:
            await until(lambda: "not running" in shown(app, "headline"), "word of the absence")
            await pilot.press("b", "plus")  # harmless now
            first = ControlServer(RichBridge(), bus.address)
            await first.start()
            await until(lambda: "-20 dB" in "".join(screen(app)), "levels of the first")
            await first.stop()
            await until(lambda: "not running" in shown(app, "headline"), "word of the absence")
            await until(lambda: "-20 dB" not in "".join(screen(app)), "empty meters")
            bus.kill()
            await until(lambda: "bus" in shown(app, "headline"), "word of the lost bus")
            bus.start()
            second = ControlServer(RichBridge(), bus.address)
            await second.start()
            await until(lambda: "▀" in "".join(screen(app)), "spectra of the second")
            await second.stop()

    asyncio.run(run())


def test_an_answer_that_finds_the_screen_empty_is_no_error(bus: SessionBus) -> None:
    # As at the end, when the widgets are gone and the bus still answers.
    async def scene(pilot: Pilot[None], bridge: QuietBridge) -> None:
        await pilot.app.screen.remove_children()
        await pilot.pause(1.2)

    play(bus, scene)


def test_leaving_ends_the_subscription(bus: SessionBus) -> None:
    async def run() -> None:
        bridge = RichBridge()
        server = ControlServer(bridge, bus.address)
        await server.start()
        app = monitor(bus)
        async with app.run_test() as pilot:
            await until(lambda: bridge.asked_for_levels > 2, "measured levels")
            await pilot.press("q")
        assert app.return_code == 0
        await asyncio.sleep(0.3)
        measured = bridge.asked_for_levels
        await asyncio.sleep(0.4)
        assert bridge.asked_for_levels == measured
        await server.stop()

    asyncio.run(run())


def test_without_a_terminal_it_names_the_alternative(bus: SessionBus) -> None:
    said = bus.pipedtln("monitor")
    assert said.returncode == 2
    assert "pipedtln status --json" in said.stderr
