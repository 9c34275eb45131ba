"""The exceptions of pipedtln, each with the exit code that the command line gives it.

PipedtlnError                   1   anything of ours
├── InputError                  2   a file or a value the user gave
│   └── ConfigError             2   the config file, an option or a PIPEDTLN_ variable
├── BlockShapeError             2   a block of the wrong shape or dtype (a caller's bug)
├── ServiceError                3   the service is not running, or another one is
├── ServerError                 4   no audio server answers, or it refused
├── ModelError                  5   weights unknown, missing, wrong or not to be had
├── DeviceError                 6   a microphone, loudspeaker or virtual device
│   └── DeviceNotFoundError     6   no device of that name
└── InstallError                7   setup or teardown could not do a step

Exit code 130 is an interruption (Ctrl-C), 143 is SIGTERM; 70 is a bug, an exception that nobody
foresaw; 0 is success.
Every message is one line that says what, which, and what to do next.
"""

from __future__ import annotations


class PipedtlnError(Exception):
    """Base of all errors that pipedtln raises on purpose."""

    exit_code = 1


class InputError(PipedtlnError):
    """A file or value given by the user cannot be used."""

    exit_code = 2


class ConfigError(InputError):
    """The configuration cannot be used; names the file and line where there is one."""


class BlockShapeError(PipedtlnError):
    """A block of samples has the wrong shape or dtype."""

    exit_code = 2


class ServiceError(PipedtlnError):
    """The service is not running, or a second one was started."""

    exit_code = 3


class ServerError(PipedtlnError):
    """No audio server answers, or it refused a request."""

    exit_code = 4


class ModelError(PipedtlnError):
    """A model is unknown, or its weights are missing, wrong or not to be had."""

    exit_code = 5


class DeviceError(PipedtlnError):
    """A microphone, a loudspeaker or a virtual device cannot be used."""

    exit_code = 6


class DeviceNotFoundError(DeviceError):
    """No device of that name."""


class InstallError(PipedtlnError):
    """A step of setup or teardown failed."""

    exit_code = 7
