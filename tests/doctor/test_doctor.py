"""The doctor sees what is wrong on real servers, names what mends it, and tells no secrets."""

from __future__ import annotations

import getpass
import json
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipedtln.config import Config
from pipedtln.demo.servers import PrivateServer
from pipedtln.doctor.privacy import HIDDEN, scrubber
from pipedtln.doctor.sound import SoundChecks
from tests.control.bridge import QuietBridge
from tests.control.serving import Serving


def run(server: PrivateServer, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env={**server.env, **more}, capture_output=True, text=True, timeout=60, check=False
    )


def examine(
    server: PrivateServer, **environment: str
) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    """Exit code, and the findings by topic."""
    said = run(server, sys.executable, "-m", "pipedtln", "doctor", "--json", **environment)
    assert said.stdout, said.stderr
    found: dict[str, list[dict[str, Any]]] = {}
    for finding in json.loads(said.stdout)["findings"]:
        found.setdefault(finding["topic"], []).append(finding)
        assert "could not be looked at" not in finding["says"], finding
        assert finding["mend"] or finding["verdict"] != "problem" or finding["says"], finding
    return said.returncode, found


def words(findings: list[dict[str, Any]]) -> str:
    return " | ".join(f"{one['verdict']}: {one['says']} -> {one['mend']}" for one in findings)


def test_a_bare_desktop_is_told_to_run_setup(server: PrivateServer) -> None:
    code, found = examine(server)
    assert code == 1
    assert found["sound server"][0]["verdict"] == "ok"
    assert found["sound server"][0]["says"].lower().startswith(server.kind)
    assert "no DTLN Microphone -> pipedtln setup" in words(found["own devices"])
    assert "fake_mic" in words(found["microphone"])
    assert "fake_speaker.monitor" in words(found["reference"])
    assert "uncleaned" in words(found["default microphone"])
    if server.kind == "pipewire":
        assert "ok: WirePlumber" in words(found["policy daemon"])


