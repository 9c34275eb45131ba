"""The settings of the bridge: typed, with defaults; read from TOML, environment and options."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import cast

from pipedtln.errors import ConfigError

FORMAT = 1
"""Value of the file's ``version`` key that this release reads and writes."""

ENV_PREFIX = "PIPEDTLN_"


@dataclass(frozen=True)
class Config:
    """Every setting, in the words of config.toml.

    ``mic``: ``"auto"`` (follows the default source) or a source's name.
    ``mic_channel``: ``"auto"`` (the mix of all its channels) or a number, ``"-1"`` for the last.
    ``reference``: ``"auto"`` (monitor of the default sink), ``"speaker"`` (monitor of DTLN
    Speaker), a sink's name, ``"channel:-1"`` (a channel of the microphone) or ``"none"``.
    ``output``: where DTLN Speaker plays to: ``"auto"`` or a sink's name.
    ``model``: a name of ``models/manifest.toml`` or ``"auto"``.
    ``strength``: 0-100 %, how much of what the network removes stays out.
    """

    mic: str = "auto"
    mic_channel: str = "auto"
    reference: str = "auto"
    output: str = "auto"
    model: str = "auto"
    strength: int = 100
    bypass: bool = False
    muted: bool = False
    threads: int = 1
    pipeline: bool = False
    backend: str = "auto"
    latency: str = "balanced"
    latency_ms: int = 40
    log_level: str = "info"
    notifications: bool = True


Value = str | int | bool


@dataclass(frozen=True)
class Key:
    """What is known about one setting; validation, default file, options and docs read this."""

    name: str
    type: type[str] | type[int] | type[bool]
    default: Value
    help: str
    """One sentence, used by ``--help`` too."""
    details: str = ""
    """More for the default file and the documentation."""
    choices: tuple[str, ...] = ()
    minimum: int | None = None
    maximum: int | None = None
    shape: Callable[[str], str | None] | None = None
    """Says what is wrong with a text, or None."""

    @property
    def option(self) -> str:
        """Name of the command-line option, without a value."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """Name of the environment variable."""
        return ENV_PREFIX + self.name.upper()

    @property
    def expects(self) -> str:
        """The valid values in words."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if self.type is bool:
            return "true or false"
        if self.type is int:
            return f"a whole number from {self.minimum} to {self.maximum}"
        return "a text in quotes"


_OWN_SOURCES = frozenset(
    {"pipedtln_microphone", "pipedtln_out.monitor", "pipedtln_speaker.monitor"}
)
_OWN_SINKS = frozenset({"pipedtln_speaker", "pipedtln_out"})


def _name(text: str) -> str | None:
    if not text.strip():
        return 'is empty; use a name that "pipedtln devices" lists, or "auto"'
    if text != text.strip() or not text.isprintable() or len(text) > 512:
        return 'is no device name; "pipedtln devices" lists them'
    return None


def _mic(text: str) -> str | None:
    if text in _OWN_SOURCES:
        return 'would feed pipedtln its own sound; use a real microphone or "auto"'
    return _name(text)


def _mic_channel(text: str) -> str | None:
    if text != "auto" and not re.fullmatch(r"-?\d{1,3}", text):
        return 'is no channel; write "auto", or "0" for the first or "-1" for the last one'
    return None


def _output(text: str) -> str | None:
    if text in _OWN_SINKS:
        return 'would play DTLN Speaker into itself; use a real output or "auto"'
    return _name(text)


def _reference(text: str) -> str | None:
    if text.startswith("channel:") and not re.fullmatch(r"channel:-?\d{1,3}", text):
        return 'is no channel; write "channel:" and a number, as in "channel:-1"'
    if text in _OWN_SOURCES or text == "pipedtln_out":
        return 'is pipedtln\'s own device; use "speaker" for DTLN Speaker'
    return _name(text)


def _model(text: str) -> str | None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", text):
        return 'is no model name; "pipedtln models list" shows them'
    return None


