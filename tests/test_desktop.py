"""The desktop entry and the icon are well formed and fit each other and the program."""

from __future__ import annotations

import configparser
from xml.etree import ElementTree as ET

from pipedtln.cli.main import COMMANDS
from pipedtln.resources import resource

NAME = "io.github.pipedtln"


def test_the_tray_starts_with_the_desktop() -> None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(resource("desktop", f"{NAME}.tray.desktop"), encoding="utf-8")
    assert parser["Desktop Entry"]["Exec"] == "pipedtln tray"
    assert "tray" in COMMANDS


def test_the_desktop_entry_starts_commands_that_exist() -> None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(resource("desktop", f"{NAME}.desktop"), encoding="utf-8")
    entry = parser["Desktop Entry"]
    assert entry["Type"] == "Application"
    assert entry["Terminal"] == "true"
    assert entry["Icon"] == NAME
    actions = [action for action in entry["Actions"].split(";") if action]
    sections = [entry, *(parser[f"Desktop Action {action}"] for action in actions)]
    assert len(parser.sections()) == len(sections)
    for section in sections:
        program, command, *_ = section["Exec"].split()
        assert program == "pipedtln"
        assert command in COMMANDS
        assert section["Name"]


def test_the_icon_is_a_square_svg_that_loads_nothing() -> None:
    root = ET.parse(resource("desktop", f"{NAME}.svg")).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("viewBox") == "0 0 128 128"
    assert root.get("width") == root.get("height") == "128"
    allowed = {"svg", "title", "rect", "path"}
    assert {element.tag.split("}")[1] for element in root.iter()} <= allowed
