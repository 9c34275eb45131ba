"""``pipedtln devices``: what can be cleaned, what can be played to, and what is ours."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pipedtln.audio.cards import Card
    from pipedtln.devices.listing import Device


@click.command("devices")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--backend",
    type=click.Choice(["pulse", "portaudio"]),
    default="pulse",
    help="What carries the sound; portaudio lists the cards of a host without a sound server.",
)
def devices(as_json: bool, backend: str) -> None:
    """List microphones, outputs and pipedtln's own devices.

    A name from here is what --mic, --reference and --output, and the keys of the same names in
    the config file, take. A star marks the default.

    \b
    Examples:
      pipedtln devices
      pipedtln setup --mic NAME
      pipedtln devices --backend portaudio
    """
    if backend == "portaudio":
        _cards(as_json)
        return
    from pipedtln.audio.server import connect, server_info
    from pipedtln.devices.listing import list_sinks, list_sources

    with connect() as pulse:
        server = server_info(pulse)
        sources = list_sources(pulse, monitors=False)
        sinks = list_sinks(pulse)
    parts = {
        "microphones": [device for device in sources if not device.ours],
        "outputs": [device for device in sinks if not device.ours],
        "own": [device for device in [*sources, *sinks] if device.ours],
    }
    if as_json:
        told: dict[str, Any] = {"server": {"kind": server.kind, "version": server.version}}
        told.update({part: [_entry(one) for one in found] for part, found in parts.items()})
        click.echo(json.dumps(told, indent=2))
        return
    _print("Microphones", parts["microphones"], "none; plug one in")
    _print("Outputs", parts["outputs"], "none; plug one in")
    _print("pipedtln's own", parts["own"], "none; make them with: pipedtln setup")


def _cards(as_json: bool) -> None:
    from pipedtln.audio.cards import list_cards, refresh_cards

    refresh_cards()
    cards = list_cards()
    inputs = [card for card in cards if card.inputs]
    outputs = [card for card in cards if card.outputs]
    if as_json:
        told = {
            "server": {"kind": "portaudio"},
            "microphones": [_card_entry(card) for card in inputs],
            "outputs": [_card_entry(card) for card in outputs],
        }
        click.echo(json.dumps(told, indent=2))
        return
    for title, found, word in (("Inputs", inputs, "input"), ("Outputs", outputs, "output")):
        click.secho(title, bold=True)
        for card in found:
            default = card.is_default_input if word == "input" else card.is_default_output
            width = card.inputs if word == "input" else card.outputs
            click.echo(
                f"{'*' if default else ' '} {card.index:3}  {card.name}  "
                f"{width} channel{'s' * (width > 1)}, {card.sample_rate} Hz"
            )
        if not found:
            click.echo("  (none; plug one in)")
    if not any(card.is_loopback for card in cards):
        click.echo("No virtual microphone for apps; make one with: sudo modprobe snd-aloop")


def _card_entry(card: Card) -> dict[str, Any]:
    return {
        "index": card.index,
        "name": card.name,
        "hardware": card.hardware is not None,
        "loopback": card.is_loopback,
        "inputs": card.inputs,
        "outputs": card.outputs,
        "sample_rate": card.sample_rate,
    }


def _entry(device: Device) -> dict[str, Any]:
    return {
        "name": device.name,
        "description": device.description,
        "kind": device.kind,
        "default": device.is_default,
        "hardware": device.is_hardware,
        "available": device.available,
        "channels": device.channels,
    }


def _print(title: str, found: list[Device], nothing: str) -> None:
    # Plain lines: names are to be copied, and must neither wrap nor be cut.
    click.secho(title, bold=True)
    width = max((len(device.name) for device in found), default=0)
    for device in found:
        star = "*" if device.is_default else " "
        more = "" if device.channels < 3 else f", {device.channels} channels"
        more += "" if device.available else ", nothing plugged in"
        click.echo(f"{star} {device.name.ljust(width)}  {device.description}{more}")
    if not found:
        click.echo(f"  ({nothing})")
