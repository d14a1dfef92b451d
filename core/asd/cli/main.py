"""The command ``asd``: commands load when they run, so that help and listings start fast."""

from __future__ import annotations

import contextlib
import errno
import io
import itertools
import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from asd.cli.blame import blame
from asd.cli.flags import LocalPath
from asd.contract.installed import registry, use_plugin_file
from asd.errors import AsdError, RenamedWarning
from asd_registry.discovery import import_target
from asd_registry.renamed import warn_renamed
from asd_registry.text import printable, text_of

_COMMANDS = {
    "fit": ("asd.cli.fit:fit", "Learn the sound of a healthy machine."),
    "score": ("asd.cli.score:score", "Score recordings: normal or anomalous."),
    "monitor": ("asd.cli.monitor:monitor", "Show what a monitor has seen; tell it what was normal."),
    "evaluate": ("asd.cli.evaluate:evaluate", "Measure a model on normal and anomalous recordings."),
    "recalibrate": ("asd.cli.renew:recalibrate", "Calibrate a model's alarm anew; learn nothing."),
    "update": ("asd.cli.renew:update", "Let a model learn from more recordings."),
    "diff": ("asd.cli.diff:diff", "Compare two models of one machine."),
    "embed": ("asd.cli.embed:embed", "Write the embeddings of recordings to a file."),
    "demo": ("asd.cli.demo:demo", "Fit, score and evaluate on sample recordings of a fan."),
    "plugins": ("asd.cli.plugins:plugins", "List the installed components, or show one."),
    "weights": ("asd.cli.weights:weights", "List, fetch, import and verify pretrained weights."),
    "cache": ("asd.cli.cache:cache", "Show and prune the embeddings that are kept between runs."),
    "new-plugin": ("asd.cli.new_plugin:new_plugin", "Write a plugin of your own that works, to start from."),
}
_ORDER = (
    *("demo", "fit", "score", "listen", "monitor", "history", "explain", "report", "evaluate"),
    *("recalibrate", "update", "diff", "embed", "data", "bench", "export"),
    *("plugins", "weights", "cache", "check", "new-plugin"),
)
"""Commands of ours in the order in which a user needs them; those of other plugins follow."""


_RENAMED_OPTIONS = {"--false-alarm-rate": "--false-alarms-per-hour"}


class LazyGroup(click.Group):
    """A group whose commands, the core's and the plugins', are imported when they are needed."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Bring ``--plugin-file FILE`` to the front, wherever it stands; replace former names of options."""
        front: list[str] = []
        rest: list[str] = []
        remaining = iter(args)
        for argument in remaining:
            if argument == "--":
                rest += ["--", *remaining]
            elif argument == "--plugin-file":
                front += [argument, *itertools.islice(remaining, 1)]
            else:
                (front if argument.startswith("--plugin-file=") else rest).append(_with_present_option(argument))
        return super().parse_args(ctx, front + rest)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return list(self._summaries())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        for plugin in registry().left_out.get(cmd_name, ()):
            _warn(f"the command {cmd_name!r} of {plugin.distribution} is left out: another one has this name")
        if cmd_name in _COMMANDS:
            command: click.Command = import_target(_COMMANDS[cmd_name][0], "asd")
            return command
        if cmd_name in registry().commands:
            spec, plugin = registry().commands[cmd_name]
            return _checked(import_target(spec.target, f"{plugin.distribution}:{cmd_name}"), cmd_name)
        return None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[Any, Any, list[str]]:
        """Find the command that the arguments begin with, or say what brings it, or one like it."""
        commands = self._summaries()
        if args[0] not in commands and not args[0].startswith("-"):
            raise click.UsageError(registry().unknown_command(args[0], commands), ctx)
        return super().resolve_command(ctx, args)

    def make_context(self, info_name: str | None, args: list[str], *more: Any, **extra: Any) -> click.Context:
        """Parse the arguments, and show the help where they ask for it."""
        with _readers_errors():
            return super().make_context(info_name, args, *more, **extra)

    def invoke(self, ctx: click.Context) -> None:
        """Run the command; what it returns is no exit code: that is ``ctx.exit(code)``."""
        with _readers_errors():
            super().invoke(ctx)
            sys.stdout.flush()

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands with their summaries, importing none of them."""
        summaries = self._summaries()
        others = [name for name in summaries if name not in _ORDER]
        for title, names in (("Commands", [name for name in summaries if name in _ORDER]), ("From plugins", others)):
            if names:
                with formatter.section(title):
                    formatter.write_dl([(name, summaries[name]) for name in names])

    def _summaries(self) -> dict[str, str]:
        """Return the summary of each command, by name: ours in `_ORDER`, then others."""
        found = {name: spec.summary for name, (spec, _) in sorted(registry().commands.items())}
        found |= {name: summary for name, (_, summary) in _COMMANDS.items()}
        return {name: found[name] for name in (*(each for each in _ORDER if each in found), *found)}


class ReaderGoneError(Exception):
    """Whoever read our output has gone; click would end with exit code 1, which means an anomaly."""


@contextlib.contextmanager
def _readers_errors() -> Iterator[None]:
    """Raise a ReaderGoneError instead of a BrokenPipeError."""
    try:
        yield
    except BrokenPipeError as error:
        raise ReaderGoneError from error


def _with_present_option(argument: str) -> str:
    former, equals, value = argument.partition("=")
    present = _RENAMED_OPTIONS.get(former, former)
    if present != former:
        warn_renamed("option", former, present)
    return f"{present}{equals}{value}"


def _checked(command: Any, name: str) -> click.Command:
    if not isinstance(command, click.Command):
        raise AsdError(f"command {name!r} of a plugin is not a click command but {type(command).__name__}")
    return command


def _use_plugin_files(_: click.Context, __: click.Parameter, files: tuple[Path, ...]) -> None:
    for file in files:
        use_plugin_file(file)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--plugin-file",
    type=LocalPath(),
    metavar="FILE.py",
    multiple=True,
    is_eager=True,  # --help lists its commands, too
    expose_value=False,
    callback=_use_plugin_files,
    help="Load a plugin that is a single file; may follow any command.",
)
@click.version_option(package_name="asd-framework", prog_name="asd")
def cli() -> None:
    """Learn the sound of a healthy machine, and detect recordings that differ.

    Try 'asd demo', then 'asd fit RECORDINGS -o machine.asd' and 'asd score machine.asd NEW_RECORDINGS'. Exit code 0:
    all normal, 1: an anomaly was found, 2: an error.
    """


def main() -> None:
    """Run the command line; a user's mistake is one line on stderr and exit code 2."""
    arguments = sys.argv[1:]
    warnings.showwarning = _show_warning
    _set_up_streams()
    code = _run(arguments, verbose=bool({"-v", "--verbose"} & set(arguments)))
    with contextlib.suppress(OSError):
        try:
            sys.stdout.flush()
        except OSError:  # Python must not try, and complain, again at exit
            code = code or 2
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.stdout = sys.stderr  # what a plugin prints at exit is no result
    sys.exit(code)