def _defaults() -> dict[str, Value]:
    return {field.name: cast(Value, field.default) for field in fields(Config)}


def _keys() -> dict[str, Key]:
    default = _defaults()

    def key(
        name: str,
        help_: str,
        details: str = "",
        *,
        choices: tuple[str, ...] = (),
        between: tuple[int, int] | None = None,
        shape: Callable[[str], str | None] | None = None,
    ) -> Key:
        low, high = between or (None, None)
        value = default[name]
        return Key(name, type(value), value, help_, details, choices, low, high, shape)

    keys = [
        key(
            "mic",
            "Microphone to clean: auto (follows the default) or a source's name.",
            'Names: pipedtln devices. "auto" never takes one of pipedtln\'s own devices.',
            shape=_mic,
        ),
        key(
            "mic_channel",
            "Channel of the microphone to clean: auto or a number, 0 for the first.",
            '"auto": the mix of all; the first besides the reference where that is a channel too.\n'
            'Negative counts from the end: "-1" is the last.',
            shape=_mic_channel,
        ),
        key(
            "reference",
            "Echo to cancel: auto, speaker, none, channel:N or the name of a sink.",
            '"auto": whatever goes to the default output.\n'
            '"speaker": only what is played to DTLN Speaker.\n'
            '"channel:-1": a channel of the microphone itself, on cards with a hardware loopback\n'
            "(negative counts from the end).\n"
            '"none": no echo cancellation, noise suppression only.',
            shape=_reference,
        ),
        key(
            "output",
            "Where DTLN Speaker plays to: auto or a sink's name.",
            shape=_output,
        ),
        key(
            "model",
            "Network to use: auto or a name that 'pipedtln models list' shows.",
            '"auto": echo cancellation with a reference, else noise suppression.',
            shape=_model,
        ),
        key(
            "strength",
            "How much of what the network removes stays out, in percent.",
            "100 is all; lower lets some of the room through.",
            between=(0, 100),
        ),
        key("bypass", "Let the microphone through unprocessed.", "The latency stays the same."),
        key("muted", "Send silence."),
        key(
            "threads",
            "Threads that one inference may use.",
            "1 is the best choice on nearly every machine.",
            between=(1, 64),
        ),
        key(
            "pipeline",
            "Use two cores for one network, one hop (8 ms) later: for slow boards.",
            "The second stage of one hop runs beside the first of the next.",
        ),
        key(
            "backend",
            "What carries the sound: auto, pulse (PulseAudio and PipeWire), pipewire or portaudio.",
            '"auto": pulse; portaudio if no server answers for ten seconds and cards for\n'
            'microphone and output are there, until a server answers after all. "pipewire":\n'
            "PipeWire's own graph, a shorter way than through its pulse server.",
            choices=("auto", "pulse", "pipewire", "portaudio"),
        ),
        key(
            "latency",
            "What counts more: a short way (low), few wake-ups (saver), or both (balanced).",
            "Sound is handled every 8 (low), 16 (balanced) or 32 ms (saver). A longer period\n"
            "saves power, for several hops go through a network at once, and stands more load;\n"
            "the voice arrives that much later.",
            choices=("low", "balanced", "saver"),
        ),
        key(
            "latency_ms",
            "What a sound card is asked to buffer, in milliseconds; portaudio only.",
            between=(5, 1000),
        ),
        key(
            "log_level",
            "How much to log.",
            choices=("debug", "info", "warning", "error"),
        ),
        key(
            "notifications",
            "Tell on the desktop when the microphone goes through unprocessed or is lost.",
            "Only what lasts longer than 5 s is told, and each at most once in ten minutes.",
        ),
    ]
    return {key.name: key for key in keys}


KEYS: Mapping[str, Key] = MappingProxyType(_keys())
"""Every setting by name, in the order of the default file."""


