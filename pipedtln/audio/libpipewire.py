"""A typed ctypes binding of the parts of libpipewire that stream, and nothing more.

Names, constants and structures are those of pipewire/stream.h, pipewire/core.h, spa/support/loop.h
and spa/pod/pod.h (libpipewire 0.3.50 to 1.4, one ABI). Much of PipeWire's interface is inline C:
a method is then called as that does, through the table of functions that each object begins with.

The loop's thread calls with the interpreter lock held (`PyDLL`): it never waits inside.
"""

from __future__ import annotations

import ctypes as c
import re
import struct
from collections.abc import Sequence
from functools import cache
from typing import Any

from pipedtln.errors import ServerError

PW_DIRECTION_INPUT = 0
PW_DIRECTION_OUTPUT = 1
PW_ID_ANY = 0xFFFFFFFF
PW_ID_CORE = 0

PW_STREAM_FLAG_MAP_BUFFERS = 1 << 2
PW_STREAM_FLAG_DONT_RECONNECT = 1 << 7
PW_STREAM_STATE_ERROR = -1

PW_TYPE_NODE = b"PipeWire:Interface:Node"
PW_TYPE_PORT = b"PipeWire:Interface:Port"
PW_TYPE_LINK = b"PipeWire:Interface:Link"
PW_VERSION_REGISTRY = 3
PW_VERSION_LINK = 3

# Places in the tables of functions, the version before them not counted.
LOOP_ENTER, LOOP_LEAVE, LOOP_ITERATE, LOOP_GET_FD = 2, 3, 4, 0
ADD_LISTENER, CORE_GET_REGISTRY, CORE_CREATE_OBJECT = 0, 5, 6

# The same of the tables that we hand over, and their lengths.
CORE_EVENTS, CORE_ERROR = 8, 3
REGISTRY_EVENTS, REGISTRY_GLOBAL, REGISTRY_GLOBAL_REMOVE = 2, 0, 1
PROXY_EVENTS, PROXY_REMOVED, PROXY_ERROR = 5, 2, 4
STREAM_EVENTS, STREAM_STATE_CHANGED, STREAM_PROCESS = 11, 1, 7

_P = c.c_void_p


class Fraction(c.Structure):
    """spa_fraction"""

    _fields_ = [("num", c.c_uint32), ("denom", c.c_uint32)]


class Time(c.Structure):
    """pw_time, as of 0.3.50"""

    _fields_ = [
        ("now", c.c_int64),
        ("rate", Fraction),
        ("ticks", c.c_uint64),
        ("delay", c.c_int64),
        ("queued", c.c_uint64),
        ("buffered", c.c_uint64),
        ("queued_buffers", c.c_uint32),
        ("avail_buffers", c.c_uint32),
    ]


class Chunk(c.Structure):
    """spa_chunk; bytes"""

    _fields_ = [
        ("offset", c.c_uint32),
        ("size", c.c_uint32),
        ("stride", c.c_int32),
        ("flags", c.c_int32),
    ]


class Data(c.Structure):
    """spa_data"""

    _fields_ = [
        ("type", c.c_uint32),
        ("flags", c.c_uint32),
        ("fd", c.c_int64),
        ("mapoffset", c.c_uint32),
        ("maxsize", c.c_uint32),
        ("data", _P),
        ("chunk", c.POINTER(Chunk)),
    ]


class SpaBuffer(c.Structure):
    """spa_buffer"""

    _fields_ = [
        ("n_metas", c.c_uint32),
        ("n_datas", c.c_uint32),
        ("metas", _P),
        ("datas", c.POINTER(Data)),
    ]


class Buffer(c.Structure):
    """pw_buffer"""

    _fields_ = [
        ("buffer", c.POINTER(SpaBuffer)),
        ("user_data", _P),
        ("size", c.c_uint64),
        ("requested", c.c_uint64),
    ]


class DictItem(c.Structure):
    """spa_dict_item"""

    _fields_ = [("key", c.c_char_p), ("value", c.c_char_p)]


class Dict(c.Structure):
    """spa_dict"""

    _fields_ = [("flags", c.c_uint32), ("n_items", c.c_uint32), ("items", c.POINTER(DictItem))]


class Hook(c.Structure):
    """spa_hook; filled by the library, and to be kept as long as it listens"""

    _fields_ = [("link", _P * 2), ("callbacks", _P * 2), ("removed", _P), ("priv", _P)]


class _Interface(c.Structure):
    """spa_interface, which each loop, core, registry and proxy begins with"""

    _fields_ = [("type", c.c_char_p), ("version", c.c_uint32), ("functions", _P), ("data", _P)]


