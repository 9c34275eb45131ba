"""Streams on PipeWire's own graph: paired to the sample, on time, and gone when closed."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipedtln.audio import libpipewire
from pipedtln.audio.api import Route
from pipedtln.audio.graph import Graph
from pipedtln.audio.pipewire import PipeWireBackend, PipeWireSession
from pipedtln.demo.processes import wait_until
from pipedtln.demo.servers import PrivateServer
from pipedtln.errors import DeviceNotFoundError
from pipedtln.processor import HOP, Block
from tests.audio.test_pulse import (
    OUT,
    hears,
    make_output,
    nothing,
    own_streams,
    play_steadily,
    route,
)


@pytest.fixture
def backend(pipewire: PrivateServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[PipeWireBackend]:
    make_output(pipewire)
    monkeypatch.setenv("XDG_RUNTIME_DIR", pipewire.env["XDG_RUNTIME_DIR"])
    made = PipeWireBackend()
    yield made
    made.close()


def take(session: PipeWireSession, count: int) -> tuple[Block, Block]:
    """Microphone and reference from now on, sample beside sample."""
    mic, ref = np.zeros(count, np.float32), np.zeros(count, np.float32)
    hop = np.zeros(HOP, np.float32)
    got = 0
    while got < count:
        assert wait_until(lambda: session.mic.readable >= HOP, 3.0)
        session.mic.read(hop)
        mic[got : got + HOP] = hop[: count - got]
        assert session.ref.read(hop) == HOP, "the reference lags behind the microphone"
        ref[got : got + HOP] = hop[: count - got]
        got += HOP
    return mic, ref


def test_microphone_and_reference_are_paired_to_the_sample(
    pipewire: PrivateServer, backend: PipeWireBackend
) -> None:
    lags = set()
    noise = np.random.default_rng(5).normal(0, 0.1, 8 * 16_000).astype(np.float32)
    # The microphone hears what its own input's monitor tells, in the same cycle.
    there = Route(
        mic=pipewire.MICROPHONE, out=OUT, ref=f"{pipewire.MICROPHONE_INPUT}.monitor", period=HOP
    )
    with pipewire.player(noise, pipewire.MICROPHONE_INPUT):
        for _ in range(3):
            session = backend.open(there, nothing)
            assert wait_until(lambda mic=session.mic: mic.readable > 4000, 3.0)
            mic, ref = take(session, 8_000)
            session.close()
            products = np.correlate(mic[2000:6000], ref[1000:7000], "full")
            lags.add(int(np.argmax(np.abs(products))))
            assert float(np.sqrt(np.mean(ref**2))) > 0.03
    print(f"lags of three sessions: {lags}")
    assert len(lags) == 1, "the pairing differs from start to start"


def test_sound_arrives_and_leaves_on_time(
    pipewire: PrivateServer, backend: PipeWireBackend
) -> None:
    session = backend.open(route(pipewire), nothing)
    assert hears(session)
    play_steadily(pipewire, session)
    session.close()


def test_what_is_written_too_late_is_left_out_and_counted(
    pipewire: PrivateServer, backend: PipeWireBackend
) -> None:
    session = backend.open(route(pipewire), nothing)
    session.jump(1600 - session.queued())
    before = session.underruns
    assert wait_until(lambda: session.queued() < -1600, timeout=5.0)
    behind = session.queued()
    session.write(np.full(HOP, 0.25, dtype=np.float32))
    assert session.queued() <= behind + HOP
    assert session.underruns == before + 1
    session.jump(1600 - session.queued())
    assert 0 < session.queued() <= 1600 + HOP
    session.close()


def test_fifty_sessions_leave_nothing_behind(
    pipewire: PrivateServer, backend: PipeWireBackend
) -> None:
    def counts() -> tuple[int, int]:
        here = Path("/proc/self")
        return len(list((here / "fd").iterdir())), len(list((here / "task").iterdir()))

    for _ in range(2):
        backend.open(route(pipewire), nothing).close()
    time.sleep(0.3)
    before = counts()
    for _ in range(50):
        session = backend.open(route(pipewire), nothing)
        session.close()
        session.close()
    assert wait_until(lambda: counts() <= before, timeout=5.0), (before, counts())
    with pipewire.connect() as pulse:
        assert wait_until(lambda: not own_streams(pulse), timeout=5.0)


def test_streams_can_be_told_and_count_as_nobodys_recording(
    pipewire: PrivateServer, backend: PipeWireBackend
) -> None:
    session = backend.open(route(pipewire), nothing)
    with pipewire.connect() as pulse:
        assert wait_until(lambda: len(own_streams(pulse)) == 2, timeout=5.0)
        names = {stream.proplist["application.name"] for stream in own_streams(pulse)}
    assert names == {"pipedtln"}
    session.close()


@pytest.mark.parametrize(("version", "joined"), [((0, 3, 71), False), ((0, 3, 72), True)])
def test_drivers_are_joined_only_where_remapped_devices_bear_it(
    pipewire: PrivateServer,
    backend: PipeWireBackend,
    monkeypatch: pytest.MonkeyPatch,
    version: tuple[int, ...],
    joined: bool,
) -> None:
    monkeypatch.setattr(libpipewire, "version", lambda _lib: version)
    session = backend.open(route(pipewire), nothing)
    with pipewire.connect() as pulse:
        assert wait_until(lambda: len(own_streams(pulse)) == 2, timeout=5.0)
        groups = [stream.proplist.get("node.group") for stream in own_streams(pulse)]
    session.close()
    assert groups == [f"pipedtln-{os.getpid()}" if joined else None] * 2


def test_version_is_the_installed_librarys() -> None:
    told = ".".join(map(str, libpipewire.version(libpipewire.load())))
    assert f"libpipewire {told}" in subprocess.check_output(["pw-cli", "--version"], text=True)


def test_unplugged_microphone_ends_the_session(
    pipewire: PrivateServer, backend: PipeWireBackend
) -> None:
    woken: list[bool] = []
    session = backend.open(route(pipewire), lambda: woken.append(True))
    pipewire.unplug_microphone()
    assert wait_until(lambda: session.failure is not None, timeout=3.0)
    assert woken
    session.close()
    with pytest.raises(DeviceNotFoundError, match=pipewire.MICROPHONE):
        backend.open(route(pipewire), nothing)


def test_server_that_goes_ends_the_session_and_is_found_again(
    pipewire: PrivateServer, backend: PipeWireBackend
) -> None:
    session = backend.open(route(pipewire), nothing)
    pipewire.restart()
    assert wait_until(lambda: session.failure is not None, timeout=5.0)
    session.close()
    make_output(pipewire)
    again = backend.open(route(pipewire), nothing)
    assert hears(again)
    again.close()


def test_a_bell_that_rings_after_its_job_is_done_does_not_ring_for_ever(
    pipewire: PrivateServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", pipewire.env["XDG_RUNTIME_DIR"])
    graph, done = Graph(), threading.Event()
    ring = os.eventfd_write

    def ring_late(bell: int, by: int) -> None:
        # Anything else that turns the thread in between has it do the job.
        ring(bell, by)
        assert done.wait(3.0)
        ring(bell, by)

    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, "eventfd_write", ring_late)
            graph.do(done.set)
        time.sleep(0.5)
        before = graph.turns
        time.sleep(1.0)
        turns = graph.turns - before
        print(f"{turns} turns in a second")
        assert turns < 50
    finally:
        graph.close()
