"""``pipedtln run``: the service in the foreground."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

import click

from pipedtln.cli.options import config_file_option, config_options
from pipedtln.config import load

LEVEL_PREFIX = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}


@click.command(
    epilog="""\b
Examples:
  pipedtln run                            as systemd does, until Ctrl-C
  pipedtln run --mic alsa_input.usb-Mic   clean this microphone
  pipedtln run --reference none           noise only, no echo
  pipedtln run --remove-devices-on-exit   leave nothing behind
"""
)
@click.option(
    "--remove-devices-on-exit",
    "remove_devices",
    is_flag=True,
    help="Take DTLN Microphone and DTLN Speaker away at the end.",
)
@click.option(
    "--measure", is_flag=True, help="Print each second what one hop of 8 ms costs this machine."
)
@config_options()
@config_file_option
def run(remove_devices: bool, measure: bool, config_file: Path | None, **options: Any) -> None:
    """Run the service in the foreground.

    Waits for the audio server, makes or adopts the virtual devices, and cleans the microphone
    while an app records DTLN Microphone. The devices stay when it ends, so that apps keep their
    choice.
    """
    from pipedtln.service.bridge import Bridge
    from pipedtln.service.lock import InstanceLock

    config = load(config_file, options=options)
    _log_to_stderr(config.log_level)
    lock = InstanceLock()
    lock.acquire()
    try:
        bridge = Bridge(
            config,
            reload_config=lambda: load(config_file, options=options),
            config_path=config_file,
            remove_devices=remove_devices,
        )
        asyncio.run(_serve(bridge, measure=measure))
    finally:
        lock.release()


async def _serve(bridge: Any, *, measure: bool = False) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, bridge.stop)
    reloads: set[asyncio.Task[None]] = set()

    def reload() -> None:
        task = loop.create_task(_reload(bridge))
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGHUP, reload)
    measuring = loop.create_task(_measure(bridge)) if measure else None
    try:
        await bridge.run()
    finally:
        if measuring is not None:
            measuring.cancel()


async def _measure(bridge: Any) -> None:
    """Print what the bridge costs, a line each second, while it runs a network."""
    from pipedtln.processor import HOP, SAMPLE_RATE

    hop_ms = 1000 * HOP / SAMPLE_RATE
    while True:
        await asyncio.sleep(1.0)
        status = bridge.status()
        if not status.load:
            click.echo(f"{status.state}: no network runs")
            continue
        click.echo(
            f"{status.model}: {status.load['mean'] * hop_ms:.2f} ms a hop of {hop_ms:g} ms, "
            f"99 % below {status.load['p99'] * hop_ms:.2f} ms; {status.xruns} xruns, "
            f"{status.dropped_hops} hops dropped"
        )


async def _reload(bridge: Any) -> None:
    from pipedtln.errors import ConfigError

    try:
        await bridge.reload()
    except ConfigError as error:
        logging.getLogger(__name__).error("the old settings stay in force: %s", error)


class _JournalFormatter(logging.Formatter):
    """Prefixes lines with the priority that the journal understands."""

    def format(self, record: logging.LogRecord) -> str:
        return f"<{LEVEL_PREFIX.get(record.levelno, 5)}>{super().format(record)}"


def _log_to_stderr(level: str) -> None:
    from pipedtln.service.journal import Sparing

    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(Sparing())
    if os.environ.get("JOURNAL_STREAM"):
        handler.setFormatter(_JournalFormatter("%(message)s"))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=level.upper(), handlers=[handler])
    logging.getLogger("dbus_fast").setLevel(logging.WARNING)
