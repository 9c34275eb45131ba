"""Plays DTLN Microphone back some time later, so that one can hear oneself as others do.

Both streams are an ordinary app's: they end with the process, however that ends, so that nothing
is left on the server to be found and removed. (A loopback module would stay behind after a kill,
and on PipeWire it cannot wait for as long as a sentence takes.)
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from time import monotonic

import numpy as np

from pipedtln.audio.api import AudioBackend, Route, Session
from pipedtln.audio.pulse import PulseBackend
from pipedtln.audio.server import connect
from pipedtln.devices.names import MICROPHONE
from pipedtln.devices.selection import choose_output
from pipedtln.errors import DeviceError
from pipedtln.processor import SAMPLE_RATE, Block

APP = "pipedtln listen"
_PERIOD = 320
"""Samples (20 ms) at a time: nobody waits for them."""
_LEAD = 1280
"""Samples (80 ms) that stand ready at the output, so that a busy machine does not crackle."""
_MOST = 2880
"""Samples (180 ms) at which the output has fallen behind the microphone: some are dropped."""
_SILENT_S = 5.0


class DelayLine:
    """Gives back what it was given, a fixed number of samples later; silence at first.

    Parameters
    ----------
    delay_samples : 0 or more
    """

    def __init__(self, delay_samples: int) -> None:
        self._kept: Block = np.zeros(delay_samples, dtype=np.float32)
        self._at = 0

    def exchange(self, block: Block) -> None:
        """Replace a block, float32 of any length, by what came so long before it."""
        kept, start = self._kept, 0
        while start < len(block) and len(kept):
            count = min(len(block) - start, len(kept) - self._at)
            new = block[start : start + count].copy()
            block[start : start + count] = kept[self._at : self._at + count]
            kept[self._at : self._at + count] = new
            self._at = (self._at + count) % len(kept)
            start += count


class Listener:
    """The way from DTLN Microphone back to one's ears.

    Parameters
    ----------
    output : sink to play to, a real one (:func:`choose_ears`)
    delay_s : how much later than it is said, 0 to 30
    backend : by default the user's own server
    """

    def __init__(self, output: str, delay_s: float, backend: AudioBackend | None = None) -> None:
        self._route = Route(mic=MICROPHONE, out=output, sample_rate=SAMPLE_RATE, period=_PERIOD)
        # What stands ready at the output is a part of the delay.
        self._line = DelayLine(max(0, round(delay_s * SAMPLE_RATE) - _LEAD))
        self._backend = backend or PulseBackend(app=APP)
        self._arrival = threading.Event()
        self._end = False

    def stop(self) -> None:
        """Have :meth:`run` return; from any thread."""
        self._end = True
        self._arrival.set()

    def run(self) -> None:
        """Play until :meth:`stop` or an exception ends it, KeyboardInterrupt among them.

        Raises
        ------
        ServerError
            If no server answers or it refuses a stream.
        DeviceError
            If DTLN Microphone or the output is not there, goes, or brings nothing.
        """
        with ExitStack() as undo:
            undo.callback(self._backend.close)
            session = self._backend.open(self._route, self._arrival.set)
            undo.callback(session.close)
            session.mic.skip(session.mic.readable)
            heard_at = monotonic()
            while not self._end:
                if self._arrival.wait(0.5):
                    self._arrival.clear()
                    heard_at = monotonic()
                if session.failure is not None:
                    raise DeviceError(f"{session.failure}; try again, or see: pipedtln devices")
                if monotonic() - heard_at > _SILENT_S:
                    raise DeviceError(f"no sound comes from {MICROPHONE}; see: pipedtln status")
                self._pass_on(session)

    def _pass_on(self, session: Session) -> None:
        block = np.empty(_PERIOD, dtype=np.float32)
        while session.mic.readable >= _PERIOD:
            session.mic.read(block)
            self._line.exchange(block)
            queued = session.queued()
            if queued > _MOST:
                continue
            if queued <= 0:
                session.jump(_LEAD - queued)
            session.write(block)


def choose_ears(output: str) -> str:
    """Name of the real sink to listen on.

    Never DTLN Speaker: what it plays is the reference, and one's own voice in it would be taken
    for an echo to be removed.

    Parameters
    ----------
    output : a sink's name, or ``"auto"``

    Raises
    ------
    DeviceError, DeviceNotFoundError
        If it is ours, or there is none.
    ServerError
        If no server answers.
    """
    with connect() as pulse:
        sink = choose_output(pulse, output)
    if sink is None:
        raise DeviceError("there is no output to listen on; connect one, or see: pipedtln devices")
    return sink
