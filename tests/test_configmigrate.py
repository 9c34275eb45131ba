"""A file of an earlier release is understood at once, and rewritten when something writes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipedtln import configfile, configmigrate
from pipedtln.config import FORMAT, load
from pipedtln.configfile import read, save_key, upgrade
from pipedtln.configmigrate import Settings, rename
from pipedtln.errors import ConfigError

OLD = """\
# mine
version = 1

# how much of it
amount = 70  # percent
mic = "desk"
"""
NEW = """\
# mine
version = 2

# how much of it
strength = 70  # percent
mic = "desk"
"""


def amount_became_strength(settings: Settings) -> None:
    rename(settings, "amount", "strength")


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of format 1, before a release that reads format 2."""
    monkeypatch.setattr(configfile, "FORMAT", 2)
    monkeypatch.setitem(configmigrate.STEPS, 1, amount_became_strength)
    path = tmp_path / "config.toml"
    path.write_text(OLD)
    return path


def test_every_earlier_format_has_a_step() -> None:
    assert set(configmigrate.STEPS) == set(range(1, FORMAT))


def test_old_file_is_read_as_it_was_meant_and_left_alone(old: Path) -> None:
    assert read(old) == {"strength": 70, "mic": "desk"}
    assert load(old, environment={}).strength == 70
    assert old.read_text() == OLD


def test_upgrade_keeps_comments_and_the_old_file(old: Path) -> None:
    before = read(old)
    kept = upgrade(old)
    assert kept == old.with_name("config.toml.version-1")
    assert kept.read_text() == OLD
    assert sorted(old.read_text().splitlines()) == sorted(NEW.splitlines())
    assert read(old) == before
    assert upgrade(old) is None


def test_changing_a_key_upgrades_first(old: Path) -> None:
    save_key("strength", 50, old)
    assert read(old) == {"strength": 50, "mic": "desk"}
    assert "version = 2" in old.read_text()
    assert "# how much of it" in old.read_text()
    assert old.with_name("config.toml.version-1").read_text() == OLD


def test_broken_old_file_is_named_and_left_alone(old: Path) -> None:
    old.write_text(OLD.replace("70", "700"))
    with pytest.raises(ConfigError, match="strength"):
        upgrade(old)
    assert [path.name for path in old.parent.iterdir()] == ["config.toml"]


def test_file_without_a_version_is_of_this_format(old: Path) -> None:
    old.write_text("strength = 5\n")
    assert upgrade(old) is None
    assert read(old) == {"strength": 5}
