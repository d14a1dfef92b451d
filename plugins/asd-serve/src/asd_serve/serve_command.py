"""``asd serve``: show machines in a browser, and judge sound over HTTP."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click

from asd.command import (
    LocalPath,
    json_option,
    print_json,
    print_table,
    reporting,
    runtime_from,
    runtime_options,
    trust_option,
    verbose_option,
)
from asd.errors import ConfigError
from asd_serve.keys import ROLES, Key

_DEFAULT = "asd-serve"
_LISTENERS = "asd-listen"
_OPEN = (
    "asd: warning: {} can be reached by others, and without TLS they can read keys and sound on the way; give "
    "--certificate, or put a proxy with TLS before 127.0.0.1"
)
_PATH = LocalPath()


class _Serve(click.Group):
    """``asd serve [MODEL]…``, and ``asd serve key …``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take a first argument ``key`` for the command, anything else for models and options."""
        if args[:1] == ["key"]:
            ctx.meta["asd_serve.key"] = True
            ctx.args = args[1:]
            return ctx.args
        ctx.allow_interspersed_args = True  # options after models; a group's own default is to stop at the first
        return click.Command.parse_args(self, ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the one or the other."""
        if ctx.meta.get("asd_serve.key"):
            with key.make_context("key", ctx.args, parent=ctx) as inner:
                return key.invoke(inner)
        return click.Command.invoke(self, ctx)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write how it is called."""
        formatter.write_usage(ctx.command_path, "[OPTIONS] [MODEL]...")
        formatter.write_usage(f"{ctx.command_path} key", "COMMAND [ARGS]...", prefix=" " * len("Usage: "))


@click.group(cls=_Serve)
@click.argument("models", nargs=-1, type=_PATH, metavar="[MODEL]...")
@click.option("--listen", type=_PATH, metavar="TOML", help="Listen, too: to the machines that this file names.")
@click.option("--history", type=_PATH, metavar="FOLDER", help="Show what another process, 'asd listen', keeps there.")
@click.option(
    "--folder", type=_PATH, help=f"Where keys and recordings are kept.  [default: the listener's, or {_DEFAULT}]"
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address that the server binds to.")
@click.option("--port", type=click.IntRange(0, 65535), default=8787, show_default=True, help="Port; 0: a free one.")
@click.option("--certificate", type=_PATH, metavar="PEM", help="Certificate (chain) for TLS.")
@click.option("--key-file", type=_PATH, metavar="PEM", help="Its key, if it is in another file.")
@click.option("--root-path", default="", metavar="/PATH", help="Path under which a proxy shows the server.")
@click.option("--proxy", "proxies", multiple=True, metavar="ADDRESS", help="A proxy that tells who asks; repeatable.")
@click.option("--allow-host", "hosts", multiple=True, metavar="NAME", help="A name of the server; repeatable.")
@runtime_options
@trust_option
@verbose_option
def serve(
    models: tuple[Path, ...],
    listen: Path | None,
    history: Path | None,
    folder: Path | None,
    host: str,
    port: int,
    certificate: Path | None,
    key_file: Path | None,
    root_path: str,
    proxies: tuple[str, ...],
    hosts: tuple[str, ...],
    device: str,
    precision: str,
    batch_size: str,
    workers: int,
    trust: bool,
    verbose: bool,
) -> None:
    """Show machines in a browser, and judge sound over HTTP.

    At the first start, a link with a key for the browser is shown. SIGTERM and Ctrl-C let the server answer what it
    was asked, and end with exit code 0.

    asd serve pump.asd

    asd serve --listen plant.toml

    asd serve key create "night shift" --role feedback
    """
    with reporting(verbose):
        from asd_serve import server
        from asd_serve.database import only_server
        from asd_serve.limits import Limits
        from asd_serve.state import State

        tls = server.check_tls(certificate, key_file)
        if not server.is_loopback(host) and tls is None:
            click.echo(_OPEN.format(host), err=True)
        checked_proxies = [_address(each) for each in proxies]
        load = _loader(runtime_from(device, precision, batch_size), trust)
        with ExitStack() as stack:
            sockets = server.listen_at(host, port)
            for each in sockets:
                stack.callback(each.close)
            place = _folder(folder, listen, history)
            named, root = _named(models), _root(root_path)
            stack.enter_context(only_server(place))
            facts: dict[str, Any] = {"history": history, "listen": listen, "load": load, "hosts": hosts}
            state = State(place, named, limits=Limits.read(place / "serve.toml"), root_path=root, **facts)
            _run(state, sockets, f"{'https' if tls else 'http'}://{_shown(host)}", tls, checked_proxies)


def _loader(runtime: Any, trust: bool) -> Callable[[Path], Any]:
    """Return what loads the model in a file."""

    def load(path: Path) -> Any:
        from asd import Model

        return Model.load(path, runtime=runtime, cache=False, trust=trust)

    return load


def _run(state: Any, sockets: Sequence[socket.socket], host: str, tls: Any, proxies: Sequence[str]) -> None:
    from asd_serve.app import opened
    from asd_serve.server import Server, configured

    url = f"{host}:{sockets[0].getsockname()[1]}{state.root_path}/"
    out = sys.stdout  # models load in the background: while a plugin is imported, what it prints goes to stderr
    with opened(state) as app:

        def answering() -> None:
            click.echo(f"Serving at {url}   (Ctrl-C ends it)", file=out)
            if not any(each.revoked is None for each in state.keys.all()):
                _, text = state.keys.create("first", "administer")
                click.echo(
                    f"First start. This link has the first key; it is shown this once:\n\n  {url}#key={text}\n",
                    file=out,
                )
                click.echo(f"More keys: asd serve key create NAME --role look --folder {state.folder}", file=out)

        Server(configured(app, state.limits, tls, proxies), answering).serve_on(sockets)
    click.echo("Ended; what was under way was answered.")


def _folder(folder: Path | None, listen: Path | None, history: Path | None) -> Path:
    """Return where the server keeps its things: in one folder with the history, so that one copy has all."""
    if listen is not None and history is not None:
        raise ConfigError("--listen and --history are given; give --listen to listen here, --history to show another's")
    if folder is not None:
        return folder
    if history is not None:
        return history if history.suffix != ".sqlite" else history.parent
    if listen is not None:
        from asd_listen import read_settings

        return Path(read_settings(listen).folder)
    return Path(_DEFAULT)


def _named(models: Sequence[Path]) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for path in models:
        if not path.is_file():
            raise ConfigError(f"{path}: no such model file; 'asd fit' makes one")
        if path.stem in named:
            raise ConfigError(
                f"{path}: a model named {path.stem!r} is served already ({named[path.stem]}); rename one file"
            )
        named[path.stem] = path
    return named


def _root(path: str) -> str:
    root = path.rstrip("/")
    if root and (not root.startswith("/") or "//" in root or not root.isascii() or set(root) & set("?#%\\ ")):
        raise ConfigError(f"--root-path must look like /machines, got {path!r}")
    return root


def _address(text: str) -> str:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise ConfigError(
            f"--proxy must be an address or a network, such as 127.0.0.1 or 10.0.0.0/8, got {text!r}"
        ) from error
    return text


def _shown(host: str) -> str:
    if host in ("0.0.0.0", "::", ""):
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host


# ------------------------------------------------------------------------------------------------------------- keys


@serve.group()
def key() -> None:
    """Make, list and revoke keys; the server may run meanwhile."""


_folder_option = click.option(
    "--folder", type=_PATH, help=f"The server's folder.  [default: {_DEFAULT} or {_LISTENERS}, whichever has keys]"
)


@key.command()
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), default="look", show_default=True, help="What it allows.")
@_folder_option
@verbose_option
def create(name: str, role: Any, folder: Path | None, verbose: bool) -> None:
    """Make a key for NAME, and show it this once.

    look: see all, have sound judged. feedback: also acknowledge, say what was normal, note. administer: also record,
    fit, change settings.
    """
    with reporting(verbose), _keys(folder, make=True) as keys:
        made, text = keys.create(name, role)
        click.echo(text)
        click.echo(f"key {made.id} of {made.name!r}, role {made.role}; it is shown this once", err=True)


@key.command("list")
@_folder_option
@json_option
@verbose_option
def list_(folder: Path | None, as_json: bool, verbose: bool) -> None:
    """List keys, without their secrets."""
    with reporting(verbose), _keys(folder) as keys:
        found = keys.all()
    if as_json:
        print_json([{name: getattr(each, name) for name in each.__dataclass_fields__} for each in found])
    else:
        print_table(("id", "name", "role", "made", "used", "revoked"), [_row(each) for each in found])


@key.command()
@click.argument("name", metavar="NAME|ID")
@_folder_option
@verbose_option
def revoke(name: str, folder: Path | None, verbose: bool) -> None:
    """Make a key useless, at once."""
    with reporting(verbose), _keys(folder) as keys:
        gone = keys.revoke(name)
        click.echo(f"key {gone.id} of {gone.name!r} is revoked, and its sessions have ended")


def _row(each: Key) -> tuple[str, ...]:
    times = (each.made, each.used, each.revoked)
    shown = [f"{datetime.datetime.fromtimestamp(time):%Y-%m-%d %H:%M}" if time else "" for time in times]
    return (each.id, each.name, each.role, *shown)


def _keys(folder: Path | None, *, make: bool = False) -> Any:
    from asd_serve.database import Database
    from asd_serve.keys import Keys

    if folder is None:
        found = [each for each in map(Path, (_DEFAULT, _LISTENERS)) if (each / "serve.sqlite").is_file()]
        if len(found) != 1:
            what = "two servers' folders are" if found else "no server's folder is"
            raise ConfigError(f"{what} here ({_DEFAULT}, {_LISTENERS}); say which by --folder")
        folder = found[0]
    elif not make and not (folder / "serve.sqlite").is_file():
        raise ConfigError(f"{folder}: no server's folder; 'asd serve' and 'asd serve key create' make one")

    @contextmanager
    def opened() -> Any:
        database = Database(folder / "serve.sqlite")
        try:
            yield Keys(database)
        finally:
            database.close()

    return opened()
