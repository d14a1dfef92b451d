"""What runs in a worker process (see `asd.contract.isolation`).

Standard input brings one request per batch; standard output takes the answers (see `asd.contract.messages`).
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from asd.contract.interfaces import Extractor, Runtime
from asd.contract.messages import Array, as_array, receive, send
from asd.contract.parameters import convert_all
from asd.errors import PluginError
from asd.records import Audio

_MOST_TEXT = 20_000


def main() -> None:
    """Compute for the parent process until it closes the pipe or dies."""
    answer_requests(_Computing().answer)


def answer_requests(answer: Callable[[dict[str, Any], list[Array]], tuple[dict[str, Any], list[Array]]]) -> None:
    """Answer the parent process until it closes the pipe or dies; does not return.

    Parameters
    ----------
    answer : callable
        Takes the fields and the arrays of a request; returns those of its answer.
    """
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # What a component reads or prints must not mix with requests and answers.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    threading.Thread(target=end_with_parent, args=(os.getppid(),), daemon=True).start()
    with suppress(BrokenPipeError, EOFError):
        while True:
            request, given = receive(requests)
            try:
                fields, arrays = answer(request, given)
            except Exception as error:
                fields, arrays = _described(error), []
            send(answers, fields, arrays)
    os._exit(0)  # libraries that clash with others are no better at an orderly exit


def end_with_parent(parent: int) -> None:
    """End with the parent, also in the middle of a batch."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


class _Computing:
    """A component, made at the first request, that computes what the requests bring."""

    def __init__(self) -> None:
        self._component: Any = None

    def answer(self, request: dict[str, Any], arrays: list[Array]) -> tuple[dict[str, Any], list[Array]]:
        """Return what the component computes."""
        (array,) = arrays
        if self._component is None:
            self._component = _made(request["module"], request["class"], request["parameters"])
        self._component.runtime = Runtime(**request["runtime"])
        return _computed(self._component, array, request)


def _made(module: str, name: str, parameters: dict[str, Any]) -> Any:
    try:
        cls = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        raise PluginError(
            f"{name}: {error}: a worker process does not import from the current folder; install the module, or name "
            "its folder in PYTHONPATH"
        ) from None
    return cls(**convert_all(cls, name, parameters))


def _computed(component: Any, array: Array, request: dict[str, Any]) -> tuple[dict[str, Any], list[Array]]:
    if isinstance(component, Extractor):
        return {}, [as_array(component.embed(array))]
    windows = component(Audio(array, request["sample_rate"], request["source"]))
    return {"duration": float(windows.duration)}, [as_array(windows.values), as_array(windows.start)]


def _described(error: Exception) -> dict[str, str]:
    cls = type(error)
    texts = {"text": str(error), "trace": traceback.format_exc()}
    return {"module": cls.__module__, "error": cls.__name__} | {key: text[:_MOST_TEXT] for key, text in texts.items()}
