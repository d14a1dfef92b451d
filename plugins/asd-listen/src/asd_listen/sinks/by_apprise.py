"""The sink ``apprise``: events go to any of the services that Apprise knows (chat, telephone, push, …)."""

from __future__ import annotations

from pathlib import Path

from asd.errors import ConfigError, SinkError
from asd.plugin import Event, Sink
from asd_listen.sinks.content import message, secret, title

_KINDS = {"info": "info", "warning": "warning", "alarm": "failure"}


class Apprise(Sink):
    """Sends events by Apprise (https://github.com/caronc/apprise).

    Parameters
    ----------
    urls_env, urls_file : str, Path
        Environment variable or file with Apprise's addresses, separated by spaces or lines; they hold secrets.
    """

    def __init__(self, *, urls_env: str = "", urls_file: Path | None = None) -> None:
        self.urls_env, self.urls_file = urls_env, urls_file
        self._urls = (secret("apprise", "urls", urls_env, urls_file) or "").split()
        if not self._urls:
            raise ConfigError("apprise: give urls_env or urls_file, which hold Apprise's addresses")

    def send(self, event: Event) -> None:
        """Send an event to all addresses; errors as in `Sink.send`."""
        import apprise

        client = apprise.Apprise()
        for position, url in enumerate(self._urls, start=1):
            if not client.add(url):
                raise SinkError(f"apprise: address {position} of {len(self._urls)} is none that it knows; correct it")
        if not client.notify(title=title(event), body=message(event), notify_type=_KINDS[event.severity]):
            raise SinkError(f"apprise: not all of {len(self._urls)} services took the event")

    @classmethod
    def example_parameters(cls, folder: Path) -> dict[str, object]:
        """Return parameters for a trial."""
        file = folder / "urls"
        file.write_text("json://127.0.0.1:9/\n")
        return {"urls_file": file}