def find_key(name: str, where: str = "") -> Key:
    """The key of that name.

    Raises
    ------
    ConfigError
        With the nearest valid key; ``where`` goes before the advice (" on line 3 of ...").
    """
    if name in KEYS:
        return KEYS[name]
    near = difflib.get_close_matches(name.replace("-", "_").lower(), KEYS, n=1)
    advice = f"did you mean '{near[0]}'?" if near else "valid keys: " + ", ".join(KEYS)
    raise ConfigError(f"unknown key '{name}'{where}; {advice}")


def check(name: str, value: object, where: str = "") -> Value:
    """A value that may go into :class:`Config`.

    Parameters
    ----------
    value : exactly of the key's type; texts are for :func:`parse`
    where : names the place in errors, with a leading blank

    Raises
    ------
    ConfigError
        If the key is unknown or the value has the wrong type, range or shape.
    """
    key = find_key(name, where)
    if type(value) is not key.type and not (key.type is str and isinstance(value, str)):
        raise ConfigError(f"{name}{where} must be {key.expects}, not {value!r}")
    if isinstance(value, str):
        value = str(value)
        if key.choices and value not in key.choices:
            near = difflib.get_close_matches(value.lower(), key.choices, n=1)
            advice = f"; did you mean '{near[0]}'?" if near else ""
            raise ConfigError(f"{name}{where} must be {key.expects}, not '{value}'{advice}")
        wrong = key.shape(value) if key.shape else None
        if wrong:
            raise ConfigError(f"{name} = '{value}'{where} {wrong}")
        return value
    assert isinstance(value, int)
    low, high = key.minimum, key.maximum
    if (low is not None and value < low) or (high is not None and value > high):
        raise ConfigError(f"{name}{where} must be {key.expects}, not {value}")
    return value


_WORDS = {
    "true": True, "on": True, "yes": True, "1": True,
    "false": False, "off": False, "no": False, "0": False,
}  # fmt: skip


def parse(name: str, text: str, where: str = "") -> Value:
    """A value from a text of the command line or the environment.

    Raises
    ------
    ConfigError
    """
    key = find_key(name, where)
    if key.type is bool:
        word = _WORDS.get(text.strip().lower())
        if word is None:
            raise ConfigError(f"{name}{where} must be on or off, not '{text}'")
        return word
    if key.type is int:
        try:
            return check(name, int(text.strip().removesuffix("%")), where)
        except ValueError:
            raise ConfigError(f"{name}{where} must be {key.expects}, not '{text}'") from None
    return check(name, text, where)


def from_environment(environment: Mapping[str, str]) -> dict[str, Value]:
    """The settings in ``PIPEDTLN_<KEY>`` variables; other and empty variables are left alone.

    Raises
    ------
    ConfigError
    """
    return {
        key.name: parse(key.name, environment[key.variable], f" (from {key.variable})")
        for key in KEYS.values()
        if environment.get(key.variable)
    }


def from_options(options: Mapping[str, object]) -> dict[str, Value]:
    """The settings given as command options; None means not given.

    Raises
    ------
    ConfigError
    """
    return {
        name: check(name, value, f" (from {find_key(name).option})")
        for name, value in options.items()
        if value is not None
    }


def resolve(*layers: Mapping[str, Value]) -> Config:
    """Defaults overlaid by each layer in turn; the last one that names a key wins."""
    values = _defaults()
    for layer in layers:
        values.update(layer)
    return Config(**values)  # type: ignore[arg-type]  # check() has seen every value


def load(
    path: Path | None = None,
    environment: Mapping[str, str] | None = None,
    options: Mapping[str, object] | None = None,
) -> Config:
    """The settings in force: file, then environment, then options; later ones win.

    Parameters
    ----------
    path : the file; by default :func:`pipedtln.configfile.config_path`, which may not exist yet
    environment : by default the process's own
    options : by key; None values count as not given

    Raises
    ------
    ConfigError
        If any of them is wrong; the file and line, variable or option is named.
    """
    from pipedtln.configfile import config_path, read

    return resolve(
        read(path or config_path(), must_exist=path is not None),
        from_environment(os.environ if environment is None else environment),
        from_options(options or {}),
    )
