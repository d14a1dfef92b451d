"""``asd bench``: compare pipelines on data by a recipe."""

from __future__ import annotations

import logging
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from asd.command import (
    PathOrUrl,
    json_option,
    print_json,
    print_table,
    reporting,
    results_folder,
    runtime_from,
    runtime_options,
    verbose_option,
)
from asd.errors import ConfigError, DataError
from asd.experiment import EmbeddingCache, content_of, duplicates
from asd.plugin import Runtime, check_address, has_address, registry
from asd_bench import export, show, tables
from asd_bench import recipe as recipes
from asd_bench.compare_command import compare
from asd_bench.compute import TrialRunner
from asd_bench.figures import write_figures
from asd_bench.live import watched
from asd_bench.machines import run as machines
from asd_bench.machines.recipe import is_machines
from asd_bench.machines.recipe import read as read_machines
from asd_bench.provenance import provenance
from asd_bench.recipe import Recipe, RecipeFile
from asd_bench.recommend import Limits, Recommendation, recommendation, write_config
from asd_bench.report import write_report
from asd_bench.results import Results, summarise
from asd_bench.runner import Run, read_data
from asd_bench.store import store_at
from asd_bench.submission import write_submission
from asd_bench.trackers import track_results

_log = logging.getLogger("asd")
_PATH = PathOrUrl()


@dataclass(frozen=True)
class _Options:
    """What the command was given, in the order of its help."""

    recipe: str | None
    data: tuple[Path, ...]
    pipelines: tuple[str, ...]
    output: Path | None
    listed: bool
    printed: bool
    recommend: Path | None
    submission: Path | None
    max_time: float | None
    max_memory: float | None
    permissive: bool
    wide: bool
    as_markdown: bool
    as_latex: bool
    figures: Path | None
    no_audio: bool
    tracking: str | None
    device: str
    precision: str
    batch_size: str
    workers: int
    as_json: bool
    verbose: bool
    place: Path | None = None
    """Where `output` is put in the end, if that is an address."""

    @property
    def limits(self) -> Limits:
        """The limits of a recommendation."""
        return Limits(self.max_time, self.max_memory, self.permissive)

    @property
    def runtime(self) -> Runtime:
        """How to compute."""
        return runtime_from(self.device, self.precision, self.batch_size)


class _BenchCommand(click.Command):
    """The command, with ``compare`` as a command of its own below it."""

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **extra: Any) -> click.Context:
        """Hand what follows ``compare`` to that command."""
        if args[:1] == ["compare"]:
            return compare.make_context(f"{info_name} compare", args[1:], *rest, **extra)
        return super().make_context(info_name, args, *rest, **extra)


@click.command(cls=_BenchCommand, epilog="'asd bench compare RUN RUN' compares two runs: see its --help.")
@click.argument("recipe", required=False)
@click.option(
    "--data",
    type=PathOrUrl(),
    multiple=True,
    metavar="DIR",
    help="Folder of the data; the recipe 'machines' takes several.",
)
@click.option(
    "--pipeline",
    "pipelines",
    multiple=True,
    metavar="NAME",
    help="Recipe 'machines': fast, default, best or a TOML file.",
)
@click.option(
    "-o",
    "--output",
    type=_PATH,
    help="Results folder, where a run continues [default: bench-RECIPE].",
)
@click.option("--list", "listed", is_flag=True, help="List the recipes.")
@click.option("--print", "printed", is_flag=True, help="Print the recipe, to copy and change.")
@click.option(
    "--recommend", type=_PATH, metavar="FILE.toml", help="Write the best pipeline within the limits for 'asd fit'."
)
@click.option("--submission", type=_PATH, metavar="DIR", help="Write the best pipeline's official DCASE files.")
@click.option("--max-time", type=float, metavar="SECONDS", help="Limit: computing time per second of sound.")
@click.option("--max-memory", type=float, metavar="MB", help="Limit: peak memory.")
@click.option("--permissive", is_flag=True, help="Limit: no licence of the GPL family, non-commercial or unknown.")
@click.option("--wide", is_flag=True, help="Show all columns of the tables.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print the ranking as a Markdown table.")
@click.option("--latex", "as_latex", is_flag=True, help="Print the ranking as a LaTeX table.")
@click.option("--figures", type=_PATH, metavar="DIR", help="Write each chart of the report as SVG and PDF.")
@click.option("--no-audio", is_flag=True, help="Leave pictures and sound of misjudged clips out of the report.")
@click.option("--tracking", metavar="NAME", help="Hand the results to mlflow, wandb or a plugin's tracker.")
@runtime_options
@json_option
@verbose_option
def bench(**given: Any) -> None:
    """Compare pipelines on data. RECIPE is a name from --list or a TOML file.

    Prints a table and writes CSV, JSON, Markdown, LaTeX and an HTML report into the results folder. Results are kept
    there: after an interruption the same command continues. RECIPE 'machines' compares whole pipelines over many
    machines.
    """
    options = _Options(**given)
    if options.listed:
        _list(options.as_json)
        return
    if options.recipe is None:
        raise ConfigError("name a recipe: 'asd bench --list' lists them, 'asd bench NAME --print' prints one to copy")
    file = recipes.find(options.recipe)
    if options.printed:
        click.echo(file.text, nl=False)
        return
    if not options.data:
        raise ConfigError(f"name the folder of the data: asd bench {options.recipe} --data DIR")
    if options.as_json + options.as_markdown + options.as_latex > 1:
        raise ConfigError("choose one of --json, --markdown and --latex")
    with ExitStack() as stack:
        here, places = _written_here(options, stack)
        written = _compare_machines(file, here) if is_machines(file) else _compare_pipelines(file, here)
    written = [
        next((there / path.relative_to(own) for own, there in places if path.is_relative_to(own)), path)
        for path in written
    ]
    click.echo(f"asd: written: {', '.join(map(str, written))}", err=True)


