"""Fixtures that give a test a real, private audio server (a pytest plugin).

``pulseaudio`` and ``pipewire`` start one of a kind; ``server`` runs the test on both. A server that
is not installed is a failure, not a skip.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipedtln.demo.servers import PrivatePipeWire, PrivatePulseAudio, PrivateServer

KINDS: dict[str, type[PrivateServer]] = {
    "pulseaudio": PrivatePulseAudio,
    "pipewire": PrivatePipeWire,
}


def require(kind: str) -> type[PrivateServer]:
    """Return the class of a kind of server, or fail the test when it is not installed."""
    cls = KINDS[kind]
    missing = cls.missing_packages()
    if missing:
        pytest.fail(
            f"{kind} is not installed (packages: {' '.join(missing)}); run scripts/test, "
            "which installs it",
            pytrace=False,
        )
    return cls


@pytest.fixture
def pulseaudio() -> Iterator[PrivateServer]:
    """Start a private PulseAudio with ``fake_speaker`` and ``fake_mic``."""
    with require("pulseaudio")() as server:
        yield server


@pytest.fixture
def pipewire() -> Iterator[PrivateServer]:
    """Start a private PipeWire with ``fake_speaker`` and ``fake_mic``."""
    with require("pipewire")() as server:
        yield server


@pytest.fixture(params=[pytest.param(kind, marks=getattr(pytest.mark, kind)) for kind in KINDS])
def server(request: pytest.FixtureRequest) -> Iterator[PrivateServer]:
    """Start a private server; the test runs once on each kind."""
    with require(str(request.param))() as private:
        yield private


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that ask for one kind by name, as ``server`` marks its own."""
    for item in items:
        for kind in KINDS:
            if kind in getattr(item, "fixturenames", ()):
                item.add_marker(kind)