def test_complete_devices_and_a_running_bridge_are_well(server: PrivateServer) -> None:
    made = run(
        server, sys.executable, "-c",
        "from pipedtln.audio.server import connect\n"
        "from pipedtln.devices.virtual import VirtualDevices\n"
        "with connect() as pulse: VirtualDevices(pulse).ensure('fake_speaker')",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert run(server, "pactl", "set-default-source", "pipedtln_microphone").returncode == 0
    bridge = QuietBridge()
    with Serving(bridge, server.bus_address):
        _, found = examine(server)
    assert found["own devices"][0]["verdict"] == "ok", words(found["own devices"])
    assert found["default microphone"][0]["says"] == "DTLN Microphone"
    assert "ok: fake_mic" in words(found["microphone"])
    assert "ok: idle, latency 44 ms" in words(found["bridge"])
    assert "version 9.8.7 runs" in words(found["bridge"])


def test_a_device_that_went_missing_and_a_loop_are_seen(server: PrivateServer) -> None:
    made = run(
        server, sys.executable, "-c",
        "from pipedtln.audio.server import connect\n"
        "from pipedtln.devices.virtual import VirtualDevices\n"
        "with connect() as pulse:\n"
        "    devices = VirtualDevices(pulse); devices.ensure('fake_speaker')\n"
        "    [pulse.module_unload(m.index) for m in devices.modules() if m.role == 'loopback']",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    looped = run(
        server, "pactl", "load-module", "module-loopback",
        "source=pipedtln_microphone", "sink=fake_speaker",
    )  # fmt: skip
    assert looped.returncode == 0, looped.stderr
    code, found = examine(server)
    assert code == 1
    assert "0 loopbacks instead of one -> systemctl --user restart" in words(found["own devices"])
    assert "plays DTLN Microphone: you hear yourself" in words(found["feedback"])
    assert f"pactl unload-module {looped.stdout.strip()}" in words(found["feedback"])


def test_pinned_devices_that_are_not_there_are_problems(server: PrivateServer) -> None:
    code, found = examine(server, PIPEDTLN_MIC="gone_mic", PIPEDTLN_REFERENCE="gone_speaker")
    assert code == 1
    assert "gone_mic" in words(found["microphone"])
    assert "pipedtln set mic auto" in words(found["microphone"])
    assert "gone_speaker" in words(found["reference"])


def test_without_a_server_the_rest_is_still_looked_at(pulseaudio: PrivateServer) -> None:
    code, found = examine(pulseaudio, PULSE_SERVER=f"unix:{pulseaudio.folder}/nothing")
    assert code == 1
    assert "no PulseAudio or PipeWire server answers" in words(found["sound server"])
    assert {"models", "realtime", "packages"} <= found.keys()


def test_no_models_and_a_broken_config_are_problems(pulseaudio: PrivateServer) -> None:
    folder = pulseaudio.config_home / "pipedtln"
    folder.mkdir()
    (folder / "config.toml").write_text("version = 1\nstrength = 'much'\n")
    empty = pulseaudio.folder / "empty"
    empty.mkdir()
    _, found = examine(pulseaudio, PIPEDTLN_MODELS_DIR=str(empty))
    assert "strength on line 2" in words(found["settings"])
    assert "no weights are on this machine -> pipedtln models fetch" in words(found["models"])
    assert found["speed"][0]["verdict"] == "problem"


def test_the_report_for_people_has_a_line_a_finding_and_a_sum(pulseaudio: PrivateServer) -> None:
    said = run(pulseaudio, sys.executable, "-m", "pipedtln", "doctor")
    lines = said.stdout.splitlines()
    assert said.returncode == 1
    for line in lines[:-2]:
        assert line.startswith(("ok       ", "warning  ", "PROBLEM  ", "         mend: ")), line
    assert "problem" in lines[-1]
    assert "\x1b" not in said.stdout
    assert str(pulseaudio.home) not in said.stdout


def test_names_of_people_and_single_devices_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "annas-laptop.local")
    monkeypatch.setattr("pipedtln.doctor.privacy._user", lambda: "anna")
    monkeypatch.setattr(Path, "home", lambda: Path("/home/anna"))
    scrub = scrubber()
    for secret, shown in {
        "bluez_input.4C_87_5D_00_11_22.0": f"bluez_input.{HIDDEN}.0",
        "4c:87:5d:00:11:22": HIDDEN,
        "alsa_input.usb-Logitech_HD_Webcam_C920_5A1B2C3D-02.analog-stereo":
            f"alsa_input.usb-Logitech_HD_Webcam_C920_{HIDDEN}-02.analog-stereo",
        "alsa_input.usb-Blue_Microphones_Yeti_ABCDEFGHIJ-00.mono":
            f"alsa_input.usb-Blue_Microphones_Yeti_{HIDDEN}-00.mono",
        "/home/anna/.config/pipedtln": "~/.config/pipedtln",
        "anna on annas-laptop": f"{HIDDEN} on {HIDDEN}",
        "annabel stays": "annabel stays",
        "alsa_input.pci-0000_00_1f.3.analog-stereo": "alsa_input.pci-0000_00_1f.3.analog-stereo",
    }.items():  # fmt: skip
        assert scrub(secret) == shown


def test_verbose_leaves_folders_in(pulseaudio: PrivateServer) -> None:
    folder = pulseaudio.config_home / "pipedtln"
    folder.mkdir()
    (folder / "config.toml").write_text("version = 1\n")
    brief = run(pulseaudio, sys.executable, "-m", "pipedtln", "doctor").stdout
    full = run(pulseaudio, sys.executable, "-m", "pipedtln", "doctor", "--verbose").stdout
    assert str(folder) not in brief
    assert "~/.config/pipedtln/config.toml" in brief
    assert str(folder) in full
    if getpass.getuser() != "root":
        assert getpass.getuser() not in brief


def test_a_pipewire_without_its_policy_daemon_is_a_problem(pipewire: PrivateServer) -> None:
    pipewire.send_signal(signal.SIGKILL, "wireplumber")
    code, found = examine(pipewire)
    assert code == 1
    assert "problem: none runs" in words(found["policy daemon"])


class Cards:
    """A control connection that knows cards only: no Bluetooth radio is at hand."""

    def __init__(self, *cards: SimpleNamespace) -> None:
        self._cards = cards

    def card_list(self) -> list[SimpleNamespace]:
        return list(self._cards)


@pytest.mark.parametrize(
    ("profile", "verdict", "says"),
    [
        ("headset-head-unit-msbc", "warning", "telephone quality"),
        ("a2dp-sink", "ok", "its microphone is off"),
        (None, "ok", "profile off"),
    ],
)
def test_a_headset_in_its_call_profile_is_warned_of(
    profile: str | None, verdict: str, says: str
) -> None:
    active = SimpleNamespace(name=profile) if profile else None
    headset = SimpleNamespace(
        name="bluez_card.00", index=7, proplist={"device.bus": "bluetooth"}, profile_active=active
    )
    wired = SimpleNamespace(name="alsa_card.0", index=1, proplist={}, profile_active=None)
    (found,) = SoundChecks(Config(), Cards(wired, headset)).bluetooth()
    assert found.verdict == verdict
    assert says in found.says
    assert ("pactl set-card-profile 7" in (found.mend or "")) == (verdict == "warning")
