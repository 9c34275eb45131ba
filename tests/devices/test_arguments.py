"""Argument texts of modules, as servers and users write them."""

from __future__ import annotations

import pytest

from pipedtln.devices.arguments import is_owned, parse, properties
from pipedtln.devices.names import MICROPHONE, OUTPUT, SPEAKER
from pipedtln.devices.parts import (
    MICROPHONE_PART,
    OUTPUT_PART,
    SPEAKER_PART,
    loopback_part,
    role_of,
)

OWNED = 'pipedtln.owner="pipedtln"'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sink_name=a rate=48000", {"sink_name": "a", "rate": "48000"}),
        ("  a=1\t b=2\n", {"a": "1", "b": "2"}),
        ("p='k=\"A B\" j=2' q=3", {"p": 'k="A B" j=2', "q": "3"}),
        ("p=\"k='A B'\"", {"p": "k='A B'"}),
        (r"a=b\ c d='it\'s'", {"a": "b c", "d": "it's"}),
        ("a= b=''", {"a": "", "b": ""}),
        ("word a=1", {"a": "1"}),
        ("a='open", {"a": "open"}),
        ("a=1 a=2", {"a": "2"}),
        ("{ key = [ ] }", {}),
        ("", {}),
        (None, {}),
    ],
)
def test_parse_reads_as_the_servers_do(text: str | None, expected: dict[str, str]) -> None:
    assert parse(text) == expected


def test_properties_round_trip_and_bear_the_owner() -> None:
    text = properties({"device.description": "A B"})
    inner = parse(f"sink_properties={text}")
    assert parse(inner["sink_properties"]) == {
        "device.description": "A B",
        "pipedtln.owner": "pipedtln",
    }
    assert is_owned(inner)


@pytest.mark.parametrize(
    "part", [SPEAKER_PART, OUTPUT_PART, MICROPHONE_PART, loopback_part("alsa_output.pci")]
)
def test_each_part_is_told_by_its_own_text(part: object) -> None:
    assert role_of(part.module, part.arguments) == part.role  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("module", "argument"),
    [
        ("module-null-sink", f"sink_name={SPEAKER}2 sink_properties='{OWNED}'"),
        ("module-null-sink", f"sink_name=my_{SPEAKER} sink_properties='{OWNED}'"),
        ("module-null-sink", f"sink_name={SPEAKER}"),
        ("module-null-sink", f"sink_name={OUTPUT} sink_properties='pipedtln.owner=\"someone\"'"),
        ("module-null-sink", f"sink_name={OUTPUT} sink_properties='x.pipedtln.owner=\"pipedtln\"'"),
        (
            "module-null-sink",
            f"sink_name={OUTPUT} sink_properties='device.description=\"{OWNED[:-1]}\"'",
        ),
        ("module-remap-sink", f"sink_name={SPEAKER} sink_properties='{OWNED}'"),
        ("module-remap-source", f"source_name={MICROPHONE}.2 source_properties='{OWNED}'"),
        (
            "module-loopback",
            f"source={SPEAKER}2.monitor sink=x source_output_properties='{OWNED}'",
        ),
        ("module-loopback", f"source={SPEAKER}.monitor sink=x"),
        ("libpipewire-module-access", "{ access.allowed = [ pipedtln ] }"),
        ("module-always-sink", None),
    ],
)
def test_modules_of_others_are_not_ours(module: str, argument: str | None) -> None:
    assert role_of(module, argument) is None
