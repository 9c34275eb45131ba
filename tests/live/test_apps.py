"""Apps that a user would use find DTLN Microphone and record from it."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from queue import Queue
from typing import Any, ClassVar

import numpy as np
import pytest
import soundfile

from pipedtln.demo.processes import Processes, wait_until
from pipedtln.demo.servers import PrivateServer
from pipedtln.devices.names import MICROPHONE
from tests.live.sound import level_db, speech
from tests.service.bridge import RunningBridge

PAGE = b"""<!doctype html><title>microphone</title><script>
async function hear() {
  (await navigator.mediaDevices.getUserMedia({audio: true})).getTracks().forEach(t => t.stop());
  const inputs = (await navigator.mediaDevices.enumerateDevices())
    .filter(d => d.kind === "audioinput");
  const labels = inputs.map(d => d.label);
  const wanted = inputs.find(d => d.label === "DTLN Microphone");
  if (!wanted) return {labels};
  const stream = await navigator.mediaDevices.getUserMedia({audio: {
    deviceId: {exact: wanted.deviceId},
    echoCancellation: false, noiseSuppression: false, autoGainControl: false}});
  const context = new AudioContext({sampleRate: 48000});
  const analyser = context.createAnalyser();
  analyser.fftSize = 8192;
  context.createMediaStreamSource(stream).connect(analyser);
  await context.resume();
  const block = new Float32Array(analyser.fftSize);
  let loudest = 0;
  for (let i = 0; i < 30; i++) {
    await new Promise(done => setTimeout(done, 100));
    analyser.getFloatTimeDomainData(block);
    loudest = Math.max(loudest, Math.sqrt(block.reduce((sum, x) => sum + x * x, 0) / block.length));
  }
  return {labels, loudest, label: stream.getAudioTracks()[0].label};
}
hear().catch(error => ({error: String(error)}))
  .then(told => fetch("/told", {method: "POST", body: JSON.stringify(told)}));
</script>"""


class Handler(BaseHTTPRequestHandler):
    """Serves the page and takes what it tells."""

    told: ClassVar[Queue[dict[str, Any]]]

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(PAGE)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()
        self.told.put(json.loads(body))

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output readable."""


@contextmanager
def page() -> Iterator[tuple[str, Queue[dict[str, Any]]]]:
    """The page's address on loopback, and what it tells."""
    handler = type("PageHandler", (Handler,), {"told": Queue()})
    with HTTPServer(("127.0.0.1", 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_port}/", handler.told
        finally:
            http.shutdown()
            thread.join()


@contextmanager
def chromium(address: str, server: PrivateServer) -> Iterator[None]:
    """A headless Chromium on the private server that shows a page and may use microphones."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.fail("chromium is not installed; run scripts/test, which installs it", pytrace=False)
    folder = Path(tempfile.mkdtemp(prefix="chromium-"))
    processes = Processes(folder)
    try:
        processes.start(
            "chromium",
            [
                program,
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--use-fake-ui-for-media-stream",
                "--autoplay-policy=no-user-gesture-required",
                f"--user-data-dir={folder / 'profile'}",
                address,
            ],
            env=server.env,
        )
        yield
    finally:
        processes.stop("chromium", grace=10)
        processes.close()
        # Its helpers write to the profile for a moment after it has gone.
        wait_until(lambda: _removed(folder), 30)


def _removed(folder: Path) -> bool:
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


def test_chromium_lists_dtln_microphone_and_records_speech_from_it(
    server: PrivateServer, bridge: RunningBridge
) -> None:
    with (
        server.player(speech("near", 60.0), server.MICROPHONE_INPUT),
        page() as (address, told),
        chromium(address, server),
    ):
        answer = told.get(timeout=60)
    print(f"{type(server).__name__}: Chromium tells {answer}")
    assert "error" not in answer
    assert "DTLN Microphone" in answer["labels"]
    assert not any("internal" in label for label in answer["labels"])
    assert answer["label"] == "DTLN Microphone"
    assert answer["loudest"] > 0.01


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(
            ["ffmpeg", "-f", "pulse", "-i", MICROPHONE, "-t", "3", "-ar", "16000", "OUT"],
            id="ffmpeg",
        ),
        pytest.param(
            [
                *("gst-launch-1.0", "-e", "pulsesrc", f"device={MICROPHONE}", "num-buffers=300"),
                *("!", "audioconvert", "!", "wavenc", "!", "filesink", "location=OUT"),
            ],
            id="gstreamer",
        ),
        pytest.param(
            [
                # PipeWire sends what it has each two seconds to who asks for nothing else.
                *("timeout", "-s", "INT", "6"),
                *("parecord", f"--device={MICROPHONE}", "--file-format=wav", "OUT"),
            ],
            id="parecord",
        ),
    ],
)
def test_a_recording_program_hears_the_speaker(
    server: PrivateServer, bridge: RunningBridge, tmp_path: Path, command: list[str]
) -> None:
    out = tmp_path / "out.wav"
    command = [word.replace("OUT", str(out)) for word in command]
    _record(server, command)
    samples, rate = soundfile.read(out, dtype="float32", always_2d=True)
    heard = level_db(samples[len(samples) // 2 :, 0])
    print(f"{type(server).__name__}: {command[0]} heard {heard:.1f} dBFS at {rate} Hz")
    assert len(samples) >= 2 * rate
    assert heard > -40
    assert np.isfinite(samples).all()


@pytest.mark.pipewire
def test_pw_record_hears_the_speaker(pipewire: PrivateServer, models: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.wav"
    with RunningBridge(pipewire) as bridge:
        bridge.wait_state("idle", timeout=60)
        _record(
            pipewire, ["timeout", "-s", "INT", "4", "pw-record", "--target", MICROPHONE, str(out)]
        )
    samples, rate = soundfile.read(out, dtype="float32", always_2d=True)
    heard = level_db(samples[len(samples) // 2 :, 0])
    print(f"pw-record heard {heard:.1f} dBFS at {rate} Hz")
    assert heard > -40


def _record(server: PrivateServer, command: list[str]) -> None:
    assert shutil.which(command[0]), f"{command[0]} is not installed; run scripts/test"
    with server.player(speech("near", 20.0), server.MICROPHONE_INPUT):
        subprocess.run(
            command,
            env=server.env,
            check=False,
            timeout=30,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
