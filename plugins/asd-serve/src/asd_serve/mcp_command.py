"""``asd mcp``: let an assistant ask about machines."""

from __future__ import annotations

import getpass
from pathlib import Path

import click

from asd.command import LocalPath, offline_option, reporting, verbose_option
from asd.errors import ConfigError


@click.command()
@click.argument("models", nargs=-1, type=LocalPath(), metavar="[MODEL]...")
@click.option(
    "--history",
    type=LocalPath(),
    metavar="FOLDER",
    help="History of a listener, whose machines and alarms are told of; the listener may be running.",
)
@click.option(
    "--sound",
    type=LocalPath(),
    metavar="FOLDER",
    help="Folder whose recordings may be judged by the models; no other file is opened.",
)
@click.option(
    "--allow-feedback",
    is_flag=True,
    help="Let the assistant acknowledge alarms, note, and say what was normal. Without it, it can only look.",
)
@click.option("--by", metavar="NAME", help="Whose feedback it is, in the history.  [default: the user's name]")
@offline_option
@verbose_option
def mcp(
    models: tuple[Path, ...],
    history: Path | None,
    sound: Path | None,
    allow_feedback: bool,
    by: str | None,
    verbose: bool,
) -> None:
    """Let an assistant ask about machines, by the Model Context Protocol on standard input and output.

    Name what it may see: a listener's history, and models with a folder of recordings. It can change nothing unless
    --allow-feedback is given.

    asd mcp pump.asd --history asd-listen --sound recordings/
    """
    if history is None and not models:
        raise ConfigError("what may the assistant ask about? give --history FOLDER, or MODEL and --sound FOLDER")
    if bool(models) != (sound is not None):
        given, lacking = ("--sound", "MODEL") if sound else ("MODEL", "--sound FOLDER")
        raise ConfigError(f"{given} needs {lacking}: a model judges the recordings of a folder that you name")
    if allow_feedback and history is None:
        raise ConfigError("--allow-feedback is about alarms: give --history FOLDER, too")
    if len({each.stem for each in models}) < len(models):
        raise ConfigError("two models have one name; the assistant tells them apart by it: rename one file")
    with reporting(verbose):
        try:
            from asd_serve.mcp_server import Assistant, serve
        except ModuleNotFoundError as error:
            raise ConfigError("asd mcp needs the library mcp, version 2: pip install 'asd-serve[mcp]'") from error
        serve(Assistant(models, history, sound, by=(by or getpass.getuser()) if allow_feedback else None))
