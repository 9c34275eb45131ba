"""``pipedtln listen``: hear oneself as others do, a moment later."""

from __future__ import annotations

import signal

import click


@click.command(
    epilog="""\
\b
Examples:
  pipedtln listen              what you say comes back two seconds later
  pipedtln listen --delay 5    time for a whole sentence
  pipedtln bypass toggle       meanwhile, in a second terminal
"""
)
@click.option(
    "--delay",
    "delay_s",
    type=click.FloatRange(0.1, 30),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="How much later you hear what you say.",
)
@click.option(
    "--output",
    metavar="NAME",
    help="Where to play; by default the output that DTLN Speaker plays to.",
)
def listen(delay_s: float, output: str | None) -> None:
    """Hear yourself as others do, a moment later.

    Plays DTLN Microphone back until Ctrl-C. Use headphones: what loudspeakers play reaches the
    microphone and comes back again.
    """
    from pipedtln.control.client import BridgeClient, ask
    from pipedtln.listen import Listener, choose_ears

    status = ask(BridgeClient.status)
    ears = choose_ears(output or status.output or "auto")
    listener = Listener(ears, delay_s)
    # An orderly end is no failure, whoever asks for it.
    signal.signal(signal.SIGTERM, lambda *_: listener.stop())
    click.echo(f"You hear yourself on {ears}, {delay_s:g} s later. Ctrl-C ends it.", err=True)
    try:
        listener.run()
    except KeyboardInterrupt:
        click.echo(err=True)
