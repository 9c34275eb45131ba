"""Plays the conversation through the running bridge on a private server and measures it."""

from __future__ import annotations

import importlib.util
import json
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import soundfile as sf

from pipedtln.demo.bridge import MICROPHONE, SPEAKER, running_bridge
from pipedtln.demo.conversation import Conversation, conversation
from pipedtln.demo.measure import Levels, cut_to, measure, speech_is_lost
from pipedtln.demo.servers import PrivatePipeWire, PrivatePulseAudio, PrivateServer
from pipedtln.dtln import locate_model
from pipedtln.errors import InputError, ServerError, ServiceError
from pipedtln.plots import Panel, plot_spectrograms
from pipedtln.processor import HOP, SAMPLE_RATE, Block

SERVERS: dict[str, type[PrivateServer]] = {
    "pipewire": PrivatePipeWire,
    "pulseaudio": PrivatePulseAudio,
}
"""In the order in which they are tried."""

_LOG = "bridge.log"
_HOP_MS = 1000 * HOP // SAMPLE_RATE
_TAIL_SECONDS = 1.5
"""Recorded after the conversation: more than all buffers hold."""

Progress = Callable[[str, float, float], None]
"""Called with what is going on, the seconds done and the seconds it takes in all."""


@dataclass(frozen=True)
class Outcome:
    """What the demo found and where it left it.

    ``picture`` is None where matplotlib is not installed. ``unprocessed_ms`` and ``dropped_ms``
    tell for how long the bridge let the plain microphone through and what it left out, by its own
    count: both are 0 unless this machine was too busy.
    """

    server: str
    model: str | None
    echo_delay_ms: int
    levels: list[Levels]
    echo_suppression_db: float
    mic_wav: Path
    out_wav: Path
    picture: Path | None
    unprocessed_ms: int
    dropped_ms: int


def run_demo(
    folder: Path,
    *,
    server: str | None = None,
    echo_delay_ms: int = 60,
    coupling: float = 0.5,
    model: str = "auto",
    progress: Progress | None = None,
) -> Outcome:
    """Run the bridge on a private audio server and talk through it.

    Parameters
    ----------
    folder : where ``microphone.wav``, ``dtln-microphone.wav``, ``spectrograms.png`` and
        ``bridge.log`` go; made
        if it is missing
    server : a key of :data:`SERVERS`; None takes the first that is installed
    echo_delay_ms : from the loudspeaker to the microphone
    coupling : amplitude of the echo, 0 to 1
    model : the network that the bridge runs
    progress : called several times per second

    Raises
    ------
    InputError
        If the folder cannot be made.
    ModelError
        If the network is unknown or its weights are not on this machine.
    ServerError
        If no audio server is installed or it does not start.
    ServiceError
        If the bridge does not get ready, ends or loses the speech.
    """
    tell = progress or (lambda what, done, total: None)
    locate_model(model)
    _make_folder(folder)
    talk = conversation()
    kind = _choose(server)
    tell(f"Starting a private {kind}", 0.0, 1.0)
    with ExitStack() as stack:
        # An echo of which the server loses some is no measure of how much is suppressed.
        private = stack.enter_context(SERVERS[kind](calm=True))
        private.add_room(delay_ms=echo_delay_ms, coupling=coupling)
        ask = stack.enter_context(
            running_bridge(
                private,
                model,
                folder / _LOG,
                lambda done, total: tell("Starting the bridge", done, total),
            )
        )
        private.make_default(sink=SPEAKER)  # as setup does on a desktop
        mic, out = _talk(private, talk, tell)
        status = ask()
    levels, suppression = measure(talk, mic, out)
    tell("Writing the recordings", 1.0, 1.0)
    mic_wav, out_wav = folder / "microphone.wav", folder / "dtln-microphone.wav"
    sf.write(mic_wav, mic, SAMPLE_RATE, subtype="PCM_16")
    sf.write(out_wav, out, SAMPLE_RATE, subtype="PCM_16")
    with (folder / _LOG).open("a") as log:
        log.write(f"status after the conversation: {json.dumps(status)}\n")
    if speech_is_lost(levels):
        raise ServiceError(
            f"the bridge lost the speech of the near end; see {folder / _LOG} and report it"
        )
    return Outcome(
        server=kind,
        model=status.get("model"),
        echo_delay_ms=echo_delay_ms,
        levels=levels,
        echo_suppression_db=suppression,
        mic_wav=mic_wav,
        out_wav=out_wav,
        picture=_draw(folder, mic_wav, out_wav),
        unprocessed_ms=_HOP_MS * int(status.get("bypassed_hops") or 0),
        dropped_ms=_HOP_MS * int(status.get("dropped_hops") or 0),
    )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder} cannot be made ({error.strerror}); choose another with --output"
        ) from error
    if not os.access(folder, os.W_OK):
        raise InputError(f"{folder} cannot be written to; choose another with --output")


def _choose(server: str | None) -> str:
    """The server that was asked for, or the first that is installed."""
    for kind in [server] if server else list(SERVERS):
        if SERVERS[kind].available():
            return kind
    wanted = server or next(iter(SERVERS))
    packages = " ".join(SERVERS[wanted].missing_packages())
    raise ServerError(f"{wanted} is not installed; install it with: apt-get install {packages}")


def _talk(private: PrivateServer, talk: Conversation, tell: Progress) -> tuple[Block, Block]:
    """Play both ends and record both microphones; each cut to the conversation."""
    with ExitStack() as stack:
        mic = stack.enter_context(private.recorder(private.MICROPHONE, rate=SAMPLE_RATE))
        out = stack.enter_context(private.recorder(MICROPHONE, rate=SAMPLE_RATE))
        mic.wait(0.5)
        out.wait(0.5)
        stack.enter_context(private.player(talk.far))
        near = stack.enter_context(private.player(talk.near, private.MICROPHONE_INPUT))
        started = time.monotonic()
        while near.playing:
            done = time.monotonic() - started
            title = next((p.title for p in reversed(talk.phases) if p.start_s <= done), "Silence")
            tell(f"Talking: {title.lower()}", min(done, talk.seconds), talk.seconds)
            if done > talk.seconds + 10.0:
                raise ServerError("the private server does not play; is the machine overloaded?")
            time.sleep(0.1)
        near.wait()
        time.sleep(_TAIL_SECONDS)
        return cut_to(talk, mic.stop(), out.stop())


def _draw(folder: Path, mic_wav: Path, out_wav: Path) -> Path | None:
    if importlib.util.find_spec("matplotlib") is None:
        return None
    picture = folder / "spectrograms.png"
    panels = (Panel("Microphone", mic_wav), Panel("DTLN Microphone", out_wav))
    plot_spectrograms(panels, picture)
    return picture
