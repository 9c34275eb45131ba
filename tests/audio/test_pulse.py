"""Streams on real servers: opened, lost, found again, never moved, and closed without a trace."""

from __future__ import annotations

import gc
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pulsectl
import pytest

from pipedtln.audio.api import Route, Session
from pipedtln.audio.pulse import PulseBackend, PulseSession
from pipedtln.demo.processes import wait_until
from pipedtln.demo.servers import PrivateServer
from pipedtln.errors import DeviceNotFoundError, ServerError
from pipedtln.processor import HOP, Block

OUT = "test_out"


def nothing() -> None:
    """Wake nobody."""


@pytest.fixture
def backend(server: PrivateServer) -> Iterator[PulseBackend]:
    make_output(server)
    made = PulseBackend(server.url)
    yield made
    made.close()


def make_output(server: PrivateServer) -> None:
    with server.connect() as pulse:
        pulse.module_load("module-null-sink", f"sink_name={OUT} norewinds=1 rate=16000 channels=1")


def route(server: PrivateServer, *, ref: bool = True) -> Route:
    return Route(mic=server.MICROPHONE, out=OUT, ref=f"{server.SPEAKER}.monitor" if ref else None)


def hears(session: Session, seconds: float = 3.0) -> bool:
    """Whether new sound arrives from now on."""
    out = np.zeros(HOP, dtype=np.float32)

    def arrived() -> bool:
        return session.mic.read(out) == HOP

    while session.mic.skip(HOP):
        pass
    return wait_until(arrived, timeout=seconds)


