"""Fixtures of the tests around the D-Bus interface."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.control.session import SessionBus


@pytest.fixture
def bus() -> Iterator[SessionBus]:
    """Start a private session bus."""
    with SessionBus() as session:
        yield session
