"""A host without a sound server: its cards are listed, and the cost of a hop is told live."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from pipedtln.demo.servers import PrivateServer
from tests.audio.alsa import device_text, write_alsa

ROOT = str(Path(__file__).resolve().parents[2])


def environment(server: PrivateServer, folder: Path) -> dict[str, str]:
    alsa = write_alsa(
        folder,
        device_text(server, "desk", server.MICROPHONE),
        device_text(server, "cable", server.SPEAKER),
    )
    nothing = f"unix:{folder}/nothing"
    return {**server.env, "PYTHONPATH": ROOT, "PULSE_SERVER": nothing, **alsa}


def test_cards_are_listed_with_numbers_and_what_is_missing(
    pulseaudio: PrivateServer, tmp_path: Path
) -> None:
    def devices(*options: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "pipedtln", "devices", "--backend", "portaudio", *options],
            env=environment(pulseaudio, tmp_path),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    told = json.loads(devices("--json"))
    assert {"desk", "cable"} <= {one["name"] for one in told["microphones"]}
    text = devices()
    for one in told["outputs"]:
        assert f"{one['index']:3}  {one['name']}" in text
    assert "sudo modprobe snd-aloop" in text


def test_setup_on_cards_says_what_to_load_or_makes_no_devices(
    pulseaudio: PrivateServer, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "pipedtln", "setup", "--dry-run", "--backend", "portaudio"]

    def rehearse(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, "--mic", "desk", *options],
            env=environment(pulseaudio, tmp_path),
            capture_output=True,
            text=True,
            check=False,
        )

    missing = rehearse()
    assert missing.returncode == 6
    assert "sudo modprobe snd-aloop" in missing.stderr.splitlines()[-1]
    found = rehearse("--output", "cable")
    assert found.returncode == 0, found.stderr
    assert "ALSA: desk to cable" in found.stdout
    assert "DTLN" not in found.stdout


def test_run_tells_each_second_what_a_hop_costs(
    pulseaudio: PrivateServer, tmp_path: Path, models: Path
) -> None:
    options = ["--measure", "--backend", "portaudio", "--mic", "desk", "--output", "cable"]
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "pipedtln", "run", *options, "--model", "ns-int8"],
        env={**environment(pulseaudio, tmp_path), "PIPEDTLN_MODELS_DIR": str(models)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("ns-int8: ") or len(lines) > 20:
                break
    finally:
        process.terminate()
        assert process.wait(10) == 0
    print(lines[-1])
    assert " ms a hop of 8 ms, 99 % below " in lines[-1]
