"""``pipedtln setup``: from an installed package to a microphone that apps can choose."""

from __future__ import annotations

import sys

import click

from pipedtln.cli.options import config_options


@click.command("setup")
@config_options("mic", "mic_channel", "reference", "output", "model", "backend")
@click.option("--set-default", is_flag=True, help="Make both devices what apps use by default.")
@click.option("--tray", is_flag=True, help="Show it in the desktop's tray at every login.")
@click.option("--no-service", is_flag=True, help="Do not install or start the service.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
def setup(
    set_default: bool,
    tray: bool,
    no_service: bool,
    yes: bool,
    dry_run: bool,
    **settings: str | None,
) -> None:
    """Make DTLN Microphone and start it at every login.

    Can be run again at any time: after an upgrade, after an interruption, to change an option.
    'pipedtln teardown' undoes exactly what it did.

    \b
    Examples:
      pipedtln setup
      pipedtln setup --set-default --yes
      pipedtln setup --tray
      pipedtln setup --mic alsa_input.usb-Mic-00.mono --reference none
    """
    from pipedtln.cli.tell import ConsoleTeller
    from pipedtln.config import from_options
    from pipedtln.install import story
    from pipedtln.install.step import Wish

    wish = Wish(from_options(settings), set_default=set_default, service=not no_service, tray=tray)
    teller = ConsoleTeller()
    if dry_run or (not yes and sys.stdin.isatty()):
        click.echo("Setup would:" if dry_run else "Setup will:")
        for text in story.rehearse(wish, teller):
            click.echo(f"  - {text}")
    if dry_run:
        return
    if not yes and sys.stdin.isatty():
        click.confirm("Go on?", default=True, abort=True)
    scene = story.setup(wish, teller)
    if scene.config.backend == "portaudio":
        click.echo("\nApps record the other end of the output, of snd-aloop: plughw:Loopback,1")
        return
    where = "is the default" if wish.set_default else "can be chosen in any app, named so"
    click.echo(f'\nDTLN Microphone {where}. To cancel echo, play through "DTLN Speaker".')
    if not wish.service or not any(deed["kind"] == "started" for deed in scene.journal.deeds):
        click.echo("It is silent until the service runs: pipedtln run")
    else:
        click.echo("See how it does: pipedtln status.  Undo all: pipedtln teardown")
