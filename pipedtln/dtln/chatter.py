"""Keeps the runtime's greeting off the user's terminal."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Iterator

_STDERR = 2

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def greeting_logged() -> Iterator[None]:
    """Log lines at level INFO that native code writes to standard error meanwhile, as debug.

    The runtime greets on the descriptor itself, below Python, and has no switch for it. All other
    lines, including those of other threads, go where they were meant to go, at the end.
    """
    with tempfile.TemporaryFile() as caught:
        try:
            kept = os.dup(_STDERR)
        except OSError:  # there is no standard error
            yield
            return
        os.dup2(caught.fileno(), _STDERR)
        try:
            yield
        finally:
            os.dup2(kept, _STDERR)
            os.close(kept)
            caught.seek(0)
            for line in caught:
                if line.startswith(b"INFO: "):
                    _log.debug("%s", line.decode(errors="replace").strip())
                else:
                    os.write(_STDERR, line)
