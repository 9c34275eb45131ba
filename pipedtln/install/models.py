"""The step that brings the networks' weights onto this machine."""

from __future__ import annotations

from pipedtln.dtln.fetch import fetch_models
from pipedtln.dtln.loader import AUTO
from pipedtln.dtln.manifest import load_manifest
from pipedtln.dtln.store import Store
from pipedtln.install.journal import remove_folders
from pipedtln.install.prepare import remove_tree
from pipedtln.install.step import Scene, Step, Voice


class FetchModels(Step):
    """The weights that the settings ask for, fetched where they are missing."""

    name = "models"
    title = "Fetch the networks' weights"
    undo_title = "Weights"

    def describe(self, scene: Scene) -> str:
        """Which of them would be fetched."""
        missing = _missing(scene)
        return f"fetch {', '.join(missing)}" if missing else "use the weights that are here"

    def do(self, scene: Scene) -> str:
        """Fetch what is missing; what is here is recognised by its hash."""
        if not _missing(scene):
            return "they are here"
        store = Store.from_environment()
        scene.journal.note({"kind": "models", "name": str(store.cache), "step": self.name})
        manifest, wanted = load_manifest(), scene.config.model
        candidates = (*manifest.default, *manifest.spare) if wanted == AUTO else (wanted,)
        here = {name for name in candidates if store.find(manifest.model(name))}
        got = fetch_models(() if wanted == AUTO else (wanted,), progress=_Progress(scene.voice))
        names = [located.model.name for located in got]
        fetched = [name for name in names if name not in here]
        return f"fetched {', '.join(fetched)}" if fetched else f"use {', '.join(names)}, as before"

    def undo(self, scene: Scene) -> str | None:
        """Keep them, as they were long to fetch, unless all is to go."""
        cache = Store.from_environment().cache
        deeds = scene.deeds(self)
        result = None
        if scene.wish.purge and cache.is_dir():
            remove_tree(cache)
            remove_folders([str(cache.parent)])
            result = f"removed {cache}"
        elif deeds and cache.is_dir():
            result = f"kept in {cache}"
        for deed in deeds:
            scene.journal.forget(deed)
        return result


class _Progress:
    """A download's :class:`pipedtln.dtln.download.Progress`, told by the voice of setup."""

    def __init__(self, voice: Voice) -> None:
        self._voice = voice
        self._what = ""
        self._total: int | None = None

    def begin(self, what: str, total: int | None) -> None:
        self._what, self._total = what, total
        self._voice.progress(what, 0, total)

    def advance(self, done: int) -> None:
        self._voice.progress(self._what, done, self._total)

    def note(self, text: str) -> None:
        self._voice.note(text)


def _missing(scene: Scene) -> list[str]:
    """Names of the models that the settings ask for and that are not here."""
    manifest = load_manifest()
    wanted = scene.config.model
    names = list(manifest.default) if wanted == AUTO else [wanted]
    store = Store.from_environment()
    return [name for name in names if store.find(manifest.model(name)) is None]
