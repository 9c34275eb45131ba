"""The networks: whether their weights are here and whole, and how fast they run on this machine."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from pipedtln.config import Config
from pipedtln.doctor.finding import Finding, ok, problem, warning
from pipedtln.dtln.loader import AUTO, locate_model, make_processor
from pipedtln.dtln.manifest import load_manifest
from pipedtln.dtln.runtime import LiteRuntime
from pipedtln.dtln.store import Store

_TRIAL_HOPS = 150
_WARM_UP_HOPS = 20


class NetworkChecks:
    """Checks of what infers."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def models(self) -> Iterator[Finding]:
        """Which models are on this machine, by their hashes."""
        manifest, store = load_manifest(), Store.from_environment()
        present = [name for name, model in manifest.models.items() if store.find(model)]
        wanted = self._config.model
        if wanted != AUTO and wanted not in present:
            manifest.model(wanted)  # an unknown name is a ModelError that lists the known ones
            yield problem(
                "models",
                f"the weights of {wanted} are missing or damaged",
                f"pipedtln models fetch {wanted}",
            )
        elif not present:
            yield problem("models", "no weights are on this machine", "pipedtln models fetch")
        else:
            yield ok("models", f"{', '.join(present)}: hashes right")
        missing = [name for name in manifest.default if name not in present]
        if present and wanted == AUTO and missing:
            yield warning(
                "models",
                f"{', '.join(missing)} would give auto more to choose from",
                "pipedtln models fetch",
            )

    def runtime(self) -> Iterator[Finding]:
        """What runs the networks."""
        yield ok("runtime", LiteRuntime().name)

    def speed(self) -> Iterator[Finding]:
        """What one hop takes, as a share of the time there is."""
        located = locate_model(self._config.model)
        processor = make_processor(located, threads=self._config.threads)
        random = np.random.default_rng(1)
        mic, ref = (
            (0.1 * random.standard_normal(processor.hop)).astype(np.float32) for _ in range(2)
        )
        out = np.empty_like(mic)
        took = np.empty(_TRIAL_HOPS)
        for hop in range(-_WARM_UP_HOPS, _TRIAL_HOPS):
            begin = time.perf_counter()
            processor.process(mic, ref, out)
            if hop >= 0:
                took[hop] = time.perf_counter() - begin
        shares = took * processor.sample_rate / processor.hop
        mean, worst = float(shares.mean()), float(np.percentile(shares, 99))
        says = (
            f"{located.model.name}: a hop takes {mean:.1%} of the time there is, "
            f"{worst:.1%} at worst (99th percentile)"
        )
        if mean > 0.8:
            yield problem("speed", says, "pipedtln set model ns-int8")
        elif worst > 0.8:
            yield warning("speed", says, "close what keeps the processor busy, or a smaller model")
        else:
            yield ok("speed", says)
