"""The tray item shows the bridge as it is, and what is clicked happens."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace

import numpy as np
import pytest

from pipedtln.errors import ServerError
from pipedtln.tray.app import Tray
from pipedtln.tray.icon import SIZES, pixmap
from tests.control.bridge import QuietBridge
from tests.control.listening import until
from tests.control.serving import Serving
from tests.control.session import SessionBus, wait_until
from tests.tray.desktop import ITEM, Desktop

STATES = ("off", "starting", "waiting", "idle", "running", "bypassed", "open", "muted")
MICROPHONES = [("alsa_usb", "USB Microphone"), ("nowhere", "Broken_one")]


@pytest.fixture
def bus() -> Iterator[SessionBus]:
    """Start a private session bus."""
    with SessionBus() as session:
        yield session


@asynccontextmanager
async def running(address: str, **options: object) -> AsyncIterator[Tray]:
    tray = Tray(address, offer=lambda: MICROPHONES, **options)
    task = asyncio.create_task(tray.run())
    try:
        yield tray
        tray.stop()
    finally:
        await asyncio.wait_for(task, 10)


async def eventually(desktop: Desktop, label: str, **wanted: object) -> None:
    """Wait until a line of the menu is as it should be."""

    async def as_wanted() -> bool:
        line = (await desktop.lines()).get(label)
        return line is not None and all(line.get(key) == wanted[key] for key in wanted)

    for _ in range(200):
        if await as_wanted():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{label} never became {wanted}: {await desktop.lines()}")


def test_clicks_steer_the_bridge_and_changes_are_shown(bus: SessionBus) -> None:
    bridge = QuietBridge()

    async def check(serving: Serving) -> None:
        async with Desktop(bus.address) as desktop, running(bus.address):
            await until(lambda: bool(desktop.items), "registration")
            await eventually(desktop, "Ready (nobody records)", enabled=False)
            await desktop.click("Bypass")
            await eventually(desktop, "Bypass", **{"toggle-state": 1, "toggle-type": "checkmark"})
            assert bridge.config.bypass
            assert bridge.kept["bypass"] is True
            await desktop.click("Strength/60 %")
            await eventually(desktop, "Strength/60 %", **{"toggle-state": 1})
            await eventually(desktop, "Strength: 60 %")
            await desktop.click("Microphone/USB Microphone")
            await eventually(desktop, "Microphone/USB Microphone", **{"toggle-state": 1})
            await eventually(desktop, "Microphone/Choose by itself", **{"toggle-state": 0})
            assert bridge.config.mic == "alsa_usb"
            # What goes wrong is told in the menu; the label's underscore is one, not a key.
            await desktop.click("Microphone/Broken_one")
            await eventually(
                desktop, "no source named 'nowhere'. List sources with: pipedtln devices"
            )
            # Changed by somebody else.
            bridge.now = replace(bridge.now, state="running")
            bridge.config = replace(bridge.config, strength=35)
            serving.server.notify()
            await eventually(desktop, "Cleaning for Zoom")
            await eventually(desktop, "Strength/35 %", **{"toggle-state": 1})
            assert "NewIcon" in desktop.signals
            assert "LayoutUpdated" in desktop.signals

    with Serving(bridge, bus.address) as serving:
        asyncio.run(check(serving))


def test_the_mouse_alone_bypasses_and_changes_the_strength(bus: SessionBus) -> None:
    bridge = QuietBridge()

    async def check() -> None:
        async with Desktop(bus.address) as desktop, running(bus.address):
            await until(lambda: bool(desktop.items), "registration")
            await eventually(desktop, "Strength: 100 %")
            (item,) = desktop.items
            await desktop.call(item, ITEM, "SecondaryActivate", "ii", [1, 1])
            await until(lambda: bridge.config.bypass, "bypass")
            await desktop.call(item, ITEM, "Scroll", "is", [-120, "vertical"])
            await until(lambda: bridge.config.strength == 95, "a lower strength")

    with Serving(bridge, bus.address):
        asyncio.run(check())


def test_icon_and_words_tell_the_state(bus: SessionBus) -> None:
    bridge = QuietBridge()
    bridge.now = replace(bridge.now, state="open", problems=["the machine is too busy"])

    async def check() -> None:
        async with Desktop(bus.address) as desktop, running(bus.address):
            await until(lambda: bool(desktop.items), "registration")
            await until(lambda: "NewStatus" in desktop.signals, "news of the state")
            seen = await desktop.see()
            assert seen["Status"] == "NeedsAttention"
            assert "too busy" in seen["ToolTip"][3]
            assert seen["Menu"] == "/MenuBar"
            assert [icon[0] for icon in seen["IconPixmap"]] == list(SIZES)
            assert seen["IconPixmap"][0][2] == pixmap("open", SIZES[0])

    with Serving(bridge, bus.address):
        asyncio.run(check())


def test_service_and_tray_may_come_and_go_in_any_order(bus: SessionBus) -> None:
    async def check() -> None:
        async with running(bus.address):
            await asyncio.sleep(0.2)
            async with Desktop(bus.address) as desktop:
                await until(lambda: bool(desktop.items), "registration once there is a tray")
                await eventually(desktop, "The service is not running", enabled=False)
                # Nothing that could start it is installed here; the menu says so.
                await desktop.click("Start the service")
                await eventually(
                    desktop, "It could not be started; see: systemctl --user status pipedtln"
                )
                with Serving(QuietBridge(), bus.address):
                    await eventually(desktop, "Ready (nobody records)")
                await eventually(desktop, "The service is not running")
            async with Desktop(bus.address) as desktop:
                await until(lambda: bool(desktop.items), "registration with the next tray")

    asyncio.run(check())


def test_without_a_sound_server_the_menu_still_works(bus: SessionBus) -> None:
    def offer() -> list[tuple[str, str]]:
        raise ServerError("no server")

    async def check() -> None:
        tray = Tray(bus.address, offer=offer)
        async with Desktop(bus.address) as desktop:
            task = asyncio.create_task(tray.run())
            await until(lambda: bool(desktop.items), "registration")
            await eventually(desktop, "Microphone/Choose by itself", **{"toggle-state": 1})
            await desktop.click("Close this icon")
            await asyncio.wait_for(task, 5)

    with Serving(QuietBridge(), bus.address):
        asyncio.run(check())


def test_a_desktop_may_ask_in_all_the_ways_of_the_protocol(bus: SessionBus) -> None:
    async def check() -> None:
        async with Desktop(bus.address) as desktop, running(bus.address):
            await until(lambda: bool(desktop.items), "registration")
            await eventually(desktop, "Bypass")
            number = (await desktop.lines())["Bypass"]["id"]
            (group,) = await desktop.ask("GetGroupProperties", "aias", [number, 999], ["label"])
            assert [(one[0], one[1]["label"].value) for one in group] == [(number, "Bypass")]
            (label,) = await desktop.ask("GetProperty", "is", number, "label")
            assert label.value == "Bypass"
            assert await desktop.ask("AboutToShow", "i", 0) == [False]
            assert await desktop.ask("AboutToShowGroup", "ai", [0, 999]) == [[], [999]]
            _, top = await desktop.ask("GetLayout", "iias", 0, 1, ["label"])
            assert all(not child.value[2] for child in top[2])

    with Serving(QuietBridge(), bus.address):
        asyncio.run(check())


def test_the_command_ends_on_a_signal_and_needs_a_bus(bus: SessionBus) -> None:
    with Serving(QuietBridge(), bus.address):
        process = subprocess.Popen(
            [sys.executable, "-m", "pipedtln", "tray"], env=bus.environment, stderr=subprocess.PIPE
        )
        wait_until(
            lambda: (
                f"StatusNotifierItem-{process.pid}" in bus.run("busctl", "--user", "list").stdout
                or process.poll() is not None
            ),
            "item on the bus",
        )
        introspected = bus.run(
            "busctl", "--user", "introspect", f"org.kde.StatusNotifierItem-{process.pid}-1", ITEM[0]
        )
        assert ".IconPixmap" in introspected.stdout, introspected.stderr
        process.terminate()
        assert process.wait(10) == 0
    bus.kill()
    said = bus.pipedtln("tray")
    assert (said.returncode, said.stderr.count("\n")) == (3, 1), said.stderr


@pytest.mark.parametrize("size", SIZES)
def test_no_two_states_that_need_telling_apart_look_alike(size: int) -> None:
    """In grey too: luminance alone tells cleaning, bypassed, muted, open and off apart."""
    looks = {}
    for state in STATES:
        data = pixmap(state, size)
        assert len(data) == 4 * size * size
        pixels = np.frombuffer(data, np.uint8).reshape(size, size, 4).astype(float)
        assert pixels[0, 0, 0] == 0, "corners are transparent"
        looks[state] = pixels[..., 1:] @ (0.2126, 0.7152, 0.0722) * pixels[..., 0] / 255
    for one in ("running", "bypassed", "muted", "open", "off"):
        for other in ("running", "bypassed", "muted", "open", "off"):
            if one != other:
                differing = np.mean(abs(looks[one] - looks[other]) > 50)
                assert differing > 0.01, f"{one} looks like {other}: {differing:.3f}"
