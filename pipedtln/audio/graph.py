"""The connection to PipeWire's own protocol: a loop's thread, and the nodes and ports it tells of.

All calls into the library are made in one thread, which sleeps in ``poll``, lets the library
call back, and then does the work that a callback asked for. Other threads hand theirs over
(:meth:`Graph.do`). The sound itself passes in the library's data thread, in C alone.
"""

from __future__ import annotations

import ctypes as c
import logging
import os
import select
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from pipedtln.audio import libpipewire as pw
from pipedtln.errors import ServerError

LOG = logging.getLogger(__name__)

OPEN_TIMEOUT_S = 5.0
GONE = {-32, -104}
"""EPIPE, ECONNRESET: the server has left."""

T = TypeVar("T")


class Closeable(Protocol):
    """Something that lives on a connection."""

    def close(self) -> None: ...


@dataclass(frozen=True)
class Port:
    """A port of a node, by its number there and on the server."""

    id: int
    node: int
    index: int
    is_output: bool


class Graph:
    """A connection to PipeWire.

    Attributes
    ----------
    alive : whether the server is there
    turns : times that the thread has woken up
    sessions : what is to be closed with the connection
    """

    def __init__(self) -> None:
        self.lib = pw.load()
        self.alive = True
        self.turns = 0
        self.sessions: set[Closeable] = set()
        self._nodes: dict[int, str] = {}
        self._ports: dict[int, Port] = {}
        self._kept: list[object] = []
        self._jobs: list[tuple[Callable[[], Any], Future[Any]]] = []
        self._due: list[Callable[[], None]] = []
        self._ending = False
        self.changed = threading.Event()
        """Set whenever a node, port or stream has changed."""
        with ExitStack() as undo:
            self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            undo.callback(os.close, self._bell)
            self._connect(undo)
            self._thread = threading.Thread(target=self._run, name="pipedtln-worker", daemon=True)
            self._thread.start()
            undo.callback(self._end)
            self._undo = undo.pop_all()

    def close(self) -> None:
        """Close what sessions are left, and leave."""
        for session in list(self.sessions):
            session.close()
        self._undo.close()

    def do(self, work: Callable[[], T]) -> T:
        """Do something in the loop's thread and wait for it; in that thread itself, at once.

        Raises
        ------
        ServerError
            If the thread does not come to it.
        """
        if threading.current_thread() is self._thread:
            return work()
        answer: Future[T] = Future()
        self._jobs.append((work, answer))
        os.eventfd_write(self._bell, 1)
        try:
            return answer.result(OPEN_TIMEOUT_S)
        except TimeoutError as error:
            raise ServerError("PipeWire's library did not return in time") from error

    def call_soon(self, work: Callable[[], None]) -> None:
        """From a callback: have the thread do this when all of them have returned, once."""
        if work not in self._due:
            self._due.append(work)

    def node(self, name: str) -> int | None:
        """The number of the node of that name."""
        return next((number for number, known in self._nodes.items() if known == name), None)

    def ports(self, node: int, *, output: bool) -> list[Port]:
        """The ports of a node in order."""
        found = [p for p in self._ports.values() if p.node == node and p.is_output == output]
        return sorted(found, key=lambda port: port.index)

    def link(self, output: Port, into: Port, on_end: Callable[[], None]) -> Callable[[], None]:
        """Link two ports; call in the loop's thread. Returns what undoes it.

        ``on_end`` is called when the link has ended by itself.
        """
        words = {
            "link.output.node": str(output.node),
            "link.output.port": str(output.id),
            "link.input.node": str(into.node),
            "link.input.port": str(into.id),
        }
        proxy = pw.create_link(self._core, pw.dictionary(words))
        if not proxy:
            raise ServerError("PipeWire made no link")
        removed = pw.ProxyRemoved(lambda _data: on_end())
        error = pw.ProxyError(lambda _data, _seq, _res, _message: on_end())
        table = pw.events(pw.PROXY_EVENTS, {pw.PROXY_REMOVED: removed, pw.PROXY_ERROR: error})
        hook = pw.Hook()
        kept = (removed, error, table, hook)
        self.lib.pw_proxy_add_listener(proxy, c.byref(hook), table, None)

        def undo(_kept: object = kept) -> None:
            self.lib.pw_proxy_destroy(proxy)

        return undo

    def new_stream(self, name: str, words: dict[str, str]) -> int:
        """A stream that is not connected yet; call in the loop's thread."""
        properties = self.lib.pw_properties_new_dict(c.byref(pw.dictionary(words)))
        stream = self.lib.pw_stream_new(self._core, name.encode(), properties)
        if not stream:
            raise ServerError(f"PipeWire made no stream for {name}")
        return int(stream)

    # --- the thread --------------------------------------------------------------------------

    def _connect(self, undo: ExitStack) -> None:
        lib = self.lib
        main = lib.pw_main_loop_new(None)
        undo.callback(lib.pw_main_loop_destroy, main)
        loop = lib.pw_main_loop_get_loop(main)
        self._control = pw.LoopControl(loop)
        # With this configuration the data thread asks for real-time priority.
        words = pw.dictionary({"config.name": "client-rt.conf"})
        context = lib.pw_context_new(loop, lib.pw_properties_new_dict(c.byref(words)), 0)
        if not context:
            raise ServerError("libpipewire could not read its configuration client-rt.conf")
        undo.callback(lib.pw_context_destroy, context)
        self._core = lib.pw_context_connect(context, None, 0)
        if not self._core:
            raise ServerError("PipeWire does not answer; check with: pw-cli info 0")
        undo.callback(lib.pw_core_disconnect, self._core)
        self._listen(self._core, pw.CORE_EVENTS, {pw.CORE_ERROR: pw.CoreError(self._error)})
        self._listen(
            pw.get_registry(self._core),
            pw.REGISTRY_EVENTS,
            {
                pw.REGISTRY_GLOBAL: pw.Global(self._global),
                pw.REGISTRY_GLOBAL_REMOVE: pw.GlobalRemove(self._global_remove),
            },
        )

    def _listen(self, instance: int, length: int, callbacks: dict[int, Any]) -> None:
        table, hook = pw.events(length, callbacks), pw.Hook()
        self._kept += [*callbacks.values(), table, hook]
        pw.add_listener(instance, hook, table)

    def _run(self) -> None:
        control, due, jobs = self._control, self._due, self._jobs
        poll = select.poll()
        poll.register(control.get_fd(), select.POLLIN)
        poll.register(self._bell, select.POLLIN)
        iterate, sleep = control.iterate, poll.poll
        rung = (self._bell, select.POLLIN)
        control.enter()
        while not self._ending:
            if rung in sleep():
                # Whether or not a job is left: one may have been done before its bell was rung, and
                # a bell that is not read rings for ever.
                os.eventfd_read(self._bell)
            self.turns += 1
            iterate(0)
            while due:
                try:
                    due.pop()()
                except Exception:
                    # A broken session must not take the connection with it.
                    LOG.exception("the work on a stream failed")
            if jobs:
                self._work_off()
        control.leave()

    def _work_off(self) -> None:
        while self._jobs:
            work, answer = self._jobs.pop(0)
            try:
                answer.set_result(work())
            except BaseException as error:  # noqa: BLE001 - it belongs to the thread that asked
                answer.set_exception(error)

    def _end(self) -> None:
        def end() -> None:
            self._ending = True

        self.do(end)
        self._thread.join(OPEN_TIMEOUT_S)

    def _error(self, _data: int, number: int, _seq: int, result: int, message: bytes) -> None:
        if number == pw.PW_ID_CORE and result in GONE:
            self.alive = False
            self.changed.set()
        else:
            LOG.debug("PipeWire: %s", message.decode(errors="replace"))

    def _global(
        self, _data: int, number: int, _may: int, kind: bytes, _version: int, given: Any
    ) -> None:
        if kind not in (pw.PW_TYPE_NODE, pw.PW_TYPE_PORT):
            return
        words = pw.words_of(given)
        if kind == pw.PW_TYPE_NODE:
            self._nodes[number] = words.get("node.name", "")
        else:
            self._ports[number] = Port(
                number,
                int(words.get("node.id", -1)),
                int(words.get("port.id", -1)),
                words.get("port.direction") == "out",
            )
        self.changed.set()

    def _global_remove(self, _data: int, number: int) -> None:
        self._nodes.pop(number, None)
        self._ports.pop(number, None)
        self.changed.set()