def own_streams(pulse: pulsectl.Pulse) -> list[object]:
    streams = [*pulse.source_output_list(), *pulse.sink_input_list()]
    return [s for s in streams if s.proplist.get("pipedtln.owner") == "pipedtln"]


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def play_steadily(server: PrivateServer, session: Session) -> None:
    """Two seconds of a level go out at the device's pace and are heard as they were."""
    session.jump(max(0, 800 - session.queued()))
    assert session.queued() >= 400
    begin, written = time.monotonic(), 0
    with server.recorder(f"{OUT}.monitor") as recording:
        while time.monotonic() < begin + 2.0:
            if session.queued() < 800:
                session.write(np.full(HOP, 0.25, dtype=np.float32))
                written += HOP
            time.sleep(0.002)
        heard = recording.samples()
    print(f"{server.kind}: {written} samples in 2 s, queue {session.queued()}")
    assert written == pytest.approx(32_000, rel=0.1)
    assert np.median(heard[len(heard) // 2 :]) == pytest.approx(0.25, abs=0.01)


def test_sound_arrives_and_leaves(server: PrivateServer, backend: PulseBackend) -> None:
    session = backend.open(route(server), nothing)
    assert hears(session)
    assert wait_until(lambda: session.ref.readable > 0, timeout=3.0)
    play_steadily(server, session)
    session.close()


def test_queue_falls_behind_where_nothing_is_written(
    server: PrivateServer, backend: PulseBackend
) -> None:
    session = backend.open(route(server), nothing)
    assert wait_until(lambda: session.queued() < -8000, timeout=5.0)
    session.jump(1600 - session.queued())
    # The account is as old as the last request.
    assert 0 < session.queued() <= 1600
    assert wait_until(lambda: session.queued() < -1600, timeout=5.0)
    session.close()


def test_what_the_server_holds_back_of_the_microphone_is_less_than_a_cycle(
    server: PrivateServer, backend: PulseBackend
) -> None:
    session = backend.open(route(server), nothing)
    told = []
    for _ in range(6):  # the server reports once a second
        assert hears(session)
        time.sleep(0.7)
        told.append(session.held_back)
    session.close()
    print(f"{server.kind}: {told} of a period of {session.period}")
    if server.kind == "pulseaudio":
        assert told == [0] * len(told), "it sends all it has"
    else:
        assert all(0 <= one < session.period / 3 for one in told)


def test_fifty_sessions_leave_nothing_behind(server: PrivateServer, backend: PulseBackend) -> None:
    backend.open(route(server), nothing).close()
    threads, files = threading.active_count(), descriptors()
    tasks = len(list(Path("/proc/self/task").iterdir()))
    for _ in range(50):
        session = backend.open(route(server), nothing)
        session.close()
        session.close()
    assert threading.active_count() == threads
    assert descriptors() <= files
    assert len(list(Path("/proc/self/task").iterdir())) <= tasks
    with server.connect() as pulse:
        assert wait_until(lambda: not own_streams(pulse), timeout=5.0)
    backend.close()
    # A thread that was joined may still be on its way out of the kernel.
    assert wait_until(lambda: len(list(Path("/proc/self/task").iterdir())) < tasks, timeout=5.0)


def test_sound_that_arrives_between_the_closing_of_two_streams_is_left_alone(
    server: PrivateServer, backend: PulseBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = PulseSession._release

    def release_slowly(session: PulseSession, stream: int) -> None:
        # libpulse ends the process that asks a stream that is gone.
        release(session, stream)
        time.sleep(0.1)

    monkeypatch.setattr(PulseSession, "_release", release_slowly)
    session = backend.open(route(server), nothing)
    assert hears(session)
    session.close()
    assert hears(backend.open(route(server), nothing))


def test_streams_can_be_told(server: PrivateServer, backend: PulseBackend) -> None:
    session = backend.open(route(server), nothing)
    with server.connect() as pulse:
        streams = own_streams(pulse)
        assert len(streams) == 3
        for stream in streams:
            assert stream.proplist["application.name"] == "pipedtln"  # type: ignore[attr-defined]
    session.close()


def test_no_stream_waits_for_the_messages_of_another(
    server: PrivateServer, backend: PulseBackend
) -> None:
    # PipeWire sends a client's recording nothing in a cycle in which it has a message for another
    # of its streams.
    session = backend.open(route(server), nothing)
    with server.connect() as pulse:
        clients = [stream.client for stream in own_streams(pulse)]  # type: ignore[attr-defined]
    assert len(set(clients)) == 3
    session.close()


@pytest.mark.parametrize("which", ["mic", "ref", "out"])
def test_unknown_device_is_named(server: PrivateServer, backend: PulseBackend, which: str) -> None:
    known = {"mic": server.MICROPHONE, "ref": f"{server.SPEAKER}.monitor", "out": OUT}
    with pytest.raises(DeviceNotFoundError, match="not_there"):
        backend.open(Route(**{**known, which: "not_there"}), nothing)  # type: ignore[arg-type]
    with server.connect() as pulse:
        assert wait_until(lambda: not own_streams(pulse), timeout=5.0)
    backend.open(route(server), nothing).close()


def test_forgotten_session_ends_with_its_connection(
    server: PrivateServer, backend: PulseBackend
) -> None:
    backend.open(route(server), nothing)
    gc.collect()
    backend.close()
    with server.connect() as pulse:
        assert wait_until(lambda: not own_streams(pulse), timeout=5.0)


def test_no_server_is_an_error_and_none_is_started(tmp_path: Path) -> None:
    backend = PulseBackend(f"unix:{tmp_path / 'native'}")
    begin = time.monotonic()
    with pytest.raises(ServerError, match="no audio server answers"):
        backend.connect()
    assert time.monotonic() - begin < 3.0
    assert not (tmp_path / "native").exists()
    backend.close()


def test_killed_server_is_told_and_found_again(
    server: PrivateServer, backend: PulseBackend
) -> None:
    woken = threading.Event()
    session = backend.open(route(server), woken.set)
    assert hears(session)
    server.kill()
    assert wait_until(lambda: session.failure is not None, timeout=5.0)
    assert woken.is_set()
    session.write(np.zeros(HOP, dtype=np.float32))
    session.jump(100)
    session.queued()
    session.latency()
    session.close()
    with pytest.raises(ServerError):
        backend.open(route(server), nothing)
    server.start()
    make_output(server)
    session = backend.open(route(server), nothing)
    assert hears(session)
    session.close()


def test_unplugged_microphone_is_told(server: PrivateServer, backend: PulseBackend) -> None:
    session = backend.open(route(server, ref=False), nothing)
    assert hears(session)
    server.unplug_microphone()
    assert wait_until(lambda: session.failure is not None, timeout=5.0), "stream stayed"
    assert server.MICROPHONE in str(session.failure)
    session.close()
    server.plug_microphone()
    session = backend.open(route(server, ref=False), nothing)
    assert hears(session)
    session.close()


def device_of(pulse: pulsectl.Pulse, name: str) -> Callable[[], set[str]]:
    """Names of the sources that our stream of that name records."""

    def look() -> set[str]:
        sources = {source.index: source.name for source in pulse.source_list()}
        outputs = pulse.source_output_list()
        return {sources[o.source] for o in outputs if o.proplist.get("media.name") == name}

    return look


def test_streams_stay_where_they_are(server: PrivateServer, backend: PulseBackend) -> None:
    session = backend.open(route(server, ref=False), nothing)
    with server.connect() as pulse:
        look = device_of(pulse, "DTLN microphone")
        assert look() == {server.MICROPHONE}
        pulse.default_set(pulse.get_source_by_name(f"{OUT}.monitor"))
        [mine] = [o for o in pulse.source_output_list() if o.name == "DTLN microphone"]
        subprocess.run(
            ["pactl", "move-source-output", str(mine.index), f"{OUT}.monitor"],
            env=server.env,
            check=False,
            capture_output=True,
        )
        deadline = time.monotonic() + 1.0
        while time.monotonic() < deadline:
            # Either the server refuses to move it, or the session says that it was moved.
            assert look() in ({server.MICROPHONE}, set()) or session.failure is not None
            time.sleep(0.05)
    assert session.failure is not None or hears(session)
    session.close()


def test_worker_of_another_thread_may_write_while_sound_arrives(
    server: PrivateServer, backend: PulseBackend
) -> None:
    ready = threading.Semaphore(0)
    session = backend.open(route(server), ready.release)
    session.jump(max(0, 600 - session.queued()))
    block: Block = np.zeros(HOP, dtype=np.float32)
    hops = 0
    deadline = time.monotonic() + 10.0
    while hops < 250 and time.monotonic() < deadline:
        assert ready.acquire(timeout=3.0)
        while session.mic.read(block) == HOP:
            session.write(block)
            hops += 1
    assert hops >= 250
    assert session.counters.overruns == 0
    session.close()
