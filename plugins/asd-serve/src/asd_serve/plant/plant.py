"""The plant that a server shows: a history that is read, and the listener that writes it if it runs in this process."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from asd.errors import AsdError
from asd.plugin import Block
from asd_listen import Listener, Reader, Settings, explainer, is_listening
from asd_serve.plant.hub import Hub
from asd_serve.plant.readers import Readers

_log = logging.getLogger("asd")
_READERS = 4
"""Questions to the history that are answered at a time; SQLite is fast, and the listener needs the cores."""
_T = TypeVar("_T")
_P = ParamSpec("_P")


class Plant:
    """A history, and maybe the listener that writes it.

    Parameters
    ----------
    history : Path, optional
        The history, or its folder, that another process writes.
    settings : Settings, optional
        Of a listener that runs here, in a thread; its folder is the history.
    load : callable, optional
        Returns the model in a file.
    say : callable, optional
        Takes a line for people and its severity; None: the log does.

    Attributes
    ----------
    hub : Hub
        Tells viewers what happens.
    """

    def __init__(
        self,
        history: Path | None = None,
        settings: Settings | None = None,
        *,
        load: Callable[[Path], Any] | None = None,
        say: Callable[[str, str], None] | None = None,
    ) -> None:
        self.history = Path(settings.folder) if settings is not None else Path(history or "")
        self.settings = settings
        self._load = load or _loaded
        self._say = say or _logged
        self._listening: _Listening | None = None
        self._changing = threading.Lock()
        self._readers = Readers(lambda: self.history, _READERS)
        self._draughtsman = ThreadPoolExecutor(1, thread_name_prefix="asd-serve-pictures")
        self.hub = Hub(self)

    def open(self) -> None:
        """Look at the history, or begin to listen.

        Raises
        ------
        AsdError
            If there is no history, another listener writes it, or the listener cannot begin.
        """
        if self.settings is not None:
            self._listening = _Listening(self.settings, self._load, self._say)
        Reader(self.history).close()
        self.hub.listener_changed()

    def close(self) -> None:
        """Let the listener judge what has come, save and end, and release everything; takes up to half a minute."""
        with self._changing:
            if self._listening is not None:
                self._listening.end()
        self.hub.close()
        self._readers.close()
        self._draughtsman.shutdown(cancel_futures=True)

    def restart(self, settings: Settings) -> None:
        """Let the listener go on with other settings, or with those from before if it cannot.

        Raises
        ------
        AsdError
            If there is no listener here, or it cannot begin with these settings.
        """
        with self._changing:
            if self.settings is None or self._listening is None:
                raise AsdError("no listener runs in this server; change its settings where 'asd listen' runs")
            self._listening.end()
            try:
                self._listening = _Listening(settings, self._load, self._say)
            except AsdError:
                self._listening = _Listening(self.settings, self._load, self._say)
                raise
            else:
                self.settings, self.history = settings, Path(settings.folder)
            finally:
                self.hub.listener_changed()

    @property
    def listener(self) -> Listener | None:
        """The listener of this process, while it runs."""
        own = self._listening
        return own.listener if own is not None and own.thread.is_alive() else None

    def is_listening(self) -> bool:
        """Return whether a listener writes the history, here or in another process."""
        return self.listener is not None if self.settings is not None else is_listening(self.history)

    def health(self) -> tuple[str, bool]:
        """Return how the listening goes, as one line, and whether all is well."""
        if self.settings is None:
            return ("listening, in another process" if self.is_listening() else "no listener is running"), True
        own = self._listening
        if own is None or own.trouble is not None:
            return (own.trouble if own is not None and own.trouble else "not begun"), False
        return "listening", True

    def watch(self, hear: Callable[[str, Block], None]) -> Callable[[], None] | None:
        """Hear the sound as `Listener.watch` does; None: no listener runs here."""
        listener = self.listener
        return None if listener is None else listener.watch(hear)

    async def ask(self, question: Callable[Concatenate[Reader, _P], _T], *arguments: _P.args, **named: _P.kwargs) -> _T:
        """Return what `question` answers to the history and arguments, in a thread, so that nobody else waits."""
        return await self._readers.ask(question, *arguments, **named)

    async def drawn(self, work: Callable[_P, _T], *arguments: _P.args, **named: _P.kwargs) -> _T:
        """Return what `work` returns; one at a time, for pictures, which take tenths of a second."""
        return await asyncio.get_running_loop().run_in_executor(self._draughtsman, lambda: work(*arguments, **named))


class _Listening:
    """A listener and its thread."""

    def __init__(self, settings: Settings, load: Callable[[Path], Any], say: Callable[[str, str], None]) -> None:
        self.trouble: str | None = None
        self.listener = Listener(settings, load, say, explainer(settings, load))
        self.listener.__enter__()
        self.thread = threading.Thread(target=self._run, name="asd-listen", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.listener.run()
            self.trouble = "the listener has ended: all its sources have"
        except Exception as error:
            self.trouble = f"the listener has ended: {type(error).__name__}: {error}"
            _log.error("%s", self.trouble, exc_info=not isinstance(error, AsdError))

    def end(self) -> None:
        """Let it save and end, and release the history."""
        self.listener.stop()
        self.thread.join()
        self.listener.__exit__(None, None, None)


def _loaded(path: Path) -> Any:
    from asd import Model

    return Model.load(path, cache=False)


def _logged(text: str, severity: str) -> None:
    _log.log(logging.INFO if severity == "info" else logging.WARNING, "%s", text)
