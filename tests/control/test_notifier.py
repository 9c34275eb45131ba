"""What lasts is told on the desktop once and taken back; moments and repetitions are not."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from pipedtln.control.api import Status
from pipedtln.control.notifier import Notifier
from pipedtln.demo.servers import PrivateServer
from tests.control.bridge import QuietBridge
from tests.control.listening import until
from tests.control.notifications import NotificationDaemon
from tests.control.session import SessionBus
from tests.service.bridge import RunningBridge

FINE = QuietBridge().now
OPEN = replace(FINE, state="open", problems=["the machine is <too> busy & hot"])
LOST = replace(FINE, state="waiting", mic=None, problems=["no microphone is connected"])


def look(notifier: Notifier, *states: Status) -> None:
    for status in states:
        notifier.look(status, wanted=True)


def test_what_lasts_is_told_and_taken_back_once_mended(bus: SessionBus) -> None:
    async def check() -> None:
        async with NotificationDaemon(bus.address) as daemon:
            notifier = Notifier(bus.address, lasting_s=0.2)
            look(notifier, FINE, OPEN)
            await until(lambda: bool(daemon.standing), "notification")
            (shown,) = daemon.standing.values()
            assert "noise" in shown.title
            assert shown.body.startswith("the machine is &lt;too&gt; busy &amp; hot\n")
            assert "pipedtln status" in shown.body
            assert shown.hints["desktop-entry"] == "io.github.pipedtln"
            look(notifier, FINE)
            await until(lambda: not daemon.standing, "end of the notification")
            assert daemon.asked == 1
            await notifier.close()

    asyncio.run(check())


def test_a_moment_is_not_told(bus: SessionBus) -> None:
    async def check() -> None:
        async with NotificationDaemon(bus.address) as daemon:
            notifier = Notifier(bus.address, lasting_s=0.3)
            for _ in range(4):
                look(notifier, OPEN)
                await asyncio.sleep(0.15)
                look(notifier, FINE)
            await asyncio.sleep(0.4)
            assert daemon.asked == 0
            await notifier.close()

    asyncio.run(check())


def test_one_kind_is_told_once_in_a_while_and_another_at_once(bus: SessionBus) -> None:
    async def check() -> None:
        async with NotificationDaemon(bus.address) as daemon:
            notifier = Notifier(bus.address, lasting_s=0.05, spare_s=0.8)
            look(notifier, FINE, OPEN)
            await until(lambda: daemon.asked == 1, "notification")
            look(notifier, FINE, OPEN)
            await asyncio.sleep(0.3)
            assert daemon.asked == 1
            look(notifier, LOST)
            await until(lambda: daemon.asked == 2, "notification of the other kind")
            assert any("lost" in shown.title for shown in daemon.standing.values())
            look(notifier, OPEN)
            await until(lambda: daemon.asked == 3, "the first kind again, after a while")
            await notifier.close()
            assert not daemon.standing

    asyncio.run(check())


def test_who_wants_none_gets_none_and_turning_off_takes_back(bus: SessionBus) -> None:
    async def check() -> None:
        async with NotificationDaemon(bus.address) as daemon:
            notifier = Notifier(bus.address, lasting_s=0.05)
            notifier.look(OPEN, wanted=False)
            await asyncio.sleep(0.2)
            assert daemon.asked == 0
            notifier.look(OPEN, wanted=True)
            await until(lambda: bool(daemon.standing), "notification")
            notifier.look(OPEN, wanted=False)
            await until(lambda: not daemon.standing, "end of the notification")
            await notifier.close()

    asyncio.run(check())


def test_a_microphone_that_never_was_is_not_lost(bus: SessionBus) -> None:
    async def check() -> None:
        async with NotificationDaemon(bus.address) as daemon:
            notifier = Notifier(bus.address, lasting_s=0.05)
            look(notifier, LOST)
            await asyncio.sleep(0.2)
            assert daemon.asked == 0
            look(notifier, FINE, replace(LOST, server=None))
            await asyncio.sleep(0.2)
            assert daemon.asked == 0
            look(notifier, LOST)
            await until(lambda: daemon.asked == 1, "notification")
            await notifier.close()

    asyncio.run(check())


def test_without_a_desktop_or_a_bus_nothing_happens(bus: SessionBus) -> None:
    async def check(address: str) -> None:
        notifier = Notifier(address, lasting_s=0.0)
        look(notifier, FINE, OPEN)
        await asyncio.sleep(0.3)
        look(notifier, FINE)
        await notifier.close()
        await notifier.close()

    asyncio.run(check(bus.address))
    asyncio.run(check("unix:path=/nowhere/bus"))


def test_a_bridge_without_weights_tells_the_desktop(pulseaudio: PrivateServer) -> None:
    async def check() -> None:
        async with NotificationDaemon(pulseaudio.bus_address) as daemon:
            env: dict[str, str | None] = {"PIPEDTLN_MODELS_DIR": str(pulseaudio.folder / "none")}
            with RunningBridge(pulseaudio, env=env) as bridge:
                await until(lambda: bool(daemon.standing), "notification", within_s=25)
                (shown,) = daemon.standing.values()
                print(f"{shown.title}: {shown.body}")
                assert await asyncio.to_thread(bridge.stop) == 0
            await until(lambda: not daemon.standing, "end of the notification")

    asyncio.run(check())
