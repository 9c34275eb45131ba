"""``set``, ``get``, ``bypass`` and ``mute`` change the running service and say so."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from pipedtln.configfile import read
from tests.control.bridge import QuietBridge
from tests.control.serving import Serving
from tests.control.session import SessionBus


@pytest.fixture
def bus() -> Iterator[SessionBus]:
    """Start a private session bus."""
    with SessionBus() as session:
        yield session


def test_set_changes_the_service_and_keeps_it(bus: SessionBus) -> None:
    bridge = QuietBridge()
    with Serving(bridge, bus.address):
        said = bus.pipedtln("set", "strength", "80")
    assert (said.returncode, said.stdout, said.stderr) == (0, "strength = 80\n", "")
    assert bridge.kept == {"strength": 80}


def test_now_only_keeps_nothing(bus: SessionBus) -> None:
    bridge = QuietBridge()
    with Serving(bridge, bus.address):
        for command in (
            ("set", "mic", "usb_mic", "--now-only"),
            ("bypass", "on", "--now-only"),
            ("mute", "toggle", "--now-only"),
        ):
            assert bus.pipedtln(*command).returncode == 0
    assert (bridge.config.mic, bridge.config.bypass, bridge.config.muted) == ("usb_mic", True, True)
    assert bridge.kept == {}


@pytest.mark.parametrize(("command", "key"), [("bypass", "bypass"), ("mute", "muted")])
def test_switches_go_on_off_and_over(bus: SessionBus, command: str, key: str) -> None:
    bridge = QuietBridge()
    with Serving(bridge, bus.address):
        for switch, state in (("on", True), ("on", True), ("toggle", False), ("toggle", True)):
            said = bus.pipedtln(command, switch)
            assert said.stdout == f"{key} = {'on' if state else 'off'}\n"
            assert getattr(bridge.config, key) is state
        assert bus.pipedtln(command, "off").returncode == 0
        assert bus.pipedtln(command, "sideways").returncode == 2
    assert bridge.kept == {key: False}


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (("strength", "300"), 2, "from 0 to 100"),
        (("strenght", "30"), 2, "did you mean 'strength'"),
        (("bypass", "maybe"), 2, "on or off"),
        (("mic", "pipedtln_microphone"), 2, "its own sound"),
        (("mic", "nowhere"), 6, "no source named 'nowhere'"),
        (("model", "bug"), 1, "a bug in pipedtln"),
    ],
)
def test_a_refused_set_is_one_line_with_its_own_code(
    bus: SessionBus, arguments: tuple[str, ...], code: int, reason: str
) -> None:
    bridge = QuietBridge()
    with Serving(bridge, bus.address):
        said = bus.pipedtln("set", *arguments)
    assert said.returncode == code
    assert reason in said.stderr
    assert len(said.stderr.splitlines()) == 1
    assert said.stdout == ""
    assert bridge.kept == {}


def test_get_asks_the_service_for_what_is_in_force(bus: SessionBus) -> None:
    bridge = QuietBridge()
    with Serving(bridge, bus.address):
        bus.pipedtln("set", "strength", "33", "--now-only")
        assert bus.pipedtln("get", "strength").stdout == "33\n"
        assert bus.pipedtln("get", "bypass").stdout == "off\n"
        everything = bus.pipedtln("get").stdout.splitlines()
        as_json = json.loads(bus.pipedtln("get", "--json").stdout)
        unknown = bus.pipedtln("get", "colour")
    lines = [line.split() for line in everything]
    assert lines[0] == ["mic", "auto"]
    assert ["reference", "auto"] in lines
    assert as_json["strength"] == 33
    assert as_json["muted"] is False
    assert unknown.returncode == 2


def test_without_a_service_set_keeps_and_get_reads_the_file(bus: SessionBus) -> None:
    said = bus.pipedtln("set", "strength", "42")
    assert said.returncode == 0
    assert said.stdout == "strength = 42\n"
    assert "Kept for the next start" in said.stderr
    assert "systemctl --user start pipedtln" in said.stderr
    assert read(bus.folder / "config" / "pipedtln" / "config.toml")["strength"] == 42
    assert bus.pipedtln("get", "strength").stdout == "42\n"


@pytest.mark.parametrize(
    "command", [("set", "strength", "42", "--now-only"), ("bypass", "on"), ("mute", "toggle")]
)
def test_without_a_service_what_is_for_now_fails_with_3(
    bus: SessionBus, command: tuple[str, ...]
) -> None:
    said = bus.pipedtln(*command)
    assert said.returncode == 3
    assert "the service is not running" in said.stderr
    assert not (bus.folder / "config" / "pipedtln").exists()
