"""config.toml on disk: where it lies, reading it with line numbers, changing one key in place."""

from __future__ import annotations

import re
from pathlib import Path

import platformdirs
import tomlkit
from tomlkit.exceptions import ParseError, TOMLKitError
from tomlkit.toml_document import TOMLDocument

from pipedtln.atomic import write_atomic
from pipedtln.config import FORMAT, KEYS, Value, check, find_key
from pipedtln.configmigrate import migrate
from pipedtln.errors import ConfigError

_HEAD = """\
# Settings of pipedtln. Change them here (then: systemctl --user reload pipedtln), or while it
# runs with "pipedtln set KEY VALUE". PIPEDTLN_<KEY> in the environment and command options win.
"""


def config_path() -> Path:
    """``$XDG_CONFIG_HOME/pipedtln/config.toml``."""
    return Path(platformdirs.user_config_path("pipedtln")) / "config.toml"


def default_text(values: dict[str, Value] | None = None) -> str:
    """The whole default file, every key with its explanation.

    Parameters
    ----------
    values : settings that differ from the defaults
    """
    parts = [_HEAD, f"version = {FORMAT}\n"]
    for key in KEYS.values():
        comment = key.help if not key.details else f"{key.help}\n{key.details}"
        if key.choices or key.minimum is not None:
            comment += f"\nValid: {key.expects}."
        lines = "".join(f"# {line}\n" for line in comment.splitlines())
        value = (values or {}).get(key.name, key.default)
        parts.append(f"\n{lines}{key.name} = {tomlkit.item(value).as_string()}\n")
    return "".join(parts)


def read(path: Path, *, must_exist: bool = True) -> dict[str, Value]:
    """The settings that a file names, checked.

    Raises
    ------
    ConfigError
        If the file cannot be read or used; it and the line are named.
    """
    text = _text(path, must_exist=must_exist)
    return {} if text is None else _settings(_document(path, text), path, text)


def save_key(name: str, value: Value, path: Path | None = None) -> None:
    """Set one key in the file and keep all else, comments included; makes the file if need be.

    Raises
    ------
    ConfigError
        If the key, the value or the file cannot be used, or the file cannot be written.
        The file is as it was then.
    """
    path = path or config_path()
    value = check(name, value)
    upgrade(path)
    text = _text(path, must_exist=False)
    if text is None:
        write_config(path, default_text({name: value}))
        return
    document = _document(path, text)
    if _settings(document, path, text).get(name) == value:
        return
    document[name] = value
    write_config(path, tomlkit.dumps(document))


def upgrade(path: Path) -> Path | None:
    """Bring a file of an earlier release to this one's format; comments stay.

    Returns
    -------
    Where the old file is kept, or None if there was nothing to do.

    Raises
    ------
    ConfigError
        If the file cannot be used or written; it is as it was then.
    """
    text = _text(path, must_exist=False)
    if text is None:
        return None
    document = _document(path, text)
    _settings(document, path, text)
    version = document.get("version", FORMAT)
    if version == FORMAT:
        return None
    kept = _kept(path, version)
    write_config(kept, text)
    migrate(document, version, FORMAT)
    document["version"] = FORMAT
    write_config(path, tomlkit.dumps(document))
    return kept


def kept_files(path: Path) -> list[Path]:
    """Files of earlier formats that :func:`upgrade` has kept beside this one."""
    places = (_kept(path, version) for version in range(1, FORMAT))
    return [place for place in places if place.is_file()]


def _kept(path: Path, version: int) -> Path:
    return path.with_name(f"{path.name}.version-{version}")


def write_config(path: Path, text: str) -> None:
    """Write the file whole.

    Raises
    ------
    ConfigError
    """
    try:
        write_atomic(path, text.encode())
    except OSError as error:
        raise ConfigError(
            f"cannot write {path}: {error.strerror or error}; check the folder's permissions "
            "and the free space"
        ) from error


def _text(path: Path, *, must_exist: bool) -> str | None:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        if not must_exist:
            return None
        raise ConfigError(f"no config file {path}; make one with: pipedtln setup") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(f"line {line} of {path} is not UTF-8; save the file as UTF-8") from error
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error


def _document(path: Path, text: str) -> TOMLDocument:
    try:
        return tomlkit.parse(text)
    except ParseError as error:
        reason = re.sub(r" at line \d+ col \d+$", "", str(error))
        raise ConfigError(f"line {error.line} of {path} is not TOML: {reason}") from error
    except TOMLKitError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error


def _settings(document: TOMLDocument, path: Path, text: str) -> dict[str, Value]:
    raw = dict(document.unwrap())
    version = raw.pop("version", FORMAT)
    if type(version) is not int or version < 1:
        raise ConfigError(f"version{_where(path, text, 'version')} must be {FORMAT}")
    if version > FORMAT:
        raise ConfigError(
            f"{path} was written by a newer pipedtln (version {version}, this one reads up to "
            f"{FORMAT}); upgrade pipedtln or move the file away"
        )
    migrate(raw, version, FORMAT)
    settings: dict[str, Value] = {}
    for name, value in raw.items():
        where = _where(path, text, name)
        find_key(name, where)
        settings[name] = check(name, value, where)
    return settings


def _where(path: Path, text: str, name: str) -> str:
    """The place of a key; tomlkit keeps no line numbers, so its first line is searched."""
    quoted = re.escape(name)
    pattern = rf"""^\s*\[*\s*["']?{quoted}["']?\s*[=.\]]"""
    for number, line in enumerate(text.splitlines(), start=1):
        if re.match(pattern, line):
            return f" on line {number} of {path}"
    return f" in {path}"
