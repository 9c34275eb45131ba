"""The service without a sound server: on bare cards, through unplugging, with a way back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipedtln.control.client import BridgeClient, ask
from pipedtln.demo.servers import PrivateServer
from tests.audio.alsa import device_text, write_alsa
from tests.service.bridge import RunningBridge
from tests.service.card import CARD, heard_by_card, plug_card
from tests.service.sounds import WINDOW, amplitude, tone, wait_heard
from tests.service.test_channels import TONES, moment, tones

SPEAKER_MONITOR = "fake_speaker.monitor"


@contextmanager
def on_cards(
    server: PrivateServer, folder: Path, source: str, backend: str = "portaudio", **settings: str
) -> Iterator[RunningBridge]:
    """Run the service with ALSA devices alone: ``desk`` hears, ``cable`` takes the clean sound."""
    env: dict[str, str | None] = {
        "PULSE_SERVER": f"unix:{folder}/nothing",
        "PIPEDTLN_BYPASS": "on",
        "PIPEDTLN_BACKEND": backend,
        "PIPEDTLN_MIC": "desk",
        "PIPEDTLN_OUTPUT": "cable",
        **write_alsa(
            folder,
            device_text(server, "desk", source),
            device_text(server, "cable", server.SPEAKER),
        ),
    }
    env.update({f"PIPEDTLN_{name.upper()}": value for name, value in settings.items()})
    with RunningBridge(server, env=env) as bridge:
        yield bridge


def test_cards_are_bridged_until_stopped(pulseaudio: PrivateServer, tmp_path: Path) -> None:
    with (
        pulseaudio.player(tone(440), pulseaudio.MICROPHONE_INPUT),
        on_cards(pulseaudio, tmp_path, "fake_mic") as bridge,
        pulseaudio.recorder(SPEAKER_MONITOR) as heard,
    ):
        status = bridge.wait_for(lambda status: status.hops > 250)
        wait_heard(heard, 440)
        print(f"latency {status.latency_parts_ms}, {status.xruns} xruns")
        assert status.server is not None
        assert status.server.startswith("portaudio")
        assert (status.mic, status.output, status.problems) == ("desk", "cable", [])
        begin = time.monotonic()
        assert bridge.stop() == 0
        assert time.monotonic() - begin < 5


def test_sixth_channel_of_a_card_is_the_reference(
    pulseaudio: PrivateServer, tmp_path: Path
) -> None:
    plug_card(pulseaudio)
    with (
        heard_by_card(pulseaudio, tones()),
        on_cards(pulseaudio, tmp_path, CARD, reference="channel:5") as bridge,
    ):
        bridge.wait_for(lambda status: status.hops > 250)
        assert bridge.status().reference == "channel:5"
        mic, ref = moment(pulseaudio, tmp_path / "report")
        assert amplitude(mic[:WINDOW], TONES[0]) > 0.15
        assert amplitude(ref[:WINDOW], TONES[5]) > 0.15


def test_wrong_channel_and_wrong_reference_are_told_while_the_microphone_goes_on(
    pulseaudio: PrivateServer, tmp_path: Path
) -> None:
    with (
        pulseaudio.player(tone(440), pulseaudio.MICROPHONE_INPUT),
        on_cards(pulseaudio, tmp_path, "fake_mic", reference="channel:77") as bridge,
    ):
        status = bridge.wait_for(lambda status: status.hops > 20)
        assert status.reference is None
        assert len(status.problems) == 1
        assert "no echo is cancelled: 'desk' has no channel 77" in status.problems[0]
        ask(
            lambda client: client.set("reference", "nowhere", keep=False),
            address=pulseaudio.bus_address,
        )
        status = bridge.wait_for(lambda status: "nowhere" in "".join(status.problems))
        hops = status.hops
        bridge.wait_for(lambda status: status.hops > hops + 20)


def test_a_card_that_comes_back_is_heard_again(pulseaudio: PrivateServer, tmp_path: Path) -> None:
    with on_cards(pulseaudio, tmp_path, "fake_mic") as bridge:
        bridge.wait_for(lambda status: status.hops > 50)
        # PulseAudio would move the plug-in's streams to another device: all go at once.
        pulseaudio.stop_server()
        status = bridge.wait_for(lambda status: bool(status.problems))
        print(status.problems)
        assert status.state == "waiting"
        pulseaudio.restart()
        begin = time.monotonic()
        bridge.wait_for(lambda status: not status.problems, timeout=20)
        with (
            pulseaudio.player(tone(440), pulseaudio.MICROPHONE_INPUT),
            pulseaudio.recorder(SPEAKER_MONITOR) as heard,
        ):
            wait_heard(heard, 440)
        print(f"heard again after {time.monotonic() - begin:.1f} s")


def test_auto_takes_cards_without_a_server_and_leaves_them_when_one_comes(
    pulseaudio: PrivateServer, tmp_path: Path
) -> None:
    link = tmp_path / "nothing"
    with on_cards(pulseaudio, tmp_path, "fake_mic", backend="auto") as bridge:
        bridge.wait_state("waiting", "starting")
        status = bridge.wait_for(lambda status: status.hops > 20, timeout=30)
        assert status.server is not None
        assert status.server.startswith("portaudio")
        link.symlink_to(pulseaudio.socket)
        status = bridge.wait_for(
            lambda status: (status.server or "").startswith("pulseaudio"), timeout=20
        )


def test_a_missing_microphone_is_waited_for(pulseaudio: PrivateServer, tmp_path: Path) -> None:
    with on_cards(pulseaudio, tmp_path, "fake_mic", mic="not there") as bridge:
        status = bridge.wait_state("waiting")
        assert status.problems
        assert "no input matches 'not there'" in status.problems[0]
        ask(lambda client: _set(client, "mic", "desk"), address=pulseaudio.bus_address)
        bridge.wait_for(lambda status: status.hops > 20)


async def _set(client: BridgeClient, key: str, value: str) -> None:
    await client.set(key, value, keep=False)
