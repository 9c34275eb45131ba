"""``pipedtln status`` says what the service does, to people and to programs."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from pipedtln.cli.status import duration
from tests.control.bridge import QuietBridge
from tests.control.serving import Serving
from tests.control.session import SessionBus, wait_until


@pytest.fixture
def bus() -> Iterator[SessionBus]:
    """Start a private session bus."""
    with SessionBus() as session:
        yield session


def test_the_table_says_what_a_user_asks(bus: SessionBus) -> None:
    with Serving(QuietBridge(), bus.address):
        said = bus.pipedtln("status")
    assert said.returncode == 0, said.stderr
    for word in (
        "ready (nobody records)", "fake_mic", "fake_speaker.monitor", "quiet-256", "100 %",
        "Zoom", "44 ms added", "network 32", "63 ms", "5%", "11%", "PulseAudio 16.1", "9.8.7",
    ):  # fmt: skip
        assert word in said.stdout, word
    assert "\x1b" not in said.stdout, "no colours when piped"


@pytest.mark.parametrize("columns", [24, 40, 80, 200])
def test_the_table_fits_the_terminal(bus: SessionBus, columns: int) -> None:
    bridge = QuietBridge()
    name = "alsa_input.usb-A_Very_Long_Maker_Name_With_A_Model-00.analog-stereo"
    bridge.now = replace(bridge.now, mic=name, problems=["the [bold]reference[/] is lost"])
    with Serving(bridge, bus.address):
        said = bus.run("env", f"COLUMNS={columns}", sys.executable, "-m", "pipedtln", "status")
    lines = said.stdout.splitlines()
    assert max(len(line.rstrip()) for line in lines) <= columns
    folded = "".join("".join(line[15:].split()) for line in lines)
    assert name in folded
    assert "[bold]reference[/]" in folded, "markup in a name is no markup"


def test_trouble_stands_near_the_top_in_words(bus: SessionBus) -> None:
    bridge = QuietBridge()
    bridge.now = replace(
        bridge.now, state="open", reference=None, recorders=[], problems=["the model is missing"]
    )
    with Serving(bridge, bus.address):
        said = bus.pipedtln("status")
    lines = [line for line in said.stdout.splitlines() if line.strip()]
    assert "OPEN" in lines[0]
    assert "the model is missing" in lines[1]
    assert "no echo cancellation" in said.stdout


def test_json_has_every_promised_field(bus: SessionBus) -> None:
    with Serving(QuietBridge(), bus.address):
        said = bus.pipedtln("status", "--json")
    assert said.returncode == 0, said.stderr
    fields = json.loads(said.stdout)
    assert fields.keys() >= {
        "state", "server", "mic", "reference", "model", "strength", "bypass", "recorders",
        "latency_ms", "latency_parts_ms", "echo_delay_ms", "echo_suppression_db", "load",
        "dropped_hops", "bypassed_hops", "xruns", "uptime_s", "version",
        "corrected_ms",
    }  # fmt: skip
    assert fields["latency_ms"] == 44.25
    assert fields["load"] == {"mean": 0.0512, "p99": 0.11}
    assert fields["echo_suppression_db"] is None


@pytest.mark.parametrize("options", [[], ["--json"], ["--watch"]])
def test_without_a_service_it_names_the_command_and_ends_with_3(
    bus: SessionBus, options: list[str]
) -> None:
    said = bus.pipedtln("status", *options)
    assert said.returncode == 3
    assert said.stdout == ""
    assert said.stderr.startswith("Error: the service is not running.")
    assert "systemctl --user start pipedtln" in said.stderr
    assert len(said.stderr.splitlines()) == 1


def test_without_a_bus_it_says_that_and_ends_with_3(bus: SessionBus) -> None:
    said = bus.run(
        "env", "-u", "DBUS_SESSION_BUS_ADDRESS", sys.executable, "-m", "pipedtln", "status"
    )
    assert said.returncode == 3
    assert "no D-Bus session bus" in said.stderr


def test_watch_shows_it_again_until_interrupted(bus: SessionBus) -> None:
    with Serving(QuietBridge(), bus.address):
        watching = subprocess.Popen(
            [sys.executable, "-m", "pipedtln", "status", "--watch", "--json"],
            env=bus.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert watching.stdout is not None
        assert [json.loads(watching.stdout.readline())["state"] for _ in range(3)] == ["idle"] * 3
        watching.send_signal(signal.SIGINT)
        _, complaint = watching.communicate(timeout=10)
    assert watching.returncode == 130
    assert "Traceback" not in complaint


def test_watch_ends_when_the_service_does(bus: SessionBus) -> None:
    with Serving(QuietBridge(), bus.address):
        watching = subprocess.Popen(
            [sys.executable, "-m", "pipedtln", "status", "--watch", "--json"],
            env=bus.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert watching.stdout is not None
        watching.stdout.readline()
    _, complaint = watching.communicate(timeout=10)
    assert watching.returncode == 3
    assert "not running" in complaint


def test_durations_keep_their_two_greatest_units() -> None:
    spans = [0, 59.9, 60, 3600, 3725, 86400 * 3 + 3600 * 5 + 59]
    assert [duration(span) for span in spans] == [
        "0 s", "59 s", "1 min 0 s", "1 h 0 min", "1 h 2 min", "3 d 5 h",
    ]  # fmt: skip


def test_watch_on_a_terminal_waits_for_a_service_that_went_away(bus: SessionBus) -> None:
    screen, terminal = pty.openpty()
    seen = b""

    def saw(words: bytes) -> bool:
        nonlocal seen
        if select.select([screen], [], [], 0.05)[0]:
            seen += os.read(screen, 65536)
        return words in seen

    serving = Serving(QuietBridge(), bus.address)
    with serving:
        watching = subprocess.Popen(
            [sys.executable, "-m", "pipedtln", "status", "--watch"],
            env={**bus.environment, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"},
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
        )
        wait_until(lambda: saw(b"ready (nobody records)"), "table", 20)
    wait_until(lambda: saw(b"the service is not running"), "word of the absence", 20)
    seen = b""
    with Serving(QuietBridge(), bus.address):
        wait_until(lambda: saw(b"ready (nobody records)"), "table of the next service", 20)
        watching.send_signal(signal.SIGINT)
        wait_until(lambda: saw(b"interrupted") or watching.poll() is not None, "end", 20)
    assert watching.wait(10) == 130
    assert b"Traceback" not in seen
    os.close(screen)
    os.close(terminal)
