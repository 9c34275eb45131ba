"""A typed ctypes binding of the parts of libpulse that stream, and nothing more.

pulsectl controls but does not stream; no kept Python binding offers libpulse's asynchronous
streams. Names, constants and structures are those of pulse/def.h, pulse/stream.h and
pulse/mainloop.h (libpulse 16; its ABI has been stable since 2.0).

Calls that may wait release the interpreter lock; those that do not keep it, which is cheaper than
handing it over (`PyDLL`).
"""

from __future__ import annotations

import ctypes as c
from functools import cache
from typing import Any

from pipedtln.errors import ServerError

PA_SAMPLE_FLOAT32LE = 5

PA_CONTEXT_NOAUTOSPAWN = 0x0001
PA_CONTEXT_READY = 4
PA_CONTEXT_FAILED = 5
PA_CONTEXT_TERMINATED = 6

PA_STREAM_READY = 2
PA_STREAM_FAILED = 3
PA_STREAM_TERMINATED = 4

PA_STREAM_AUTO_TIMING_UPDATE = 0x0008
PA_STREAM_NO_REMAP_CHANNELS = 0x0010
PA_STREAM_NO_REMIX_CHANNELS = 0x0020
PA_STREAM_DONT_MOVE = 0x0200
PA_STREAM_ADJUST_LATENCY = 0x2000
PA_STREAM_EARLY_REQUESTS = 0x4000

PA_SEEK_RELATIVE = 0

PA_ERR_ACCESS = 1
PA_ERR_NOENTITY = 5
PA_ERR_CONNECTIONREFUSED = 6

UNSET = 0xFFFFFFFF


class SampleSpec(c.Structure):
    """pa_sample_spec"""

    _fields_ = [("format", c.c_int), ("rate", c.c_uint32), ("channels", c.c_uint8)]


class ChannelMap(c.Structure):
    """pa_channel_map"""

    _fields_ = [("channels", c.c_uint8), ("map", c.c_int * 32)]


class TimingInfo(c.Structure):
    """pa_timing_info; indices in bytes"""

    _fields_ = [
        *((name, c.c_long) for name in ("seconds", "microseconds")),
        ("synchronized_clocks", c.c_int),
        *((name, c.c_uint64) for name in ("sink_usec", "source_usec", "transport_usec")),
        ("playing", c.c_int),
        ("write_index_corrupt", c.c_int),
        ("write_index", c.c_int64),
        ("read_index_corrupt", c.c_int),
        ("read_index", c.c_int64),
        *((name, c.c_uint64) for name in ("configured_sink_usec", "configured_source_usec")),
        ("since_underrun", c.c_int64),
    ]


class BufferAttr(c.Structure):
    """pa_buffer_attr; bytes"""

    _fields_ = [
        ("maxlength", c.c_uint32),
        ("tlength", c.c_uint32),
        ("prebuf", c.c_uint32),
        ("minreq", c.c_uint32),
        ("fragsize", c.c_uint32),
    ]


ContextNotify = c.CFUNCTYPE(None, c.c_void_p, c.c_void_p)
StreamNotify = c.CFUNCTYPE(None, c.c_void_p, c.c_void_p)
StreamRequest = c.CFUNCTYPE(None, c.c_void_p, c.c_size_t, c.c_void_p)

_P = c.c_void_p
_WAITING: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "pa_mainloop_free": (None, (_P,)),
    "pa_mainloop_poll": (c.c_int, (_P,)),
    "pa_context_connect": (c.c_int, (_P, c.c_char_p, c.c_int, _P)),
    "pa_context_disconnect": (None, (_P,)),
    "pa_stream_connect_record": (c.c_int, (_P, c.c_char_p, c.POINTER(BufferAttr), c.c_int)),
    "pa_stream_connect_playback": (
        c.c_int,
        (_P, c.c_char_p, c.POINTER(BufferAttr), c.c_int, _P, _P),
    ),
    "pa_stream_disconnect": (c.c_int, (_P,)),
}
_LOCAL: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "pa_mainloop_new": (_P, ()),
    "pa_mainloop_get_api": (_P, (_P,)),
    "pa_mainloop_prepare": (c.c_int, (_P, c.c_int)),
    "pa_mainloop_dispatch": (c.c_int, (_P,)),
    "pa_mainloop_wakeup": (None, (_P,)),
    "pa_strerror": (c.c_char_p, (c.c_int,)),
    "pa_proplist_new": (_P, ()),
    "pa_proplist_sets": (c.c_int, (_P, c.c_char_p, c.c_char_p)),
    "pa_proplist_free": (None, (_P,)),
    "pa_context_new_with_proplist": (_P, (_P, c.c_char_p, _P)),
    "pa_context_unref": (None, (_P,)),
    "pa_context_get_state": (c.c_int, (_P,)),
    "pa_context_errno": (c.c_int, (_P,)),
    "pa_stream_new_with_proplist": (
        _P,
        (_P, c.c_char_p, c.POINTER(SampleSpec), c.POINTER(ChannelMap), _P),
    ),
    "pa_channel_map_parse": (_P, (c.POINTER(ChannelMap), c.c_char_p)),
    "pa_stream_unref": (None, (_P,)),
    "pa_stream_get_state": (c.c_int, (_P,)),
    "pa_stream_get_device_name": (c.c_char_p, (_P,)),
    "pa_stream_get_buffer_attr": (c.POINTER(BufferAttr), (_P,)),
    "pa_stream_peek": (c.c_int, (_P, c.POINTER(_P), c.POINTER(c.c_size_t))),
    "pa_stream_drop": (c.c_int, (_P,)),
    "pa_stream_write": (c.c_int, (_P, _P, c.c_size_t, _P, c.c_int64, c.c_int)),
    "pa_stream_writable_size": (c.c_size_t, (_P,)),
    "pa_stream_get_timing_info": (c.POINTER(TimingInfo), (_P,)),
}
for _name in ("state", "moved", "underflow", "overflow", "latency_update"):
    _LOCAL[f"pa_stream_set_{_name}_callback"] = (None, (_P, StreamNotify, _P))
for _name in ("read", "write"):
    _LOCAL[f"pa_stream_set_{_name}_callback"] = (None, (_P, StreamRequest, _P))
_LOCAL["pa_context_set_state_callback"] = (None, (_P, ContextNotify, _P))

NO_NOTIFY = StreamNotify()
NO_REQUEST = StreamRequest()


class LibPulse:
    """The library's functions, typed; attributes are named as in C."""

    def __init__(self, waiting: c.CDLL, local: c.PyDLL) -> None:
        for library, table in ((waiting, _WAITING), (local, _LOCAL)):
            for name, (result, arguments) in table.items():
                function = getattr(library, name)
                function.restype = result
                function.argtypes = list(arguments)
                setattr(self, name, function)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"libpulse's {name} is not bound")


@cache
def load() -> LibPulse:
    """Load libpulse.

    Raises
    ------
    ServerError
        If the library is not installed.
    """
    try:
        return LibPulse(c.CDLL("libpulse.so.0"), c.PyDLL("libpulse.so.0"))
    except OSError as error:
        raise ServerError(
            "libpulse.so.0 is not installed; install libpulse0 (Debian), pulseaudio-libs "
            "(Fedora) or libpulse (Arch)"
        ) from error