class _Loop(c.Structure):
    """pw_loop"""

    _fields_ = [("system", _P), ("loop", _P), ("control", _P), ("utils", _P)]


StreamState = c.CFUNCTYPE(None, _P, c.c_int, c.c_int, c.c_char_p)
StreamProcess = c.CFUNCTYPE(None, _P)
CoreError = c.CFUNCTYPE(None, _P, c.c_uint32, c.c_int, c.c_int, c.c_char_p)
Global = c.CFUNCTYPE(None, _P, c.c_uint32, c.c_uint32, c.c_char_p, c.c_uint32, c.POINTER(Dict))
GlobalRemove = c.CFUNCTYPE(None, _P, c.c_uint32)
ProxyRemoved = c.CFUNCTYPE(None, _P)
ProxyError = c.CFUNCTYPE(None, _P, c.c_int, c.c_int, c.c_char_p)

_ADD_LISTENER = c.PYFUNCTYPE(c.c_int, _P, c.POINTER(Hook), _P, _P)
_GET_REGISTRY = c.PYFUNCTYPE(_P, _P, c.c_uint32, c.c_size_t)
_CREATE_OBJECT = c.PYFUNCTYPE(
    _P, _P, c.c_char_p, c.c_char_p, c.c_uint32, c.POINTER(Dict), c.c_size_t
)
_PLAIN = c.PYFUNCTYPE(c.c_int, _P)
_ITERATE = c.PYFUNCTYPE(c.c_int, _P, c.c_int)

_FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "pw_init": (None, (_P, _P)),
    "pw_get_library_version": (c.c_char_p, ()),
    "pw_main_loop_new": (_P, (_P,)),
    "pw_main_loop_get_loop": (_P, (_P,)),
    "pw_main_loop_destroy": (None, (_P,)),
    "pw_context_new": (_P, (_P, _P, c.c_size_t)),
    "pw_context_connect": (_P, (_P, _P, c.c_size_t)),
    "pw_context_destroy": (None, (_P,)),
    "pw_core_disconnect": (c.c_int, (_P,)),
    "pw_properties_new_dict": (_P, (c.POINTER(Dict),)),
    "pw_proxy_add_listener": (None, (_P, c.POINTER(Hook), _P, _P)),
    "pw_proxy_destroy": (None, (_P,)),
    "pw_stream_new": (_P, (_P, c.c_char_p, _P)),
    "pw_stream_add_listener": (None, (_P, c.POINTER(Hook), _P, _P)),
    "pw_stream_connect": (
        c.c_int,
        (_P, c.c_int, c.c_uint32, c.c_int, c.POINTER(c.c_char_p), c.c_uint32),
    ),
    "pw_stream_destroy": (None, (_P,)),
    "pw_stream_get_node_id": (c.c_uint32, (_P,)),
    "pw_stream_dequeue_buffer": (c.POINTER(Buffer), (_P,)),
    "pw_stream_queue_buffer": (c.c_int, (_P, c.POINTER(Buffer))),
    "pw_stream_get_time_n": (c.c_int, (_P, c.POINTER(Time), c.c_size_t)),
}


class LibPipeWire:
    """The library's functions, typed; attributes are named as in C."""

    def __init__(self, library: c.PyDLL) -> None:
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(library, name)
            function.restype = result
            function.argtypes = list(arguments)
            setattr(self, name, function)
        self.pw_init(None, None)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"libpipewire's {name} is not bound")


@cache
def load() -> LibPipeWire:
    """Load libpipewire.

    Raises
    ------
    ServerError
        If the library is not installed, or older than 0.3.50.
    """
    try:
        return LibPipeWire(c.PyDLL("libpipewire-0.3.so.0"))
    except (OSError, AttributeError) as error:
        raise ServerError(
            "libpipewire-0.3.so.0 (0.3.50 or later) is not installed; install libpipewire-0.3-0 "
            "(Debian), pipewire-libs (Fedora) or libpipewire (Arch)"
        ) from error


def version(lib: LibPipeWire) -> tuple[int, ...]:
    """The library's version, which is the server's, too, but for an upgrade until it restarts."""
    return tuple(int(number) for number in re.findall(rb"\d+", lib.pw_get_library_version())[:3])


def method(instance: int, place: int, prototype: Any) -> Any:
    """A method of an object, its first argument bound: ``spa_interface_call`` in C."""
    interface = _Interface.from_address(instance)
    at = interface.functions + c.sizeof(_P) * (1 + place)
    function = prototype(_P.from_address(at).value)
    data = interface.data

    def call(*arguments: object) -> Any:
        return function(data, *arguments)

    return call