def _written_here(options: _Options, stack: ExitStack) -> tuple[_Options, list[tuple[Path, Path]]]:
    """Return the options with a folder here for each at an address, and which stands for which."""
    if options.recommend is not None and has_address(options.recommend):
        check_address(options.recommend, overwrite=True)
    places: list[tuple[Path, Path]] = []
    changed: dict[str, Any] = {}
    for name in ("output", "figures", "submission"):
        there = getattr(options, name)
        if there is not None and has_address(there):
            changed[name] = stack.enter_context(results_folder(there))
            places.append((changed[name], there))
    place = options.output if "output" in changed else None
    return replace(options, **changed, place=place), places


def _compare_pipelines(file: RecipeFile, options: _Options) -> list[Path]:
    """Run a recipe, print the results, and return the files that were written."""
    recipe, data = recipes.read(file), options.data
    if options.pipelines or len(data) > 1:
        many = "--pipeline" if options.pipelines else f"--data {len(data)} times"
        raise ConfigError(f"recipe {recipe.name!r} takes no {many}; 'asd bench machines' does")
    if options.limits != Limits() and options.recommend is None:
        raise ConfigError("--max-time, --max-memory and --permissive limit a recommendation: add --recommend FILE.toml")
    track = registry().tracker(options.tracking) if options.tracking else None
    with reporting(options.verbose):
        results, written = _run(recipe, file, options)
    advice = recommendation(results, options.limits, data[0].resolve().name) if options.recommend else None
    _print(results, advice, options)
    if advice and options.recommend:
        write_config(advice, options.recommend)
        written.append(options.recommend)
        if not options.as_json:
            next_ = f"Next: asd fit RECORDINGS --config {options.recommend} -o machine.asd"
            click.echo(f"\n{advice.text}\n{next_}", err=options.as_markdown or options.as_latex)
    if track and options.tracking:
        place = track_results(options.tracking, track, results, provenance(results, data[0]), written)
        click.echo(f"asd: handed to {options.tracking}{f': {place}' if place else ''}", err=True)
    return written


def _print(results: Results, advice: Recommendation | None, options: _Options) -> None:
    """Print the results in the form that was asked for."""
    if options.as_json:
        print_json(export.as_json(results) | ({"recommended": advice.as_dict()} if advice else {}))
    elif options.as_markdown or options.as_latex:
        click.echo((tables.markdown if options.as_markdown else tables.latex)(results), nl=False)
    else:
        show.print_results(results, wide=options.wide)


def _compare_machines(file: RecipeFile, options: _Options) -> list[Path]:
    """Run a recipe of machines, print the results, and return the files that were written."""
    other = {
        "--recommend": options.recommend, "--submission": options.submission, "--figures": options.figures,
        "--tracking": options.tracking, "--markdown": options.as_markdown, "--latex": options.as_latex,
        "a limit": options.limits != Limits(),
    }  # fmt: skip
    if given := [name for name, value in other.items() if value]:
        raise ConfigError(f"recipe {file.name!r} takes no {given[0]}; it compares whole pipelines: see --pipeline")
    recipe = read_machines(file, options.pipelines)
    folder = options.output or Path(f"bench-{recipe.name}")
    with reporting(options.verbose):
        summaries, rows, written = machines.run(
            recipe, options.data, folder, runtime=options.runtime, workers=options.workers
        )
    machines.show(recipe, summaries, rows, as_json_text=options.as_json)
    return written


def _run(recipe: Recipe, file: RecipeFile, options: _Options) -> tuple[Results, list[Path]]:
    """Return the results, and the files that were written of them."""
    data, folder = options.data[0], options.output or Path(f"bench-{recipe.name}")
    try:
        recordings, channel = read_data(recipe, data)
        with closing(store_at(options.place or folder)) as store:
            trials = TrialRunner(recipe, EmbeddingCache(), channel, options.runtime, options.workers)
            run = Run(recordings, store, trials)
            _warn_of_duplicates(run)
            with watched(recipe) as observe:
                results = summarise(recipe, run.results(observe))
            written = [*export.write(results, folder), *tables.write_tables(results, folder)]
            origin = provenance(results, data)
            written.append(write_report(results, folder / "report.html", origin, audio=not options.no_audio))
            if options.figures:
                written += write_figures(results, options.figures)
            if options.submission:
                written += write_submission(run, results, options.submission)
            return results, written
    except ConfigError as error:
        raise file.with_place(error) from error
    except KeyboardInterrupt:
        raise DataError(
            f"interrupted; what is finished is kept in {options.place or folder}, and the same command goes on"
        ) from None


def _warn_of_duplicates(run: Run) -> None:
    """Log the test clips that are training clips, too: their scores are too good."""
    for section in run.sections:
        if pairs := duplicates(section.train, section.test, content_of):
            training, test = pairs[0]
            _log.warning(
                "%s: %d test clips have the content of training clips, so the scores are too good; the first: %s is %s",
                *(section.name, len(pairs), test.path, training.path),
            )


def _list(as_json: bool) -> None:
    found = {name: recipes.summary_of(file) for name, file in recipes.shipped().items()}
    if as_json:
        print_json([{"name": name, "summary": summary} for name, summary in found.items()])
    else:
        print_table(("recipe", "what"), found.items())
