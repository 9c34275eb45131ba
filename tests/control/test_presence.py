"""The bridge and the bus come, go and come back, and each outlives the other."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from dbus_fast import MessageType
from dbus_fast.aio import MessageBus

from pipedtln.control.bus import session_bus_address
from pipedtln.control.client import BridgeClient, ask
from pipedtln.control.server import ControlServer
from pipedtln.control.wire import NAME, NotRunningError
from pipedtln.errors import ServiceError
from pipedtln.resources import resource
from tests.control.bridge import QuietBridge
from tests.control.listening import until
from tests.control.session import SessionBus


def test_a_second_instance_says_who_runs_and_leaves_it_alone(bus: SessionBus) -> None:
    async def scene() -> None:
        first = ControlServer(QuietBridge(), bus.address)
        second = ControlServer(QuietBridge(), bus.address)
        assert await first.start()
        with pytest.raises(ServiceError, match=rf"process {os.getpid()}\b") as taken:
            await second.start()
        assert taken.value.exit_code == 3
        assert not second.connected
        await second.stop()
        async with BridgeClient(bus.address) as client:
            assert (await client.status()).state == "idle"
        await first.stop()
        assert await second.start(), "the name is free once the first has stopped"
        await second.stop()

    asyncio.run(scene())


def test_without_a_bus_it_starts_all_the_same_and_joins_when_one_comes(bus: SessionBus) -> None:
    async def scene() -> None:
        bus.kill()
        server = ControlServer(QuietBridge(), bus.address, first_retry_s=0.05, last_retry_s=0.2)
        assert await server.start() is False
        assert "is its daemon alive?" in (server.problem or "")
        bus.start()
        await until(lambda: server.connected, "place on the late bus")
        assert server.problem is None
        await server.stop()

    asyncio.run(scene())


def test_stopping_just_when_something_changes_ends_all_the_same(bus: SessionBus) -> None:
    async def scene(turns: int) -> None:
        server = ControlServer(QuietBridge(), bus.address)
        await server.start()
        await asyncio.sleep(0.3)
        server.notify()
        for _ in range(turns):
            await asyncio.sleep(0)
        await asyncio.wait_for(server.stop(), 5.0)

    for turns in range(6):
        asyncio.run(scene(turns))


def test_a_bus_that_restarts_gets_the_bridge_back(bus: SessionBus) -> None:
    async def scene() -> None:
        server = ControlServer(QuietBridge(), bus.address, first_retry_s=0.05, last_retry_s=0.2)
        await server.start()
        for _ in range(2):
            async with BridgeClient(bus.address) as client:
                levels: list[float] = []
                await client.on_levels(lambda mic, ref, out, to=levels: to.append(mic))  # type: ignore[misc]
                await until(lambda heard=levels: len(heard) > 0, "levels")  # type: ignore[misc]
                bus.kill()
                await until(lambda: not server.connected, "noticed end of the bus")
                with pytest.raises(ServiceError):
                    await client.status()
            bus.start()
            took = await until(lambda: server.connected, "return to the bus")
            print(f"back {1000 * took:.0f} ms after the bus")
            async with BridgeClient(bus.address) as client:
                assert (await client.status()).state == "idle"
        await server.stop()

    asyncio.run(scene())


def test_a_name_lost_to_another_while_the_bus_was_away_is_no_crash(bus: SessionBus) -> None:
    async def scene() -> None:
        server = ControlServer(QuietBridge(), bus.address, first_retry_s=0.3, last_retry_s=0.3)
        await server.start()
        bus.kill()
        await until(lambda: not server.connected, "noticed end of the bus")
        bus.start()
        thief = ControlServer(QuietBridge(), bus.address)
        await thief.start()
        await until(lambda: "runs already" in (server.problem or ""), "complaint")
        await thief.stop()
        await until(lambda: server.connected, "return to the bus")
        await server.stop()

    asyncio.run(scene())


def test_stop_is_safe_at_any_time(bus: SessionBus) -> None:
    async def scene() -> None:
        server = ControlServer(QuietBridge(), bus.address)
        await server.stop()
        await server.start()
        bus.kill()
        await server.stop()
        await server.stop()

    asyncio.run(scene())


def test_without_a_service_the_client_says_how_to_start_it(bus: SessionBus) -> None:
    with pytest.raises(NotRunningError, match="systemctl --user start pipedtln") as error:
        ask(BridgeClient.status, address=bus.address)
    assert error.value.exit_code == 3


def test_without_a_bus_the_client_says_that(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with pytest.raises(ServiceError, match="no D-Bus session bus"):
        ask(BridgeClient.status)
    with pytest.raises(ServiceError, match="cannot reach the D-Bus session bus"):
        ask(BridgeClient.status, address=f"unix:path={tmp_path}/nothing")
    with pytest.raises(ServiceError, match="cannot reach the D-Bus session bus"):
        ask(BridgeClient.status, address="no address at all")


def test_a_service_that_hangs_is_told_from_one_that_is_absent(bus: SessionBus) -> None:
    async def scene() -> None:
        mute = await MessageBus(bus_address=bus.address).connect()
        mute.add_message_handler(lambda message: message.message_type is MessageType.METHOD_CALL)
        await mute.request_name(NAME)
        async with BridgeClient(bus.address, timeout_s=0.3) as client:
            with pytest.raises(ServiceError, match="does not answer") as hung:
                await client.status()
        assert not isinstance(hung.value, NotRunningError)
        mute.disconnect()

    asyncio.run(scene())


def test_the_bus_is_found_where_the_user_manager_puts_it(bus: SessionBus, tmp_path: Path) -> None:
    assert session_bus_address({"XDG_RUNTIME_DIR": str(bus.folder)}) == bus.address
    assert session_bus_address({"XDG_RUNTIME_DIR": str(tmp_path)}) is None
    assert session_bus_address({}) is None
    named = {"DBUS_SESSION_BUS_ADDRESS": "unix:abstract=x", "XDG_RUNTIME_DIR": str(bus.folder)}
    assert session_bus_address(named) == "unix:abstract=x"


def test_the_activation_file_names_our_bus_name_and_unit() -> None:
    lines = resource("systemd-user", f"{NAME}.service").read_text().splitlines()
    assert lines[1] == "[D-BUS Service]"
    assert f"Name={NAME}" in lines
    assert "SystemdService=pipedtln.service" in lines
