"""Options that several commands share; the pipeline's are generated from `asd.detection.config.Config`."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from asd.cli.dotted import given_parameters
from asd.cli.flags import LocalPath, offline_option
from asd.contract.create import load_class
from asd.contract.installed import registry
from asd.contract.interfaces import Runtime
from asd.contract.parameters import describe, parameters_of, present_names, spoken
from asd.detection.config import Choice, Config, check_rate, read_toml
from asd.detection.rate import Rate
from asd.errors import ConfigError
from asd_registry import PIPELINE_KINDS

_ENGINE = "asd.engine"
_SCHEDULER = "asd.scheduler"
_NETWORK = "asd.network_engine"
"""Where a command's context keeps its options ``--engine`` and ``--scheduler``, and what runs the network."""

F = TypeVar("F", bound=Callable[..., Any])


def pipeline_options(only: Collection[str] | None = None) -> Callable[[F], F]:
    """Return a decorator that adds an option for each field of `Config`, and ``--config`` for a TOML file of them.

    Parameters
    ----------
    only : collection of str, optional
        The fields that count for the command.
    """
    return partial(_with_pipeline_options, only)


def _with_pipeline_options(only: Collection[str] | None, command: F) -> F:
    for parameter in reversed(parameters_of(Config).values()):
        if parameter.name == "branches" or (only and parameter.name not in only):  # tables: a TOML file says them
            continue
        name = parameter.name.replace("_", "-")
        if isinstance(parameter.default, bool):
            option = click.option(
                f"--{name}/--no-{name}", parameter.name, default=None, help=spoken(parameter.description)
            )
        elif parameter.name in PIPELINE_KINDS:
            option = click.option(f"--{name}", parameter.name, metavar="NAME", help=f"The {name}.")
        else:
            default = "" if parameter.default is None else f" [default: {parameter.default}]"
            takes = describe(parameter.annotation).upper().replace("A ", "").replace(" OR ", "|")
            option = click.option(
                f"--{name}", parameter.name, metavar=takes, help=spoken(parameter.description) + default
            )
        command = option(command)
    return click.option("--config", "config_file", type=LocalPath(), help="TOML file with the same names.")(command)


def config_from(ctx: click.Context, config_file: Path | None, options: dict[str, Any]) -> Config:
    """Return the configuration: the file's, overridden by the command line's."""
    given = present_names(Config, "the configuration", read_toml(config_file) if config_file else {})
    names = {kind: options.pop(kind, None) for kind in PIPELINE_KINDS}
    given |= {key: value for key, value in options.items() if value is not None}
    for kind in PIPELINE_KINDS:
        chosen = given.get(kind)
        if names[kind] is not None and names[kind] != (chosen.get("name") if isinstance(chosen, dict) else chosen):
            given[kind] = names[kind]  # another component's parameters would not fit
    for kind, parameters in given_parameters(ctx).items():
        config = Config.from_mapping(given)
        choice: Choice = getattr(config, kind) or getattr(config.resolved_alone(), kind)
        owner, cls = f"{kind} {choice.name!r}", load_class(registry().find(kind, choice.name))
        by_file, by_option = (present_names(cls, owner, each) for each in (choice.parameters, parameters))
        given[kind] = Choice(choice.name, {**by_file, **by_option})
    return Config.from_mapping(given)


def _checked_rate(_: click.Context, __: click.Parameter, rate: float | None) -> float | None:
    if rate is not None:
        check_rate(rate)
    return rate


def _rate_from(_: click.Context, __: click.Parameter, text: str | None) -> Rate | None:
    return None if text is None else Rate.of(text)


rate_option = click.option(
    "--false-alarms",
    metavar="RATE",
    callback=_rate_from,
    help="False alarms allowed in healthy sound: 1/hour, 2/day, 1/week, 1/month or 1/year.",
)
_per_hour_option = click.option(
    "--false-alarms-per-hour",
    type=float,
    callback=_checked_rate,
    help="The same as a number an hour.",
)


def false_alarms_option(command: F) -> F:
    """Add ``--false-alarms RATE`` and ``--false-alarms-per-hour NUMBER``."""
    return rate_option(_per_hour_option(command))


def hourly(rate: Rate | None, per_hour: float | None) -> float | None:
    """Return the alarms an hour that either option gives; None: neither.

    Raises
    ------
    ConfigError
        If both are given.
    """
    if rate is not None and per_hour is not None:
        raise ConfigError("--false-alarms and --false-alarms-per-hour exclude each other; choose one")
    return per_hour if rate is None else rate.per_hour


def runtime_options(command: F) -> F:
    """Add ``--device``, ``--engine``, ``--precision``, ``--batch-size``, ``--workers`` and ``--offline``.

    Where ``--engine`` or ``--scheduler`` says so, the command runs inside `asd.using_engine`.
    """
    for option in (
        offline_option,
        click.option("--workers", type=click.IntRange(0), default=1, show_default=True, help="Decoding threads."),
        click.option("--batch-size", default="auto", show_default=True, metavar="N|auto", help="Windows at a time."),
        click.option(
            "--precision",
            type=click.Choice(["auto", "fp32", "bf16"]),
            default="auto",
            show_default=True,
            help="auto: bfloat16 where the hardware computes in it.",
        ),
        click.option(
            "--scheduler",
            metavar="ADDRESS|local:N",
            expose_value=False,
            callback=partial(_engine_option, _SCHEDULER),
            help="Where the work engine is: the address of its scheduler, or N processes here. [engine: dask]",
        ),
        click.option(
            "--engine",
            multiple=True,
            metavar="NAME",
            expose_value=False,  # so that commands of other plugins, which do not expect it, have it too
            callback=partial(_engine_option, _ENGINE),
            help="What runs the network: auto, onnx (ONNX Runtime) or torch (PyTorch); or who does the work: local "
            "(processes of this computer) or the engine of a plugin, such as dask. One of each kind. [default: auto]",
        ),
        click.option(
            "--device",
            default="auto",
            show_default=True,
            help="auto, cpu, cuda, cuda:N, mps, tensorrt, coreml or openvino.",
        ),
    ):
        command = option(command)
    return command


def _engine_option(key: str, ctx: click.Context, _: click.Parameter, value: Any) -> None:
    """Keep the value of an option; once both are known, use the engine until the command ends."""
    ctx.meta[key] = value
    if not {_ENGINE, _SCHEDULER} <= ctx.meta.keys() or ctx.resilient_parsing:
        return
    from asd.detection.engines import engines_named
    from asd.detection.work import using_engine

    ctx.meta[_NETWORK], work = engines_named(ctx.meta[_ENGINE], ctx.meta[_SCHEDULER])
    if work is not None:
        ctx.with_resource(using_engine(work, ctx.meta[_SCHEDULER]))


def runtime_from(device: str, precision: Any, batch_size: str) -> Runtime:
    """Return the runtime that the options describe, ``--engine`` of the command that runs included."""
    ctx = click.get_current_context(silent=True)
    engine: Any = ctx.meta.get(_NETWORK, "auto") if ctx else "auto"
    if batch_size == "auto":
        return Runtime(device=device, precision=precision, engine=engine)
    if not batch_size.isdigit() or int(batch_size) < 1:
        raise ConfigError(f"--batch-size takes a whole number from 1, or auto, got {batch_size!r}")
    return Runtime(device=device, precision=precision, batch_size=int(batch_size), engine=engine)
