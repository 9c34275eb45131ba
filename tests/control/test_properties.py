"""What the bridge is can be read on the bus, and its changes are told there."""

from __future__ import annotations

import asyncio
import math
from dataclasses import fields, replace
from itertools import pairwise

from pipedtln.control import properties
from pipedtln.control.api import Status
from pipedtln.control.server import ControlServer
from pipedtln.control.wire import INTERFACE, NAME, PATH, PROPERTIES
from tests.control.bridge import QuietBridge
from tests.control.listening import Listener, until
from tests.control.serving import Serving
from tests.control.session import SessionBus


def test_busctl_reads_every_property_with_its_type(bus: SessionBus) -> None:
    with Serving(QuietBridge(), bus.address):
        said = bus.run("busctl", "--user", "introspect", NAME, PATH, INTERFACE)
    assert said.returncode == 0, said.stderr
    lines = {line.split()[0][1:]: line.split() for line in said.stdout.splitlines()[1:]}
    for entry in properties.ALL:
        assert lines[entry.name][1:3] == ["property", entry.signature]
        flags = lines[entry.name][-1]
        assert flags == ("-" if entry.tells == "never" else "emits-change"), entry.name
    assert lines["Microphone"][3] == '"fake_mic"'
    assert lines["LatencyMs"][3] == "44.2"
    assert lines["EchoSuppressionDb"][3] == "nan"
    assert lines["Levels"][1:3] == ["signal", "ddd"]
    assert lines["Set"][1:3] == ["method", "svb"]


def test_the_object_is_found_by_walking_the_tree(bus: SessionBus) -> None:
    with Serving(QuietBridge(), bus.address):
        said = bus.run("busctl", "--user", "--list", "tree", NAME)
        lost = bus.run("busctl", "--user", "introspect", NAME, "/io/github/pipedtln2")
    assert PATH in said.stdout.split()
    assert INTERFACE not in lost.stdout


def test_dbus_send_reads_all_properties(bus: SessionBus) -> None:
    with Serving(QuietBridge(), bus.address):
        said = bus.run(
            "dbus-send", "--session", "--print-reply", f"--dest={NAME}", PATH,
            f"{PROPERTIES}.GetAll", f"string:{INTERFACE}",
        )  # fmt: skip
    assert said.returncode == 0, said.stderr
    for entry in properties.ALL:
        assert f'string "{entry.name}"' in said.stdout


def test_every_field_of_the_status_is_a_property() -> None:
    bare = Status(state="idle", version="1", pid=1, uptime_s=1.0)
    full = replace(
        bare, state="open", version="2", pid=2, uptime_s=2.0, server="s", mic="m", reference="r",
        output="o", model="n", strength=50, bypass=True, muted=True, recorders=["a"],
        latency_ms=1.0, latency_parts_ms={"p": 1.0}, echo_delay_ms=1.0, echo_suppression_db=1.0,
        load={"mean": 0.1, "p99": 0.1}, hops=1, dropped_hops=1, bypassed_hops=1, xruns=1,
        wakeups_per_s=1.0, drift_ppm=1.0, corrected_ms=1.0, problems=["p"],
    )  # fmt: skip
    for field in fields(Status):
        changed = replace(bare, **{field.name: getattr(full, field.name)})
        before, after = properties.read_all(bare), properties.read_all(changed)
        differing = [name for name in before if repr(before[name]) != repr(after[name])]
        assert len(differing) == 1, f"{field.name} changes {differing}"


def test_texts_that_dbus_cannot_carry_are_mended() -> None:
    status = Status(state="idle", version="1", pid=1, uptime_s=1.0, mic="a\0b\udc80", recorders=[])
    assert properties.BY_NAME["Microphone"].read(status).value == "ab?"


def test_a_change_is_told_at_once_and_alone(bus: SessionBus) -> None:
    async def scene() -> None:
        bridge = QuietBridge()
        server = ControlServer(bridge, bus.address)
        async with Listener(bus.address) as listener:
            await server.start()
            await until(lambda: len(listener.changes()) >= 1, "first properties")
            await asyncio.sleep(0.1)
            listener.signals.clear()
            bridge.now = replace(bridge.now, state="running", mic="other_mic")
            server.notify()
            took = await until(lambda: len(listener.changes()) >= 1, "change")
            print(f"change told after {1000 * took:.0f} ms")
            assert took < 0.5
            assert listener.changes()[0][1] == {"State": "running", "Microphone": "other_mic"}
            await server.stop()

    asyncio.run(scene())


def test_a_change_that_nobody_announced_is_told_within_two_seconds(bus: SessionBus) -> None:
    async def scene() -> None:
        bridge = QuietBridge()
        server = ControlServer(bridge, bus.address)
        async with Listener(bus.address) as listener:
            await server.start()
            await until(lambda: len(listener.changes()) >= 1, "first properties")
            listener.signals.clear()
            bridge.now = replace(bridge.now, problems=["no microphone"])
            took = await until(lambda: len(listener.changes()) >= 1, "change")
            assert took < 2.0
            assert listener.changes()[0][1] == {"Problems": ["no microphone"]}
            await server.stop()

    asyncio.run(scene())


def test_figures_are_told_once_a_second_at_most_and_still_bridges_are_silent(
    bus: SessionBus,
) -> None:
    async def scene() -> None:
        bridge = QuietBridge()
        server = ControlServer(bridge, bus.address)
        async with Listener(bus.address) as listener:
            await server.start()
            await until(lambda: len(listener.changes()) >= 1, "first properties")
            listener.signals.clear()
            for step in range(30):
                # Uptime and hops always move and are never told; NaN stays NaN.
                bridge.now = replace(bridge.now, uptime_s=20.0 + step, hops=step)
                bridge.now = replace(bridge.now, latency_ms=50.0 + step, drift_ppm=math.nan)
                server.notify()
                await asyncio.sleep(0.1)
            told = [
                (when, changed) for when, changed in listener.changes() if "LatencyMs" in changed
            ]
            print(f"{len(told)} signals for 30 changes in 3 s")
            assert 1 <= len(told) <= 4
            gaps = [late[0] - early[0] for early, late in pairwise(told)]
            assert all(gap > 0.8 for gap in gaps)
            assert all("Hops" not in changed for _, changed in told)
            await asyncio.sleep(1.5)  # the last change has its turn
            listener.signals.clear()
            await asyncio.sleep(2.5)
            assert listener.signals == []
            await server.stop()

    asyncio.run(scene())
