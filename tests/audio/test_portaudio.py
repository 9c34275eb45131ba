"""PortAudio's cards bring and take the same sound as a server's devices, at any rate and width."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from pipedtln.audio.api import Route
from pipedtln.audio.cards import find_card, list_cards, load_portaudio
from pipedtln.audio.portaudio import PortAudioBackend, PortAudioSession
from pipedtln.demo.apps import Samples
from pipedtln.demo.servers import PrivateServer
from pipedtln.errors import DeviceError, DeviceNotFoundError, ServerError
from pipedtln.processor import HOP, SAMPLE_RATE
from pipedtln.stream.engine import Engine
from pipedtln.stream.failopen import FailOpen
from pipedtln.stream.voice import Voice
from tests.audio.alsa import alsa_of, device_text
from tests.service.card import CARD, SURROUND, heard_by_card, plug_card
from tests.service.sounds import WINDOW, amplitude, tone

TONES = (440.0, 610.0, 830.0, 1250.0, 1630.0, 2110.0)


def tones(seconds: float = 30.0) -> Samples:
    return np.stack([tone(hertz, seconds) for hertz in TONES], axis=1)


def collect(session: PortAudioSession, seconds: float, timeout: float = 10.0) -> list[Samples]:
    """That much of microphone and reference (empty without one) as the engine would read them."""
    count = round(seconds * SAMPLE_RATE)
    rings = [session.mic, session.ref]
    wanted = [count, count if session.ref.written or session.paired else 0]
    got: list[list[Samples]] = [[], []]
    deadline = time.monotonic() + timeout
    while any(sum(map(len, parts)) < want for parts, want in zip(got, wanted, strict=True)):
        assert session.failure is None
        assert time.monotonic() < deadline, "no sound arrived"
        for ring, parts in zip(rings, got, strict=True):
            block = np.zeros(HOP, dtype=np.float32)
            while ring.readable >= HOP:
                ring.read(block)
                parts.append(block.copy())
        time.sleep(0.004)
    return [np.concatenate([*parts, np.zeros(0, np.float32)])[:count] for parts in got]


def until(reached: Callable[[], bool], timeout: float = 10.0) -> None:
    deadline = time.monotonic() + timeout
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def mic_and_sink(server: PrivateServer, folder: Path) -> AbstractContextManager[None]:
    """Let this process see ``mic`` and ``sink``: the server's microphone and loudspeaker."""
    return alsa_of(
        folder,
        device_text(server, "mic", server.MICROPHONE),
        device_text(server, "sink", server.SPEAKER),
    )


def nobody() -> None:
    """Wake no worker."""


def test_devices_are_found_by_number_and_by_a_part_of_their_name(
    pulseaudio: PrivateServer, tmp_path: Path
) -> None:
    with alsa_of(tmp_path, device_text(pulseaudio, "desk_mic", "fake_mic")):
        card = find_card("desk_mic", "input")
        assert find_card("Desk_M", "input") == card
        assert find_card(str(card.index), "input") == card
        assert card in list_cards()
        for wanted in ("no such thing", "999"):
            with pytest.raises(DeviceNotFoundError, match=r"pipedtln devices --backend portaudio"):
                find_card(wanted, "input")


def test_sixth_channel_is_the_reference_to_the_sample(
    pulseaudio: PrivateServer, tmp_path: Path
) -> None:
    plug_card(pulseaudio)
    noise = np.random.default_rng(1).normal(0, 0.1, (SAMPLE_RATE * 20, 1)).astype(np.float32)
    heard = []
    with alsa_of(
        tmp_path,
        device_text(pulseaudio, "array", CARD),
        device_text(pulseaudio, "sink", pulseaudio.SPEAKER),
    ):
        for sound in (tones(20), np.repeat(noise, 6, axis=1)):
            with heard_by_card(pulseaudio, sound):
                backend = PortAudioBackend()
                route = Route(mic="array", out="sink", mic_channel=0, ref_channel=5)
                session = backend.open(route, nobody)
                try:
                    collect(session, 1.0)
                    heard.append(collect(session, 0.5))
                finally:
                    backend.close()
    for sound, own in zip(heard[0], (0, 5), strict=True):
        levels = [amplitude(sound, hertz) for hertz in TONES]
        assert levels[own] > 0.15
        assert max(level for i, level in enumerate(levels) if i != own) < 0.01
    mic, ref = heard[1]
    assert np.abs(mic).max() > 0.1
    assert np.array_equal(mic, ref)


