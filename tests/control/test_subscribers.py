"""Levels and spectra are measured and sent only while somebody wants them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap

from pipedtln.control.api import BANDS
from pipedtln.control.client import BridgeClient
from pipedtln.control.server import ControlServer
from tests.control.bridge import QuietBridge, RichBridge
from tests.control.listening import Listener, until
from tests.control.session import SessionBus


def test_levels_come_ten_times_a_second_and_only_to_the_subscriber(bus: SessionBus) -> None:
    async def scene() -> None:
        bridge = QuietBridge()
        server = ControlServer(bridge, bus.address)
        await server.start()
        async with Listener(bus.address) as wants, Listener(bus.address) as other:
            await asyncio.sleep(0.3)
            assert bridge.asked_for_levels == 0
            await wants.call("Subscribe", "s", ["Levels"])
            await wants.call("Subscribe", "s", ["Levels"])  # twice is once
            await until(lambda: wants.count("Levels") >= 21, "levels")
            arrivals = [when for when, member, _ in wants.signals if member == "Levels"]
            rate = 20 / (arrivals[20] - arrivals[0])
            print(f"{rate:.2f} levels a second")
            assert 8 < rate < 11
            assert wants.signals[-1][2] == [-20.0, -float("inf"), -30.5]
            assert other.count("Levels") == 0
            await wants.call("Unsubscribe", "s", ["Levels"])
            measured, got = bridge.asked_for_levels, wants.count("Levels")
            await asyncio.sleep(0.5)
            assert bridge.asked_for_levels <= measured + 1
            assert wants.count("Levels") <= got + 1
        await server.stop()

    asyncio.run(scene())


def test_a_subscriber_that_leaves_the_bus_is_forgotten(bus: SessionBus) -> None:
    async def scene() -> None:
        bridge = QuietBridge()
        server = ControlServer(bridge, bus.address)
        await server.start()
        async with Listener(bus.address) as wants:
            await wants.call("Subscribe", "s", ["Levels"])
            await until(lambda: bridge.asked_for_levels > 2, "measured levels")
        await asyncio.sleep(0.3)
        measured = bridge.asked_for_levels
        await asyncio.sleep(0.5)
        assert bridge.asked_for_levels == measured
        async with Listener(bus.address) as again:
            await again.call("Subscribe", "s", ["Levels"])
            await until(lambda: again.count("Levels") > 2, "levels for the next subscriber")
        await server.stop()

    asyncio.run(scene())


def test_a_subscriber_that_is_killed_is_forgotten_and_others_go_on(bus: SessionBus) -> None:
    program = textwrap.dedent("""
        import asyncio, sys
        from pipedtln.control.client import BridgeClient

        async def main():
            async with BridgeClient(sys.argv[1]) as client:
                await client.on_levels(lambda mic, ref, out: print("level", flush=True))
                await asyncio.sleep(60)

        asyncio.run(main())
    """)

    async def scene() -> None:
        bridge = QuietBridge()
        server = ControlServer(bridge, bus.address)
        await server.start()
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, bus.address, stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        assert await asyncio.wait_for(child.stdout.readline(), 20) == b"level\n"
        async with Listener(bus.address) as other:
            await other.call("Subscribe", "s", ["Levels"])
            child.kill()
            await child.wait()
            other.signals.clear()
            await until(lambda: other.count("Levels") >= 5, "levels for the one that lives")
            await other.call("Unsubscribe", "s", ["Levels"])
            await asyncio.sleep(0.2)
            measured = bridge.asked_for_levels
            await asyncio.sleep(0.5)
            assert bridge.asked_for_levels == measured
        await server.stop()

    asyncio.run(scene())


def test_spectra_are_sent_by_a_bridge_that_has_them(bus: SessionBus) -> None:
    async def scene() -> None:
        server = ControlServer(RichBridge(), bus.address)
        await server.start()
        async with BridgeClient(bus.address) as client:
            heard: list[tuple[bytes, bytes]] = []
            await client.on_spectra(lambda mic, out: heard.append((mic, out)))
            await until(lambda: len(heard) >= 2, "spectra")
            assert heard[0] == (bytes(range(BANDS)), bytes(reversed(range(BANDS))))
        await server.stop()

    asyncio.run(scene())


def test_spectra_are_refused_by_a_bridge_without_and_unknown_signals_always(
    bus: SessionBus,
) -> None:
    async def scene() -> None:
        server = ControlServer(QuietBridge(), bus.address)
        await server.start()
        async with Listener(bus.address) as asks:
            refused = await asks.call("Subscribe", "s", ["Spectra"])
            assert refused.error_name == "org.freedesktop.DBus.Error.NotSupported"
            unknown = await asks.call("Subscribe", "s", ["Weather"])
            assert unknown.error_name == "org.freedesktop.DBus.Error.InvalidArgs"
            assert "Levels or Spectra" in unknown.body[0]
        await server.stop()

    asyncio.run(scene())


def test_a_meter_that_fails_does_not_end_the_service(bus: SessionBus) -> None:
    class Faulty(QuietBridge):
        def levels(self) -> tuple[float, float, float]:
            raise RuntimeError("no meter")

    async def scene() -> None:
        server = ControlServer(Faulty(), bus.address)
        await server.start()
        async with Listener(bus.address) as asks:
            await asks.call("Subscribe", "s", ["Levels"])
            await asyncio.sleep(0.2)
            assert (await asks.call("GetStatus")).error_name is None
        await server.stop()

    asyncio.run(scene())


def test_a_subscription_outlives_a_restart_of_the_service(bus: SessionBus) -> None:
    async def scene() -> None:
        first = ControlServer(QuietBridge(), bus.address)
        await first.start()
        async with BridgeClient(bus.address) as client:
            levels: list[float] = []
            presence: list[bool] = []
            await client.on_presence(presence.append)
            await client.on_levels(lambda mic, ref, out: levels.append(mic))
            await until(lambda: len(levels) > 1, "levels")
            await first.stop()
            second = ControlServer(QuietBridge(), bus.address)
            await second.start()
            levels.clear()
            await until(lambda: len(levels) > 1, "levels of the second service")
            assert presence == [False, True]
            await second.stop()

    asyncio.run(scene())
