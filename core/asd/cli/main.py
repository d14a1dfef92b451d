"""The command ``asd``: commands load when they run, so that help and listings start fast."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

import click

from asd.contract.installed import registry, use_plugin_file
from asd.errors import AsdError, RenamedWarning
from asd_registry.discovery import import_target
from asd_registry.renamed import warn_renamed

_COMMANDS = {
    "plugins": ("asd.cli.plugins:plugins", "List the installed components, or show one."),
    "fit": ("asd.cli.fit:fit", "Learn the sound of a healthy machine."),
    "score": ("asd.cli.score:score", "Score recordings: normal or anomalous."),
    "evaluate": ("asd.cli.evaluate:evaluate", "Measure a model on normal and anomalous recordings."),
    "demo": ("asd.cli.demo:demo", "Fit, score and evaluate on sample recordings of a fan."),
    "weights": ("asd.cli.weights:weights", "List, fetch, import and verify pretrained weights."),
    "cache": ("asd.cli.cache:cache", "Show and prune the embeddings that are kept between runs."),
    "new-plugin": ("asd.cli.new_plugin:new_plugin", "Write a plugin of your own that works, to start from."),
}


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
        if cmd_name in _COMMANDS:
            command: click.Command = import_target(_COMMANDS[cmd_name][0], "asd")
            return command
        if cmd_name in registry().commands:
            spec, plugin = registry().commands[cmd_name]
            return _checked(import_target(spec.target, f"{plugin.distribution}:{cmd_name}"), cmd_name)
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands with their summaries, importing none of them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self._summaries().items()))

    def _summaries(self) -> dict[str, str]:
        from_plugins = {name: spec.summary for name, (spec, _) in sorted(registry().commands.items())}
        return {**from_plugins, **{name: summary for name, (_, summary) in _COMMANDS.items()}}


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
    type=click.Path(path_type=Path),
    metavar="FILE.py",
    multiple=True,
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
    verbose = bool({"-v", "--verbose"} & set(arguments))
    warnings.showwarning = _show_warning
    _escape_what_cannot_be_printed()
    try:
        sys.exit(cli.main(arguments, standalone_mode=False) or 0)
    except (click.exceptions.Abort, KeyboardInterrupt):
        _fail("interrupted; nothing was written", verbose)
    except click.ClickException as error:
        _fail(error.format_message(), verbose)
    except AsdError as error:
        _fail(str(error), verbose)
    except BrokenPipeError:
        # Whoever read our output has gone (`asd … | head`); Python must not complain again at exit.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(2)
    except Exception as error:
        _fail(f"unexpected {type(error).__name__}: {error} (-v shows where; please report it)", verbose)


_show_as_python_does = warnings.showwarning


def _show_warning(message: Warning | str, category: type[Warning], *where: Any, **options: Any) -> None:
    """Write a warning of a former name as one line; any other as Python does."""
    if issubclass(category, RenamedWarning):
        click.echo(f"asd: warning: {message}", err=True)
    else:
        _show_as_python_does(message, category, *where, **options)


def _escape_what_cannot_be_printed() -> None:
    """Let no file name end a run: what is no text in the terminal's encoding is printed with escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(OSError, ValueError):  # closed already
                stream.reconfigure(errors="backslashreplace")


def _fail(text: str, verbose: bool) -> None:
    if verbose:
        traceback.print_exc()
    click.echo(f"asd: error: {' '.join(text.split())}", err=True)
    sys.exit(2)


if __name__ == "__main__":
    main()
