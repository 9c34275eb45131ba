"""Makes a processor from a model's name."""

from __future__ import annotations

from pipedtln.dtln.canceller import EchoCanceller
from pipedtln.dtln.frames import BINS
from pipedtln.dtln.manifest import Manifest, Model, load_manifest
from pipedtln.dtln.onnx_runtime import OnnxRuntime, has_onnx_runtime
from pipedtln.dtln.runtime import LiteRuntime, Runtime
from pipedtln.dtln.store import Located, Store
from pipedtln.dtln.suppressor import NoiseSuppressor
from pipedtln.errors import ModelError
from pipedtln.processor import FRAME

AUTO = "auto"


def load_processor(
    name: str = AUTO,
    *,
    threads: int = 1,
    pipeline: bool = False,
    batch: int = 1,
    store: Store | None = None,
) -> NoiseSuppressor | EchoCanceller:
    """Make a streaming processor by model name.

    Parameters
    ----------
    name : a name of ``models/manifest.toml``, or ``"auto"``, see :func:`locate_model`
    threads : threads that one inference may use
    pipeline : use a second core at the price of one hop of delay
    batch : hops to be ready for at once, too, if the model can: 1, 2 or 4; more than 1 takes its
        size in memory again
    store : where the weights are; by default ``$PIPEDTLN_MODELS_DIR``, then the user's cache

    Raises
    ------
    ModelError
        If the name is unknown, its weights are not on this machine or no runtime is installed.
    """
    located = locate_model(name, store=store)
    return make_processor(located, threads=threads, pipeline=pipeline, batch=batch)


def locate_model(
    name: str = AUTO, *, reference: bool | None = None, store: Store | None = None
) -> Located:
    """Find a model's weights, and for ``"auto"`` choose the model first.

    Parameters
    ----------
    name : a name of ``models/manifest.toml``; ``"auto"`` is the first of the manifest's ``auto``
        list that is on this machine and has its runtime: an echo canceller if there is one (256
        units before 512 and 128, row8 before block8 before int8 before float), else a noise
        suppressor
    reference : whether there is a loudspeaker signal; False makes ``"auto"`` choose a noise
        suppressor where there is one. A name of its own is taken as it is.

    Raises
    ------
    ModelError
        If the name is unknown or the weights are not on this machine.
    """
    manifest = load_manifest()
    store = store or Store.from_environment()
    if name != AUTO:
        return store.require(manifest.model(name))
    for candidate in _auto_order(manifest, reference):
        model = manifest.model(candidate)
        located = store.find(model) if _runs_here(model) else None
        if located is not None:
            return located
    raise ModelError("no weights are on this machine. Get them with: pipedtln models fetch")


def make_processor(
    located: Located,
    *,
    threads: int = 1,
    pipeline: bool = False,
    batch: int = 1,
    runtime: Runtime | None = None,
) -> NoiseSuppressor | EchoCanceller:
    """Load both stages of a model.

    Raises
    ------
    ModelError
        If no runtime is installed or the files do not fit the model.
    """
    runtime = runtime or _runtime_of(located.model)
    first, second = located.files
    heard = 2 if located.model.kind == "aec" else 1
    batch = 1 if pipeline else batch
    masks = runtime.stage(first, (BINS,) * heard, BINS, threads=threads, batch=batch)
    frames = runtime.stage(second, (FRAME,) * heard, FRAME, threads=threads, batch=batch)
    kind = EchoCanceller if located.model.kind == "aec" else NoiseSuppressor
    return kind(masks, frames, pipeline=pipeline)


def _runtime_of(model: Model) -> Runtime:
    return OnnxRuntime() if model.precision == "block8" else LiteRuntime()


def _runs_here(model: Model) -> bool:
    return model.precision != "block8" or has_onnx_runtime()


def _auto_order(manifest: Manifest, reference: bool | None) -> list[str]:
    if reference is not False:
        return list(manifest.auto)
    # sorted() is stable: each kind keeps the manifest's order.
    return sorted(manifest.auto, key=lambda name: manifest.models[name].kind != "ns")