class LoopControl:
    """What turns a ``pw_loop``."""

    def __init__(self, loop: int) -> None:
        control = _Loop.from_address(loop).control
        self.get_fd = method(control, LOOP_GET_FD, _PLAIN)
        self.enter = method(control, LOOP_ENTER, c.PYFUNCTYPE(None, _P))
        self.leave = method(control, LOOP_LEAVE, c.PYFUNCTYPE(None, _P))
        self.iterate = method(control, LOOP_ITERATE, _ITERATE)


def add_listener(instance: int, hook: Hook, events: c.Array[c.c_void_p]) -> None:
    """Listen to a core or registry."""
    method(instance, ADD_LISTENER, _ADD_LISTENER)(c.byref(hook), events, None)


def get_registry(core: int) -> int:
    """The registry, which tells of all nodes and ports."""
    return int(method(core, CORE_GET_REGISTRY, _GET_REGISTRY)(PW_VERSION_REGISTRY, 0))


def create_link(core: int, words: Dict) -> int:
    """Ask for a link between two ports; the proxy, or 0."""
    create = method(core, CORE_CREATE_OBJECT, _CREATE_OBJECT)
    return int(create(b"link-factory", PW_TYPE_LINK, PW_VERSION_LINK, c.byref(words), 0) or 0)


def events(length: int, callbacks: dict[int, Any]) -> c.Array[c.c_void_p]:
    """A table of callbacks, all others empty; of version 0, so that no later ones are looked for.

    The callbacks must be kept elsewhere, and the table as long as it is in use.
    """
    table = (_P * (length + 1))()
    for place, callback in callbacks.items():
        table[1 + place] = c.cast(callback, _P).value
    return table


def dictionary(words: dict[str, str]) -> Dict:
    """A ``spa_dict`` that keeps its words."""
    items = (DictItem * len(words))(
        *(DictItem(key.encode(), value.encode()) for key, value in words.items())
    )
    return Dict(0, len(words), items)


def words_of(dictionary: Any) -> dict[str, str]:
    """The words of a ``spa_dict`` that the library hands over."""
    if not dictionary:
        return {}
    content = dictionary.contents
    return {
        item.key.decode(): (item.value or b"").decode(errors="replace")
        for item in content.items[: content.n_items]
    }


_INT, _ID, _ARRAY, _OBJECT = 4, 3, 13, 15
_OBJECT_FORMAT, _PARAM_ENUM_FORMAT = 0x40003, 3
_OBJECT_BUFFERS, _PARAM_BUFFERS = 0x40004, 5
_MEDIA_AUDIO, _SUBTYPE_RAW, _FORMAT_F32_LE, _CHANNEL_AUX0 = 1, 1, 283, 0x1000


def format_pod(rate: int, channels: int) -> bytes:
    """A ``spa_pod`` of interleaved float32 with channels AUX0, AUX1 and so on."""
    positions = [_CHANNEL_AUX0 + channel for channel in range(channels)]
    return _object(
        _OBJECT_FORMAT,
        _PARAM_ENUM_FORMAT,
        [
            (1, _pod(_ID, struct.pack("=I", _MEDIA_AUDIO))),
            (2, _pod(_ID, struct.pack("=I", _SUBTYPE_RAW))),
            (0x10001, _pod(_ID, struct.pack("=I", _FORMAT_F32_LE))),
            (0x10003, _pod(_INT, struct.pack("=i", rate))),
            (0x10004, _pod(_INT, struct.pack("=i", channels))),
            (0x10005, _pod(_ARRAY, struct.pack(f"=II{channels}I", 4, _ID, *positions))),
        ],
    )


def buffers_pod(count: int, size: int) -> bytes:
    """A ``spa_pod`` that asks for ``count`` buffers of ``size`` bytes of one channel."""
    values = [(1, count), (2, 1), (3, size), (4, 4)]
    fields = [(key, _pod(_INT, struct.pack("=i", value))) for key, value in values]
    return _object(_OBJECT_BUFFERS, _PARAM_BUFFERS, fields)


def params(pods: Sequence[bytes]) -> c.Array[c.c_char_p]:
    """What a stream is connected with."""
    return (c.c_char_p * len(pods))(*pods)


def _pod(kind: int, body: bytes) -> bytes:
    return struct.pack("=II", len(body), kind) + body + bytes(-len(body) % 8)


def _object(kind: int, identity: int, fields: list[tuple[int, bytes]]) -> bytes:
    body = struct.pack("=II", kind, identity)
    body += b"".join(struct.pack("=II", key, 0) + pod for key, pod in fields)
    return _pod(_OBJECT, body)
