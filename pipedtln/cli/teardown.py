"""``pipedtln teardown``: exactly what setup did, undone."""

from __future__ import annotations

import sys

import click


@click.command("teardown")
@click.option("--purge", is_flag=True, help="Remove the settings and the networks' weights too.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def teardown(purge: bool, yes: bool) -> None:
    """Take away what setup made.

    Stops and removes the service, the devices and the drop-ins, and restores the default devices
    that setup changed. Files that you edited since stay, and are named.

    \b
    Examples:
      pipedtln teardown
      pipedtln teardown --purge --yes
    """
    from pipedtln.cli.tell import ConsoleTeller
    from pipedtln.install import story
    from pipedtln.install.step import Wish

    if not yes and sys.stdin.isatty():
        click.confirm(
            "Remove DTLN Microphone" + (", all settings and weights?" if purge else "?"),
            default=True,
            abort=True,
        )
    if story.teardown(Wish(purge=purge), ConsoleTeller()):
        click.echo("\nAll is as it was before setup." if purge else "\nDone.")
    else:
        click.echo("\nThere was nothing to undo.")
