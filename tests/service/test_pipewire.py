"""The service on PipeWire's own graph: what it does on the pulse server holds there, too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipedtln.control.client import ask
from pipedtln.demo.processes import wait_until
from pipedtln.demo.servers import PrivateServer
from tests.service.bridge import RunningBridge
from tests.service.rest import idle_shares
from tests.service.sounds import HIGH, LOW, WINDOW, amplitude, tone, wait_heard

MICROPHONE = "pipedtln_microphone"
IN_TIME_S = 3.0


@pytest.fixture
def native(pipewire: PrivateServer, models: Path) -> Iterator[RunningBridge]:
    with RunningBridge(pipewire, "--backend", "pipewire", env={"PIPEDTLN_BYPASS": "on"}) as running:
        running.wait_for(lambda status: status.mic == pipewire.MICROPHONE)
        yield running
        print(running.log())


def test_unplugged_microphone_is_heard_again_when_it_returns(
    pipewire: PrivateServer, native: RunningBridge
) -> None:
    with pipewire.recorder(MICROPHONE) as app:
        with pipewire.player(tone(LOW), pipewire.MICROPHONE_INPUT, rate=16_000):
            wait_heard(app, LOW)
        pipewire.unplug_microphone()
        native.wait_for(lambda status: bool(status.problems), IN_TIME_S)
        pipewire.plug_microphone()
        # Another tone than before: the newest that the app has may be from before the unplugging.
        with pipewire.player(tone(HIGH), pipewire.MICROPHONE_INPUT, rate=16_000):
            took = wait_heard(app, HIGH)
            print(f"heard {took:.2f} s after the microphone's return")
            assert took < IN_TIME_S
            app.wait(app.count / app.rate + 0.5)
            assert amplitude(app.samples()[-WINDOW:], HIGH) == pytest.approx(0.2, rel=0.2)


def test_same_process_makes_sound_again_after_the_server_returns(
    pipewire: PrivateServer, native: RunningBridge
) -> None:
    pipewire.restart()
    native.wait_for(lambda status: status.state == "bypassed", 10.0)
    with (
        pipewire.player(tone(LOW), pipewire.MICROPHONE_INPUT, rate=16_000),
        pipewire.recorder(MICROPHONE) as app,
    ):
        assert wait_heard(app, LOW) < IN_TIME_S


def test_nobody_listening_opens_nothing(pipewire: PrivateServer, native: RunningBridge) -> None:
    with pipewire.recorder(MICROPHONE) as app:
        app.wait(0.5)
    with pipewire.connect() as pulse:
        assert wait_until(
            lambda: (
                not any(
                    stream.proplist.get("media.name") == "DTLN microphone"
                    for stream in pulse.source_output_list()
                )
            ),
            timeout=3.0,
        )
    assert sorted(idle_shares(pipewire, native))[1] < 0.3


@pytest.mark.long
@pytest.mark.parametrize("turn", range(4))
@pytest.mark.usefixtures("native")
def test_voice_is_heard_at_every_one_of_many_openings(pipewire: PrivateServer, turn: int) -> None:
    """Run all turns at a time (``-n 4``): a busy machine finds what one at rest does not."""
    with pipewire.player(tone(LOW, 600), pipewire.MICROPHONE_INPUT, rate=16_000):
        for _ in range(100):
            with pipewire.recorder(MICROPHONE) as app:
                wait_heard(app, LOW)


def test_backend_changes_while_an_app_records(
    pipewire: PrivateServer, native: RunningBridge
) -> None:
    with (
        pipewire.player(tone(LOW), pipewire.MICROPHONE_INPUT, rate=16_000),
        pipewire.recorder(MICROPHONE) as app,
    ):
        wait_heard(app, LOW)
        for backend in ("pulse", "pipewire", "auto"):
            ask(
                lambda client, to=backend: client.set("backend", to, keep=False),
                address=pipewire.bus_address,
            )
            native.wait_for(lambda status: status.state == "bypassed", 10.0)
            app.wait(1.0)
            assert wait_heard(app, LOW) < IN_TIME_S
        assert wait_until(lambda: native.log().count("changing to pulse") == 2, timeout=5.0)


def test_without_pipewire_the_voice_goes_through_the_pulse_server(
    pulseaudio: PrivateServer, models: Path
) -> None:
    with (
        RunningBridge(pulseaudio, "--backend", "pipewire", env={"PIPEDTLN_BYPASS": "on"}) as bridge,
        pulseaudio.player(tone(LOW), pulseaudio.MICROPHONE_INPUT, rate=16_000),
    ):
        bridge.wait_for(lambda status: status.mic == pulseaudio.MICROPHONE)
        with pulseaudio.recorder(MICROPHONE) as app:
            assert wait_heard(app, LOW) < IN_TIME_S
        assert bridge.log().count("going through the pulse server") == 1