def _run(arguments: list[str], *, verbose: bool) -> int:
    """Run a command and return the exit code."""
    try:
        return int(cli.main(arguments, standalone_mode=False) or 0)
    except (click.exceptions.Abort, KeyboardInterrupt):
        return _fail("interrupted", verbose)
    except click.exceptions.NoArgsIsHelpError as error:  # 'asd', 'asd weights': whoever asks for nothing wants help
        click.echo(error.format_message())
        return 0
    except click.ClickException as error:
        return _fail(_told(error), verbose)
    except AsdError as error:
        return _fail(text_of(error), verbose)
    except ReaderGoneError:  # whoever read our output has gone (`asd … | head`)
        return 2
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else _fail(text_of(error), verbose) if error.code else 0
    except BaseException as error:
        if isinstance(error, OSError) and error.errno in _FULL and error.filename is None:
            return _fail(f"cannot write the output: {error.strerror}", verbose)
        return _fail(blame(error), verbose)


def _told(error: click.ClickException) -> str:
    """Return what is wrong with the words of a command, and what it takes."""
    text, ctx = error.format_message(), getattr(error, "ctx", None)
    if ctx is None or not text.startswith(("Missing ", "Got unexpected ")):
        return text
    option = getattr(error, "param", None)
    if isinstance(option, click.Option):
        return f"{text} {option.help or ''}"
    return f"{text.removesuffix('.')}. {ctx.get_usage()}"


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def _set_up_streams() -> None:
    """Keep results apart from whatever else writes, and let no character end a run.

    Only `sys.stdout` writes to standard output. Its descriptor, 1, leads to standard error: that is where compiled
    libraries and other processes write. A closed stream is the null device, or the next file that is opened would get
    its descriptor and what is printed.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free descriptor, which is this one
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115  # until the process ends
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    if os.name == "posix" and isinstance(sys.stdout, io.TextIOWrapper) and _descriptor(sys.stdout) == 1:
        sys.stdout.flush()
        encoding, buffering = sys.stdout.encoding, 1 if sys.stdout.line_buffering else -1
        results = os.fdopen(os.dup(1), "w", buffering, encoding=encoding, errors="backslashreplace")
        sys.stdout = sys.__stdout__ = results  # type: ignore[misc]  # the width of the terminal is asked of the latter
        os.dup2(2, 1)
    elif isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _descriptor(stream: io.TextIOWrapper) -> int | None:
    """Return a stream's descriptor; None if it writes elsewhere, as inside a test."""
    try:
        return stream.fileno()
    except io.UnsupportedOperation:
        return None


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any, **__: Any
) -> None:
    """Write a warning of a former name as one line; any other as Python does."""
    if issubclass(category, RenamedWarning):
        _warn(str(message))
    else:
        click.echo(printable(warnings.formatwarning(message, category, filename, lineno)), err=True, nl=False)


def _warn(text: str) -> None:
    click.echo(printable(f"asd: warning: {text}"), err=True)


def _fail(text: str, verbose: bool) -> int:
    if verbose:
        click.echo(printable(traceback.format_exc()), err=True, nl=False)
    click.echo(printable(f"asd: error: {' '.join(text.split())}"), err=True)
    return 2


if __name__ == "__main__":
    main()
