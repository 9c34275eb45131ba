"""A card with a hardware loopback: one of its channels is the reference, sample by sample."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipedtln.control.client import BridgeClient, ask
from pipedtln.demo.apps import Samples
from pipedtln.demo.servers import PrivateServer
from pipedtln.processor import SAMPLE_RATE
from tests.service.bridge import MICROPHONE, RunningBridge
from tests.service.card import CARD, NUMBERED, SURROUND, heard_by_card, plug_card
from tests.service.sounds import WINDOW, amplitude, tone, wait_heard

TONES = (440.0, 610.0, 830.0, 1250.0, 1630.0, 2110.0)
"""Hz; one for each channel."""
SECONDS = 40.0


def tones() -> Samples:
    return np.stack([tone(hertz, SECONDS) for hertz in TONES], axis=1)


def level(sound: Samples, hertz: float) -> float:
    """Amplitude of a tone in most moments: where samples go lost on a busy machine, what follows
    is out of step with what was before, and the amplitude over both is less than either's."""
    count = len(sound) // WINDOW
    moments = sound[: count * WINDOW].reshape(count, WINDOW)
    return float(np.median([amplitude(part, hertz) for part in moments]))


@contextmanager
def card_bridge(server: PrivateServer, **settings: str) -> Iterator[RunningBridge]:
    """Run the service on the card, bypassed so that tones pass, until its devices are there."""
    env: dict[str, str | None] = {"PIPEDTLN_BYPASS": "on", "PIPEDTLN_MIC": CARD}
    env.update({f"PIPEDTLN_{name.upper()}": value for name, value in settings.items()})
    with RunningBridge(server, env=env) as bridge:
        bridge.wait_for(lambda status: status.mic == CARD)
        yield bridge


def moment(server: PrivateServer, folder: Path, seconds: float = 1.0) -> tuple[Samples, Samples]:
    """Microphone and reference as the network gets them."""
    files = ask(lambda client: record(client, seconds, folder), address=server.bus_address)
    sounds = {file.stem: soundfile.read(file, dtype="float32")[0] for file in files}
    return sounds["mic"], sounds["reference"]


async def record(client: BridgeClient, seconds: float, folder: Path) -> list[Path]:
    return await client.record(seconds, folder)


@pytest.mark.parametrize("positions", [SURROUND, NUMBERED], ids=["surround", "numbered"])
def test_first_channel_is_heard_and_last_one_is_the_reference(
    server: PrivateServer, tmp_path: Path, positions: str
) -> None:
    plug_card(server, positions)
    with (
        card_bridge(server, reference="channel:-1") as bridge,
        heard_by_card(server, tones(), positions),
        server.recorder(MICROPHONE) as app,
    ):
        wait_heard(app, TONES[0])
        status = bridge.status()
        assert status.mic == CARD
        assert status.reference == "channel:5"
        mic, ref = moment(server, tmp_path)
        for sound, own in ((mic, 0), (ref, 5)):
            levels = [level(sound, hertz) for hertz in TONES]
            print(f"{server.kind}: channel {own}: {[round(one, 4) for one in levels]}")
            assert levels[own] > 0.15
            assert max(one for i, one in enumerate(levels) if i != own) < 0.01


def test_loopback_lies_beside_the_microphone_to_the_sample(
    server: PrivateServer, tmp_path: Path
) -> None:
    plug_card(server)
    noise = np.random.default_rng(3).normal(0, 0.1, round(SECONDS * SAMPLE_RATE))
    sound = np.repeat(noise[:, None], 6, axis=1).astype(np.float32)
    with (
        card_bridge(server, reference="channel:-1", mic_channel="2") as bridge,
        heard_by_card(server, sound),
        server.recorder(MICROPHONE) as app,
    ):
        bridge.wait_for(lambda status: status.hops > 100)
        mic, ref = moment(server, tmp_path)
        assert app.recording
    assert np.abs(mic).max() > 0.1
    assert np.array_equal(mic, ref)


def test_a_channel_that_is_not_there_costs_the_reference_alone(
    server: PrivateServer, tmp_path: Path
) -> None:
    plug_card(server)
    with (
        card_bridge(server, reference="channel:6") as bridge,
        heard_by_card(server, tones()),
        server.recorder(MICROPHONE) as app,
    ):
        status = bridge.wait_for(lambda status: bool(status.problems))
        assert len(status.problems) == 1
        assert status.problems[0].startswith(
            f"no echo is cancelled: '{CARD}' has no channel 6: it has 6"
        )
        wait_heard(app, TONES[0])
        assert bridge.status().reference is None
        ask(
            lambda client: client.set("reference", "channel:5", keep=False),
            address=server.bus_address,
        )
        bridge.wait_for(lambda status: status.reference == "channel:5" and not status.problems)
        _, ref = moment(server, tmp_path)
        assert level(ref, TONES[5]) > 0.15


def test_a_picked_channel_of_the_microphone_is_cleaned_alone(server: PrivateServer) -> None:
    plug_card(server)
    with (
        card_bridge(server, mic_channel="-2", reference="none"),
        heard_by_card(server, tones()),
        server.recorder(MICROPHONE) as app,
    ):
        wait_heard(app, TONES[4])
        heard = app.samples()[-SAMPLE_RATE // 2 :]
        assert max(level(heard, hertz) for hertz in TONES if hertz != TONES[4]) < 0.01
