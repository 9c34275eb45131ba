"""Record from a source the way any app would, to prove that sound arrives."""

from __future__ import annotations

import ctypes
import math
import threading

import numpy as np

from pipedtln.audio.server import connect
from pipedtln.devices.listing import list_sources
from pipedtln.errors import InstallError

_RECORD = 2
_FLOAT32LE = 5
_RATE = 16_000
_NOBODY = 0xFFFFFFFF


class _SampleSpec(ctypes.Structure):
    _fields_ = (
        ("format", ctypes.c_int),
        ("rate", ctypes.c_uint32),
        ("channels", ctypes.c_uint8),
    )


class _BufferAttributes(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint32) for name in ("maxlength", "tlength", "prebuf", "minreq", "fragsize")
    )


def record_level(source: str, seconds: float, timeout: float = 10.0) -> float:
    """Record from a source and tell how loud it was.

    Parameters
    ----------
    source : its name on the server
    seconds : how much to record
    timeout : seconds after which a source that delivers nothing counts as broken

    Returns
    -------
    Peak in dBFS; -inf for digital silence.

    Raises
    ------
    InstallError
        If the source is not there, cannot be opened or delivers nothing.
    ServerError
        If no server answers.
    """
    # A pipewire-pulse that knows no such source would quietly give the default one.
    with connect() as pulse:
        if all(device.name != source for device in list_sources(pulse)):
            raise InstallError(f"no source named '{source}'. List sources with: pipedtln devices")
    answer: list[float | str] = []

    def work() -> None:
        answer.append(_record(source, int(seconds * _RATE)))

    # libpulse's simple API blocks for as long as a source is silent on the wire: on a thread of
    # its own, which the end of the process takes along.
    thread = threading.Thread(target=work, name="pipedtln-proof", daemon=True)
    thread.start()
    thread.join(timeout)
    if not answer:
        raise InstallError(
            f"'{source}' delivers no sound; see: pipedtln status, and the sound server's log"
        )
    if isinstance(answer[0], str):
        raise InstallError(f"cannot record from '{source}': {answer[0]}")
    return answer[0]


def _record(source: str, samples: int) -> float | str:
    """The peak in dBFS, or what went wrong."""
    try:
        simple = ctypes.CDLL("libpulse-simple.so.0")
        pulse = ctypes.CDLL("libpulse.so.0")
    except OSError:
        return "libpulse-simple.so.0 is missing; install the PulseAudio client libraries"
    simple.pa_simple_new.restype = ctypes.c_void_p
    text, pointer = ctypes.c_char_p, ctypes.c_void_p
    simple.pa_simple_new.argtypes = [
        text, text, ctypes.c_int, text, text, pointer, pointer, pointer, pointer
    ]  # fmt: skip
    simple.pa_simple_read.argtypes = [pointer, pointer, ctypes.c_size_t, pointer]
    simple.pa_simple_free.argtypes = [pointer]
    simple.pa_simple_free.restype = None
    pulse.pa_strerror.restype = ctypes.c_char_p

    error = ctypes.c_int(0)
    spec = _SampleSpec(_FLOAT32LE, _RATE, 1)
    buffers = _BufferAttributes(_NOBODY, _NOBODY, _NOBODY, _NOBODY, 4 * 512)
    stream = simple.pa_simple_new(
        None, b"pipedtln setup", _RECORD, source.encode(), b"proof",
        ctypes.byref(spec), None, ctypes.byref(buffers), ctypes.byref(error),
    )  # fmt: skip
    if not stream:
        return _reason(pulse, error)
    try:
        sound = np.zeros(samples, np.float32)
        if simple.pa_simple_read(stream, sound.ctypes.data, sound.nbytes, ctypes.byref(error)) < 0:
            return _reason(pulse, error)
    finally:
        simple.pa_simple_free(stream)
    peak = float(np.abs(sound).max())
    return 20 * math.log10(peak) if peak > 0 else -math.inf


def _reason(pulse: ctypes.CDLL, error: ctypes.c_int) -> str:
    text = pulse.pa_strerror(error)
    return text.decode() if isinstance(text, bytes) else f"error {error.value}"
