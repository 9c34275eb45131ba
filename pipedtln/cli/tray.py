"""``pipedtln tray``: an item in the desktop's tray."""

from __future__ import annotations

import asyncio
import signal

import click


@click.command(
    epilog="""\
\b
Mouse:
  left or right button   menu: bypass, mute, strength, microphone
  middle button          bypass on or off
  wheel                  strength

\b
Examples:
  pipedtln tray                  until Ctrl-C or its last entry
  pipedtln setup --tray          at every login
"""
)
def tray() -> None:
    """Show and steer it in the desktop's tray.

    Works with every desktop that shows StatusNotifierItems: KDE Plasma, Xfce, LXQt, Cinnamon,
    MATE, waybar; GNOME with the AppIndicator extension. Where the tray comes later it is waited
    for.
    """
    from pipedtln.tray.app import Tray

    async def run() -> None:
        item = Tray()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, item.stop)
        await item.run()

    asyncio.run(run())
