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
from contextlib import suppress
from typing import IO, Any

from asd.contract.interfaces import Extractor, Runtime
from asd.contract.messages import Array, as_array, receive, send
from asd.contract.parameters import convert_all
from asd.errors import PluginError
from asd.records import Audio

_MOST_TEXT = 20_000


def main() -> None:
    """Answer until the parent process closes the pipe or dies."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # What a component reads or prints must not mix with requests and answers.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    threading.Thread(target=end_with_parent, args=(os.getppid(),), daemon=True).start()
    with suppress(BrokenPipeError, EOFError):
        _serve(requests, answers)
    os._exit(0)  # libraries that clash with others are no better at an orderly exit


def end_with_parent(parent: int) -> None:
    """End with the parent, also in the middle of a batch."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    component: Any = None
    while True:
        request, (array,) = receive(requests)
        try:
            if component is None:
                component = _made(request["module"], request["class"], request["parameters"])
            component.runtime = Runtime(**request["runtime"])
            fields, arrays = _computed(component, array, request)
        except Exception as error:
            fields, arrays = _described(error), []
        send(answers, fields, arrays)


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
