"""The log of distributed kept off the user's terminal."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

LOGGERS = ("distributed", "distributed.client", "distributed.gc", "tornado", "tornado.application", "asyncio")
"""To the first five, distributed gives handlers of its own, which write to the standard error stream."""

log = logging.getLogger("asd.dask")


class _Aside(logging.Filter):
    """Lets nothing pass, and repeats it in asd's own log as detail."""

    def filter(self, record: logging.LogRecord) -> bool:
        log.debug("%s: %s", record.name, record.getMessage())
        return False


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what distributed logs in this process off the terminal meanwhile: asd says itself what goes wrong.

    ``asd.dask`` logs it at level DEBUG.
    """
    aside = _Aside()
    with ExitStack() as stack:
        for name in LOGGERS:
            for part in (logging.getLogger(name), *logging.getLogger(name).handlers):
                part.addFilter(aside)
                stack.callback(part.removeFilter, aside)
        yield