def test_channels_counted_from_the_end_are_those_of_the_card(
    pulseaudio: PrivateServer, tmp_path: Path
) -> None:
    # What ALSA's configuration makes has 32 channels for PortAudio, and so this card has, too.
    numbered = ",".join(f"aux{i}" for i in range(24))
    positions = f"{SURROUND},side-left,side-right,{numbered}"
    plug_card(pulseaudio, positions)
    sound = np.zeros((20 * SAMPLE_RATE, 32), np.float32)
    sound[:, 1], sound[:, 31] = tone(TONES[1], 20), tone(TONES[5], 20)
    with (
        alsa_of(
            tmp_path,
            device_text(pulseaudio, "array", CARD),
            device_text(pulseaudio, "sink", pulseaudio.SPEAKER),
        ),
        heard_by_card(pulseaudio, sound, positions),
    ):
        backend = PortAudioBackend()
        route = Route(mic="array", out="sink", mic_channel=-31, ref_channel=-1)
        session = backend.open(route, nobody)
        try:
            collect(session, 1.0)
            mic, ref = collect(session, 0.5)
        finally:
            backend.close()
    for heard, own, other in ((mic, 1, 5), (ref, 5, 1)):
        assert amplitude(heard, TONES[own]) > 0.15
        assert amplitude(heard, TONES[other]) < 0.01


@pytest.mark.parametrize("channel", [32, -33])
def test_a_channel_that_the_card_lacks_is_named(
    pulseaudio: PrivateServer, tmp_path: Path, channel: int
) -> None:
    with alsa_of(
        tmp_path,
        device_text(pulseaudio, "array", "fake_mic"),
        device_text(pulseaudio, "sink", pulseaudio.SPEAKER),
    ):
        backend = PortAudioBackend()
        with pytest.raises(DeviceError, match=rf"'array' has no channel {channel}: it has 32"):
            backend.open(Route(mic="array", out="sink", ref_channel=channel), nobody)
        names = {thread.name for thread in threading.enumerate()}
        assert "pipedtln-pump" not in names


def test_a_tone_passes_cards_at_their_own_rate(pulseaudio: PrivateServer, tmp_path: Path) -> None:
    with (
        alsa_of(
            tmp_path,
            device_text(pulseaudio, "in", "fake_mic"),
            device_text(pulseaudio, "out", pulseaudio.SPEAKER),
        ),
        pulseaudio.player(tone(440, 30), pulseaudio.MICROPHONE_INPUT),
        pulseaudio.recorder(f"{pulseaudio.SPEAKER}.monitor") as app,
    ):
        assert find_card("in", "input").sample_rate == 44_100
        backend = PortAudioBackend()
        engine = Engine(Voice(FailOpen(None)))
        session = backend.open(Route(mic="in", out="out"), engine.wake)
        engine.start(session)
        try:
            until(lambda: engine.voice.hops > 300)
            time.sleep(2.0)
            heard = app.samples()[-SAMPLE_RATE:]
            print(f"{session.latency()}, {session.counters}, {engine.report()}")
            assert session.failure is None
        finally:
            engine.stop()
            backend.close()
    # In short windows, for the pacer plays a few per mille slower at first; by their median, for a
    # busy machine loses a block now and then.
    windows = heard.reshape(-1, WINDOW)
    power = np.abs(np.fft.rfft(windows * np.hanning(WINDOW), axis=1)) ** 2
    at = round(440 * WINDOW / SAMPLE_RATE)
    pure = power[:, at - 3 : at + 4].sum(axis=1) / power.sum(axis=1)
    levels = [amplitude(window, 440) for window in windows]
    print(f"levels {min(levels):.3f}-{max(levels):.3f}, pure {pure.min():.5f}-{pure.max():.5f}")
    assert np.median(levels) > 0.18
    assert np.median(pure) > 0.999


