"""``pipedtln teardown``: exactly what setup did, undone."""

from __future__ import annotations

import sys

import click


@click.command("teardown")
@click.option("--purge", is_flag=True, help="Remove the settings and the networks' weights too.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--after-stop",
    is_flag=True,
    hidden=True,
    help="For systemd: take the devices alone, unless the service is about to be back.",
)
def teardown(purge: bool, yes: bool, after_stop: bool) -> None:
    """Take away what setup made.

    Stops and removes the service, the devices and the drop-ins, and restores the default devices
    that setup changed. Files that you edited since stay, and are named.

    \b
    Examples:
      pipedtln teardown
      pipedtln teardown --purge --yes
    """
    if after_stop:
        _after_stop()
        return
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


def _after_stop() -> None:
    from pipedtln.errors import ServerError
    from pipedtln.install.aftermath import remove_left_devices, will_return

    if will_return():
        return
    try:
        removed = remove_left_devices()
    except ServerError:
        return  # the devices went with the server
    if removed:
        click.echo("removed DTLN Microphone and DTLN Speaker: the service has ended")
