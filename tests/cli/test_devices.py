"""``pipedtln devices`` lists what a real server has, and only what may be chosen."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipedtln.audio.server import connect
from pipedtln.demo.servers import PrivatePulseAudio, PrivateServer
from pipedtln.devices.virtual import VirtualDevices


@pytest.fixture(scope="module")
def server() -> Iterator[PrivateServer]:
    if not PrivatePulseAudio.available():
        pytest.skip("PulseAudio is not installed")
    with PrivatePulseAudio() as private:
        with connect(private.url) as pulse:
            VirtualDevices(pulse).ensure("fake_speaker")
        yield private


def pipedtln(server: PrivateServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    root = str(Path(__file__).resolve().parents[2])
    return subprocess.run(
        [sys.executable, "-m", "pipedtln", *arguments],
        env={**server.env, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.pulseaudio
def test_json_sorts_devices_and_marks_defaults(server: PrivateServer) -> None:
    done = pipedtln(server, "devices", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["server"]["kind"] == "pulseaudio"
    assert [one["name"] for one in told["microphones"]] == ["fake_mic"]
    assert told["microphones"][0]["default"]
    assert [one["name"] for one in told["outputs"]] == ["fake_speaker", "fake_mic_hw"]
    assert {one["name"] for one in told["own"]} == {
        "pipedtln_microphone",
        "pipedtln_speaker",
        "pipedtln_out",
    }


@pytest.mark.pulseaudio
def test_names_are_printed_whole_with_a_star_at_the_default(server: PrivateServer) -> None:
    done = pipedtln(server, "devices")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines.index("Microphones") < lines.index("Outputs") < lines.index("pipedtln's own")
    assert any(line.startswith("* fake_mic ") for line in lines)
    assert any(line.startswith("  fake_mic_hw ") for line in lines)


def test_without_a_server_one_line_says_what_to_check(tmp_path: Path) -> None:
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, "-m", "pipedtln", "devices"],
        env={"PYTHONPATH": root, "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path),
             "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 4
    assert done.stderr.startswith("Error: no PulseAudio or PipeWire server answers")
    assert done.stderr.count("\n") == 1
