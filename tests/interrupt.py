"""Ctrl-C at every line of a module's code, one after the other."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any


def interrupted_everywhere(
    module: str, work: Callable[[], object], *, besides: str = ""
) -> Iterator[int]:
    """Do some work again and again, interrupted at its 1st, 2nd, ... line in a module.

    Parameters
    ----------
    besides : name of a function that is spared: the one that cleans up

    Yields the line's number after each interruption and ends with the first run that had none.
    """
    at = 0
    while True:
        at += 1
        left = at

        def trace(frame: FrameType, event: str, _argument: Any) -> Any:
            nonlocal left
            if frame.f_globals.get("__name__") != module or frame.f_code.co_name == besides:
                return None
            if event == "line":
                left -= 1
                if left == 0:
                    raise KeyboardInterrupt
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            work()
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(before)
        if left > 0:
            return
        # As at the end of a program: what a traceback held is let go.
        gc.collect()
        yield at
