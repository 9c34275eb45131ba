"""The methods steer the bridge, and its errors arrive as what they were."""

from __future__ import annotations

import asyncio
import inspect
import json
from dataclasses import asdict
from pathlib import Path

import pytest

from pipedtln import errors
from pipedtln.control import wire
from pipedtln.control.api import Status
from pipedtln.control.client import BridgeClient, ask
from pipedtln.control.server import ControlServer
from pipedtln.control.wire import INTERFACE, NAME, PATH, PROPERTIES
from pipedtln.errors import ConfigError, DeviceNotFoundError, PipedtlnError, ServiceError
from tests.control.bridge import QuietBridge, RichBridge
from tests.control.listening import Listener
from tests.control.serving import Serving
from tests.control.session import SessionBus


def busctl(bus: SessionBus, *call: str) -> tuple[int, str]:
    said = bus.run("busctl", "--user", "call", NAME, PATH, INTERFACE, *call)
    return said.returncode, said.stdout + said.stderr


def test_each_setter_changes_its_key_and_keeps_it(bus: SessionBus) -> None:
    bridge = QuietBridge()
    with Serving(bridge, bus.address):
        for call in (
            ("SetMicrophone", "s", "usb_mic"),
            ("SetReference", "s", "none"),
            ("SetModel", "s", "quiet-512"),
            ("SetStrength", "u", "70"),
            ("SetBypass", "b", "true"),
            ("SetMuted", "b", "true"),
        ):
            assert busctl(bus, *call) == (0, ""), call
    wanted = {
        "mic": "usb_mic", "reference": "none", "model": "quiet-512",
        "strength": 70, "bypass": True, "muted": True,
    }  # fmt: skip
    assert bridge.kept == wanted
    assert {key: asdict(bridge.config)[key] for key in wanted} == wanted


def test_set_takes_any_key_and_keeps_only_when_asked(bus: SessionBus) -> None:
    bridge = QuietBridge()
    with Serving(bridge, bus.address):
        assert busctl(bus, "Set", "svb", "strength", "i", "55", "false") == (0, "")
        assert busctl(bus, "Reload") == (0, "")
        said = bus.run(
            "gdbus", "call", "--session", "--dest", NAME, "--object-path", PATH,
            "--method", f"{INTERFACE}.GetSettings",
        )  # fmt: skip
    assert bridge.config.strength == 55
    assert bridge.kept == {}
    assert bridge.reloads == 1
    assert "'strength': <55>" in said.stdout


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (("SetStrength", "u", "101"), "strength must be a whole number from 0 to 100"),
        (("Set", "svb", "strength", "s", "80", "true"), "strength must be a whole number"),
        (("Set", "svb", "strenght", "i", "80", "true"), "did you mean 'strength'"),
        (("SetMicrophone", "s", "pipedtln_microphone"), "its own sound"),
        (("SetMicrophone", "s", "nowhere"), "List sources with: pipedtln devices"),
        (("SetStrength", "s", "80"), "takes 'u', not 's'"),
        (("Explode",), "no method Explode"),
        (("Record", "ds", "5", "/tmp"), "does not offer recording"),
    ],
)
def test_a_refused_call_says_why_and_changes_nothing(
    bus: SessionBus, call: tuple[str, ...], reason: str
) -> None:
    bridge = QuietBridge()
    before = bridge.config
    with Serving(bridge, bus.address):
        code, said = busctl(bus, *call)
    assert code != 0
    assert reason in said
    assert bridge.config == before


def test_properties_are_told_not_set(bus: SessionBus) -> None:
    with Serving(QuietBridge(), bus.address):
        said = bus.run(
            "busctl", "--user", "set-property", NAME, PATH, INTERFACE, "Strength", "u", "10"
        )
        unknown = bus.run("busctl", "--user", "get-property", NAME, PATH, INTERFACE, "Colour")
        other = bus.run("busctl", "--user", "get-property", NAME, PATH, "org.example.X", "State")
    assert said.returncode != 0
    assert "method Set" in said.stderr
    assert "no property Colour" in unknown.stderr
    assert "no interface org.example.X" in other.stderr


