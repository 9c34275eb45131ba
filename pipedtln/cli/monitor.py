"""``pipedtln monitor``: the live view in a terminal."""

from __future__ import annotations

import importlib.util
import sys

import click

from pipedtln.errors import InputError, PipedtlnError


@click.command(
    epilog="""\
\b
Keys:
  b bypass    m mute    + - strength    i microphone    n model    q quit

\b
Examples:
  pipedtln monitor
  ssh -t studio pipedtln monitor
"""
)
def monitor() -> None:
    """Watch levels and spectra live, and steer by keys.

    Works in any terminal of 80 by 24 characters or more, over ssh too. Waits for the service
    when it is not running.
    """
    if importlib.util.find_spec("textual") is None:
        raise PipedtlnError(
            "the monitor needs textual. Install it with: pip install 'pipedtln[monitor]'"
        )
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise InputError(
            "the monitor needs a terminal; for programs there is: pipedtln status --json"
        )
    from pipedtln.monitor.app import MonitorApp

    MonitorApp().run()
