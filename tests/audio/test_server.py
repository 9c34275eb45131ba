"""The control connection: finds out what server answers, and never starts one."""

from __future__ import annotations

import signal
import time

import pytest

from pipedtln.audio.server import connect, server_errors, server_info
from pipedtln.demo.servers import PrivatePulseAudio, PrivateServer
from pipedtln.errors import ServerError


def test_server_is_told_by_kind_version_and_defaults(server: PrivateServer) -> None:
    began = time.monotonic()
    with connect(server.url) as pulse:
        taken = time.monotonic() - began
        info = server_info(pulse)
    print(f"{info.kind} {info.version}, connected in {1e3 * taken:.1f} ms")
    assert info.kind == server.kind
    assert info.version[0].isdigit()
    assert info.version.count(".") >= 1
    assert (info.default_source, info.default_sink) == (server.MICROPHONE, server.SPEAKER)
    assert taken < 1.0


def test_client_bears_our_name(server: PrivateServer) -> None:
    with connect(server.url) as pulse:
        assert "pipedtln" in {client.name for client in pulse.client_list()}


@pytest.mark.pulseaudio
def test_connecting_to_nothing_is_one_line_and_starts_no_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nothing = PrivatePulseAudio()
    try:
        for name, value in nothing.env.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("PULSE_SERVER")
        for address in (None, nothing.url):
            with pytest.raises(ServerError, match="no PulseAudio or PipeWire server") as caught:
                connect(address)
            assert "\n" not in str(caught.value)
        assert not nothing.socket.exists()
    finally:
        nothing.stop()


def test_a_hanging_server_is_given_up_in_time(server: PrivateServer) -> None:
    roles = ("pipewire-pulse",) if server.kind == "pipewire" else ("pulseaudio",)
    server.send_signal(signal.SIGSTOP, *roles)
    try:
        began = time.monotonic()
        with pytest.raises(ServerError):
            connect(server.url, timeout=0.5)
        assert 0.4 < time.monotonic() - began < 2.0
    finally:
        server.send_signal(signal.SIGCONT, *roles)
    with connect(server.url) as pulse:
        assert server_info(pulse).kind == server.kind


@pytest.mark.parametrize("how", ["stop_server", "kill"])
def test_a_lost_connection_raises_ours(server: PrivateServer, how: str) -> None:
    with connect(server.url) as pulse:
        getattr(server, how)()
        for _ in range(3):
            with pytest.raises(ServerError):
                server_info(pulse)
            with pytest.raises(ServerError, match="could not list"), server_errors("list"):
                pulse.sink_list()


def test_call_to_a_server_that_hangs_is_given_up(server: PrivateServer) -> None:
    roles = ("pipewire-pulse",) if server.kind == "pipewire" else ("pulseaudio",)
    with connect(server.url, patience=0.5) as pulse:
        with server_errors("list the microphones"):
            assert pulse.source_list()
        server.send_signal(signal.SIGSTOP, *roles)
        try:
            began = time.monotonic()
            with (
                pytest.raises(ServerError, match=r"list the microphones: .* does not answer"),
                server_errors("list the microphones"),
            ):
                pulse.source_list()
            assert 0.4 < time.monotonic() - began < 2.0
        finally:
            server.send_signal(signal.SIGCONT, *roles)
