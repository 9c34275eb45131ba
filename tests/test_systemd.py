"""systemd hears that the service is ready, alive and stopping, and nobody waits where it is not."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipedtln import systemd


@pytest.fixture
def listener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.bind(address)
        link.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        yield link


def test_ready_status_alive_and_stopping_arrive(listener: socket.socket) -> None:
    assert systemd.ready("works")
    assert listener.recv(4096) == b"READY=1\nSTATUS=works"
    assert systemd.status("one\nline")
    assert listener.recv(4096) == b"STATUS=one line"
    assert systemd.alive()
    assert listener.recv(4096) == b"WATCHDOG=1"
    assert systemd.stopping()
    assert listener.recv(4096) == b"STOPPING=1"


def test_abstract_addresses_are_reached() -> None:
    name = f"pipedtln-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.bind("\0" + name)
        link.settimeout(5)
        assert systemd.notify("READY=1", environment={"NOTIFY_SOCKET": f"@{name}"})
        assert link.recv(4096) == b"READY=1"


@pytest.mark.parametrize("address", ["", "relative", "/nowhere/at/all", "vsock:2:1"])
def test_without_a_listener_nothing_happens(address: str) -> None:
    assert not systemd.notify("READY=1", environment={"NOTIFY_SOCKET": address})
    assert not systemd.notify("READY=1", environment={})


def test_a_manager_that_does_not_read_holds_nobody_up(listener: socket.socket) -> None:
    for _ in range(10_000):
        if not systemd.notify("STATUS=" + "x" * 1000):
            return
    pytest.fail("the socket's queue has no end")


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "15000000"}, 7.5),
        ({"WATCHDOG_USEC": "15000000", "WATCHDOG_PID": str(os.getpid())}, 7.5),
        ({"WATCHDOG_USEC": "15000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_watchdog_is_fed_twice_as_often_as_it_bites(
    environment: dict[str, str], seconds: float | None
) -> None:
    assert systemd.watchdog_interval(environment) == seconds
