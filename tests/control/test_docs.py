"""docs/dbus.md describes the interface that is there."""

from __future__ import annotations

import re
from pathlib import Path

from pipedtln.control import introspection, properties, wire

TEXT = (Path(__file__).parents[2] / "docs" / "dbus.md").read_text()


def test_every_property_is_documented_as_it_is() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `([a-z{}]+)` \| (soon|slowly|never) \|", TEXT, re.MULTILINE)
    assert rows == [(entry.name, entry.signature, entry.tells) for entry in properties.ALL]


def test_every_method_and_signal_is_documented_with_its_types() -> None:
    for method in introspection.METHODS.values():
        row = re.search(rf"^\| `{method.name}` \|([^|]*)\|([^|]*)\|", TEXT, re.MULTILINE)
        assert row is not None, method.name
        types = [re.match(r" ?`(.*?)`", cell) for cell in row.groups()]
        assert [found[1] if found else "" for found in types] == [
            method.signature,
            method.returns,
        ]
    for signal in introspection.SIGNALS.values():
        assert f"| `{signal.name}` | `{signal.returns}` |" in TEXT


def test_the_names_are_the_documented_ones() -> None:
    for name in (wire.NAME, wire.PATH, wire.INTERFACE, wire.ERRORS):
        assert f"`{name}`" in TEXT
