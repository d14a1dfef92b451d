"""``asd serve``: show machines in a browser, and judge sound over HTTP."""

from __future__ import annotations

from pathlib import Path

import click

from asd.command import reporting, verbose_option


@click.command()
@click.argument("models", nargs=-1, type=click.Path(path_type=Path), metavar="[MODEL]...")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address that the server binds to.")
@click.option("--port", type=click.IntRange(0, 65535), default=8787, show_default=True, help="Port; 0: a free one.")
@verbose_option
def serve(models: tuple[Path, ...], host: str, port: int, verbose: bool) -> None:
    """Show machines in a browser, and judge sound over HTTP."""
    import uvicorn

    from asd_serve.app import application
    from asd_serve.state import State

    with reporting(verbose):
        uvicorn.run(application(State(Path("asd-serve"), {each.stem: each for each in models})), host=host, port=port)