def test_a_card_that_refuses_its_own_rate_is_opened_at_another(
    pulseaudio: PrivateServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = load_portaudio()
    asked: list[float] = []

    def check(device: int, channels: int, dtype: str, samplerate: float) -> None:
        asked.append(samplerate)
        if samplerate != 32_000:
            raise library.PortAudioError("Invalid sample rate")

    monkeypatch.setattr(library, "check_input_settings", check)
    with (
        mic_and_sink(pulseaudio, tmp_path),
        pulseaudio.player(tone(440, 30), pulseaudio.MICROPHONE_INPUT),
    ):
        backend = PortAudioBackend()
        session = backend.open(Route(mic="mic", out="sink"), nobody)
        try:
            assert 32_000 in {int(stream.samplerate) for stream in session._inputs}
            collect(session, 1.0)
            (sound, _) = collect(session, 0.5)
        finally:
            backend.close()
        assert asked.index(44_100) < asked.index(32_000)
        assert amplitude(sound, 440) > 0.15

        monkeypatch.setattr(library, "check_input_settings", refuse_all(library))
        with pytest.raises(ServerError, match=r"'mic'.*Device unavailable"):
            backend.open(Route(mic="mic", out="sink"), nobody)


def refuse_all(library: ModuleType) -> Callable[..., None]:
    def check(**_: object) -> None:
        raise library.PortAudioError("Device unavailable")

    return check


def test_what_the_card_missed_is_counted_and_left_out(
    pulseaudio: PrivateServer, tmp_path: Path
) -> None:
    with mic_and_sink(pulseaudio, tmp_path):
        backend = PortAudioBackend()
        engine = Engine(Voice(FailOpen(None)))
        session = backend.open(Route(mic="mic", out="sink"), engine.wake)
        engine.start(session)
        try:
            until(lambda: engine.voice.hops > 300)
            engine.stop()  # a worker that hangs
            before = session.underruns
            until(lambda: session.underruns > before)
            time.sleep(0.5)
            behind = session.queued()
            engine.start(session)
            until(lambda: session.queued() > 0)
            print(f"{session.underruns - before} underruns, {behind} samples queued meanwhile")
        finally:
            engine.stop()
            backend.close()
    assert behind < -0.3 * SAMPLE_RATE


def test_buffers_are_as_long_as_asked(pulseaudio: PrivateServer, tmp_path: Path) -> None:
    reported = []
    with mic_and_sink(pulseaudio, tmp_path):
        for latency_ms in (40, 160):
            backend = PortAudioBackend()
            session = backend.open(Route(mic="mic", out="sink", latency_ms=latency_ms), nobody)
            try:
                reported.append(session.latency())
            finally:
                backend.close()
    print(reported)
    short, long = reported
    assert long.out_ms > 2 * short.out_ms
    assert long.mic_ms > 2 * short.mic_ms


def test_a_second_input_is_the_reference(pulseaudio: PrivateServer, tmp_path: Path) -> None:
    with (
        alsa_of(
            tmp_path,
            device_text(pulseaudio, "mic", "fake_mic"),
            device_text(pulseaudio, "played", f"{pulseaudio.SPEAKER}.monitor"),
            device_text(pulseaudio, "sink", "fake_mic_hw"),
        ),
        pulseaudio.player(tone(440, 30), pulseaudio.MICROPHONE_INPUT),
        pulseaudio.player(tone(1250, 30), pulseaudio.SPEAKER),
    ):
        backend = PortAudioBackend()
        session = backend.open(Route(mic="mic", out="sink", ref="played"), nobody)
        try:
            until(lambda: session.ref.written > 0)
            collect(session, 0.5)
            mic, ref = collect(session, 0.5)
        finally:
            backend.close()
    assert amplitude(mic, 440) > 0.15
    assert amplitude(mic, 1250) < 0.02
    assert amplitude(ref, 1250) > 0.15
    assert amplitude(ref, 440) < 0.02


def test_a_card_that_goes_ends_the_session_and_can_be_opened_again(
    pulseaudio: PrivateServer, tmp_path: Path
) -> None:
    with mic_and_sink(pulseaudio, tmp_path):
        backend = PortAudioBackend()
        route = Route(mic="mic", out="sink")
        session = backend.open(route, nobody)
        collect(session, 0.2)
        # PulseAudio would move the plug-in's streams to another device: all go at once.
        pulseaudio.stop_server()
        until(lambda: session.failure is not None)
        print(f"failure: {session.failure}")
        session.close()
        session.close()
        backend.refresh()
        with pytest.raises((ServerError, DeviceNotFoundError)):
            backend.open(route, nobody)
        pulseaudio.restart()
        backend.refresh()
        session = backend.open(route, nobody)
        try:
            collect(session, 0.2)
        finally:
            backend.close()