def test_every_exception_crosses_the_bus_as_itself() -> None:
    ours = [
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, PipedtlnError)
    ]
    assert len(ours) >= 10
    for kind in ours:
        back = wire.error_from(wire.error_name(kind("what, which, what next")), "words")
        assert type(back) is kind
        assert str(back) == "words"


def test_an_exception_unknown_to_errors_crosses_as_its_nearest_ancestor() -> None:
    class Special(ConfigError):
        pass

    assert wire.error_name(Special("x")) == wire.ERRORS + "ConfigError"
    assert type(wire.error_from(wire.ERRORS + "BrandNewError", "x")) is PipedtlnError
    assert type(wire.error_from(wire.ERRORS + "Any", "x")) is PipedtlnError  # a name, not ours


def test_the_client_raises_what_the_bridge_raised(bus: SessionBus) -> None:
    with Serving(QuietBridge(), bus.address):

        def change(key: str, value: object) -> None:
            ask(lambda client: client.set(key, value), address=bus.address)  # type: ignore[arg-type]

        with pytest.raises(DeviceNotFoundError, match="no source named 'nowhere'") as missing:
            change("mic", "nowhere")
        assert missing.value.exit_code == 6
        with pytest.raises(ConfigError, match=r"^threads changes with a restart$"):
            change("threads", 2)  # two lines there, one here
        with pytest.raises(PipedtlnError, match="a bug in pipedtln: Set failed") as bug:
            change("model", "bug")
        assert "secret" not in str(bug.value)


def test_the_client_gets_the_whole_status(bus: SessionBus) -> None:
    bridge = QuietBridge()
    with Serving(bridge, bus.address):
        assert ask(BridgeClient.status, address=bus.address) == bridge.status()
        settings = ask(BridgeClient.settings, address=bus.address)
    assert settings == asdict(bridge.config)
    assert type(settings["strength"]) is int
    assert type(settings["bypass"]) is bool


def test_a_status_of_another_version_is_read_as_far_as_it_goes() -> None:
    said = '{"state": "idle", "version": "99", "pid": 1, "uptime_s": 1.0, "smell": "fresh"}'
    assert wire.status_from_json(said) == Status("idle", "99", 1, 1.0)
    with pytest.raises(ServiceError, match="systemctl --user restart pipedtln"):
        wire.status_from_json('{"state": "idle"}')
    with pytest.raises(ServiceError):
        wire.status_from_json("[]")


def test_a_status_is_json_even_when_its_figures_are_not_finite() -> None:
    status = Status(
        "idle", "1", 1, 1.0, echo_suppression_db=float("inf"), latency_parts_ms={"a": float("nan")}
    )
    said = json.loads(wire.status_to_json(status))
    assert said["echo_suppression_db"] is None
    assert said["latency_parts_ms"] == {"a": None}


def test_recording_is_passed_on_by_a_bridge_that_can(bus: SessionBus) -> None:
    with Serving(RichBridge(), bus.address):
        files = ask(lambda client: client.record(2.0, Path("/tmp/x")), address=bus.address)
        assert files == [Path("/tmp/x/mic-2.wav")]
        with pytest.raises(errors.InputError, match="choose more than 0"):
            ask(lambda client: client.record(0.0, Path("/tmp/x")), address=bus.address)


def test_slow_calls_do_not_hold_up_others(bus: SessionBus) -> None:
    class Slow(QuietBridge):
        async def reload(self) -> None:
            await asyncio.sleep(30)

    async def scene() -> None:
        server = ControlServer(Slow(), bus.address)
        await server.start()
        async with Listener(bus.address) as asks:
            slow = asyncio.create_task(asks.call("Reload"))
            await asyncio.sleep(0.05)
            reply = await asyncio.wait_for(asks.call("GetAll", "s", [INTERFACE], PROPERTIES), 2)
            assert reply.body[0]["State"].value == "idle"
            slow.cancel()
        await asyncio.wait_for(server.stop(), 3)

    asyncio.run(scene())
