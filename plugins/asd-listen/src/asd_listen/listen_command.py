"""``asd listen``: listen to machines day and night."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import click

from asd.command import (
    DottedCommand,
    LocalPath,
    given_parameters,
    reporting,
    runtime_from,
    runtime_options,
    trust_option,
    verbose_option,
)
from asd.errors import ConfigError, SourceError
from asd.experiment import current_engine
from asd_listen.settings import DEFAULT_FOLDER, DEFAULT_HOP, Settings, read_settings, settings_from
from asd_registry import Kind

_LATENCY = 0.2


class _Listen(DottedCommand):
    kinds: ClassVar[tuple[Kind, ...]] = ("source", "sink")
    hint: ClassVar[str] = (
        "Parameters of the source and the sink: --source.NAME and --sink.NAME followed by a value; 'asd plugins show "
        "NAME' lists them. Several machines, and all settings: a TOML file."
    )


@click.command(cls=_Listen)
@click.argument("what", required=False, metavar="[MODEL|SETTINGS.toml]")
@click.option("--source", metavar="NAME", help="Where sound comes from, such as microphone, pcm, stream, folder, file.")
@click.option("--devices", is_flag=True, help="List the inputs of this computer's sound cards, and end.")
@click.option("--sink", metavar="NAME", help="Who is told, such as jsonl, webhook, mqtt, email.")
@click.option("--name", metavar="NAME", help="Name of the machine.")
@click.option(
    "--folder", metavar="FOLDER", help=f"Where history, monitor and evidence are kept.  [default: {DEFAULT_FOLDER}]"
)
@click.option("--false-alarms", metavar="RATE", help="False alarms allowed, such as 1/month.  [default: 1/month]")
@click.option("--hop", type=float, metavar="SECONDS", help=f"From one clip to the next.  [default: {DEFAULT_HOP:g}]")
@click.option("--record-healthy", metavar="DURATION", help="Record clips to fit a model on, such as 30min, and end.")
@click.option("-o", "--output", type=LocalPath(), metavar="FOLDER", help="Where these clips go.")
@click.option(
    "--clip",
    "clip_seconds",
    type=click.FloatRange(0.5, 600),
    default=10.0,
    show_default=True,
    help="Their length in seconds.",
)
@runtime_options
@trust_option
@verbose_option
@click.pass_context
def listen(
    ctx: click.Context,
    /,
    what: str | None,
    source: str | None,
    devices: bool,
    sink: str | None,
    name: str | None,
    folder: str | None,
    false_alarms: str | None,
    hop: float | None,
    record_healthy: str | None,
    output: Path | None,
    clip_seconds: float,
    device: str,
    precision: str,
    batch_size: str,
    workers: int,
    trust: bool,
    verbose: bool,
) -> None:
    """Listen to machines day and night, and tell when one no longer sounds healthy.

    Give a model and a source, or a TOML file that names several machines. SIGTERM and Ctrl-C let it judge what has
    come, save, and end with exit code 0.

    asd listen pump.asd --source microphone

    asd listen --record-healthy 30min -o healthy/ --source microphone
    """
    with reporting(verbose):
        if devices:
            _list_devices()
            return
        own = {"source": source, "sink": sink, "name": name, "folder": folder, "false_alarms": false_alarms, "hop": hop}
        settings = _settings(what, own, given_parameters(ctx))
        if record_healthy is not None:
            _record(settings, record_healthy, output, clip_seconds)
            return
        if output is not None:
            raise ConfigError("-o is for --record-healthy; --folder names where history and evidence are kept")
        if current_engine() is not None:
            raise ConfigError("asd listen judges sound while it comes, in this process: leave the work engine out")
        runtime = runtime_from(device, precision, batch_size)

        def load(path: Path) -> Any:
            from asd import Model

            return Model.load(path, runtime=runtime, cache=False, trust=trust)

        _listen(settings, load)


def _list_devices() -> None:
    from asd_listen.sources.portaudio import inputs
    from asd_listen.view import printable

    found = inputs()
    for each in found:
        mark = " (the default)" if each.is_default else ""
        click.echo(f"{each.number:3d}  {printable(each.name)}, {each.channels} ch., {each.sample_rate} Hz{mark}")
    if not found:
        raise SourceError("no sound card of this computer has an input; plug one in, and look at 'arecord -l'")
    click.echo('Next: asd listen MODEL --source microphone --source.device "NAME OR A PART OF IT"')


def _settings(what: str | None, own: dict[str, Any], dotted: dict[Kind, dict[str, str]]) -> Settings:
    given = {key: value for key, value in own.items() if value is not None}
    if what is not None and what.lower().endswith(".toml"):
        options = sorted({*given, *dotted})
        if options:
            raise ConfigError(f"{what} says it all: --{options[0].replace('_', '-')} must be written there")
        return read_settings(Path(what))
    for kind in ("source", "sink"):
        if kind in dotted and kind not in given:
            raise ConfigError(f"--{kind}.… needs --{kind} NAME")
    if "source" not in given:
        raise ConfigError(
            "what is to be listened to? give --source NAME (microphone, pcm, stream, folder, file), or a TOML file"
        )
    table = {"kind": given.pop("source"), **dotted.get("source", {})}
    if "name" in given:
        table["name"] = given.pop("name")
    tables: dict[str, Any] = {"source": [table], **({"model": what} if what else {})}
    if "sink" in given:
        tables["sink"] = [{"kind": given.pop("sink"), **dotted.get("sink", {})}]
    return settings_from({**tables, **given})


def _listen(settings: Settings, load: Any) -> None:
    from asd_listen import view
    from asd_listen.explaining import explainer
    from asd_listen.listener import Listener
    from asd_listen.record import threaded

    is_live = sys.stdout.isatty()
    said = view.Said(echo=not is_live)
    finished = threading.Event()
    with Listener(settings, load, said, explainer(settings, load)) as listener, _ended_by(listener.stop):
        for line in view.opening(listener.machines, _LATENCY):
            click.echo(view.printable(line))
        thread, errors = threaded(listener.run, finished)
        try:
            if is_live:
                view.live(listener, said, finished)
            else:
                view.lines(listener, finished)
        finally:
            listener.stop()
            thread.join()
        if errors:
            raise errors[0]
        click.echo(f"{listener.clips} clips judged; history and evidence are in {settings.folder}")


def _record(settings: Settings, duration: str, output: Path | None, clip_seconds: float) -> None:
    from asd_listen import view
    from asd_listen.record import Recorder, seconds_of, show, threaded

    if output is None:
        raise ConfigError("--record-healthy needs -o FOLDER: where the clips go")
    if len(settings.source) > 1:
        raise ConfigError(f"--record-healthy records one machine; {len(settings.source)} are named: give --source")
    is_live = sys.stdout.isatty()
    recorder = Recorder(settings.source[0], output, seconds_of(duration), clip_seconds, view.Said(echo=True))
    finished = threading.Event()
    with _ended_by(recorder.stop):
        thread, errors = threaded(recorder.run, finished)
        try:
            show(recorder, finished, lines=not is_live)
        finally:
            recorder.stop()
            thread.join()
    if errors:
        raise errors[0]
    for line in recorder.summary():
        click.echo(line)
    click.echo(f"Next: asd fit {output} -o MODEL.asd")


@contextmanager
def _ended_by(stop: Any) -> Iterator[None]:
    """Call `stop` at SIGTERM and Ctrl-C inside the block; a second Ctrl-C ends at once."""
    asked: list[int] = []

    def handle(number: int, _: object) -> None:
        if number == signal.SIGINT and asked:
            raise KeyboardInterrupt
        asked.append(number)
        stop()

    numbers: Sequence[signal.Signals] = (signal.SIGINT, signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
