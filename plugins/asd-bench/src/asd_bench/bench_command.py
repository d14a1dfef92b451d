"""``asd bench``: compare pipelines on data by a recipe."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import click

from asd.command import json_option, print_json, print_table, reporting, runtime_from, runtime_options, verbose_option
from asd.errors import ConfigError, DataError
from asd.experiment import EmbeddingCache, content_of, duplicates
from asd.plugin import Runtime
from asd_bench import export, show
from asd_bench import recipe as recipes
from asd_bench.compute import TrialRunner
from asd_bench.live import watched
from asd_bench.machines import run as machines
from asd_bench.machines.recipe import is_machines
from asd_bench.machines.recipe import read as read_machines
from asd_bench.recipe import Recipe, RecipeFile
from asd_bench.recommend import Limits, recommendation, write_config
from asd_bench.report import write_report
from asd_bench.results import Results, summarise
from asd_bench.runner import Run, read_data
from asd_bench.store import Store
from asd_bench.submission import write_submission

_log = logging.getLogger("asd")
_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("recipe", required=False)
@click.option(
    "--data", type=_PATH, multiple=True, metavar="DIR", help="Folder of the data; the recipe 'machines' takes several."
)
@click.option(
    "--pipeline",
    "pipelines",
    multiple=True,
    metavar="NAME",
    help="Recipe 'machines': fast, default, best or a TOML file.",
)
@click.option("-o", "--output", type=_PATH, help="Results folder, where a run continues [default: bench-RECIPE].")
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
@runtime_options
@json_option
@verbose_option
def bench(
    recipe: str | None,
    data: tuple[Path, ...],
    pipelines: tuple[str, ...],
    output: Path | None,
    listed: bool,
    printed: bool,
    recommend: Path | None,
    submission: Path | None,
    max_time: float | None,
    max_memory: float | None,
    permissive: bool,
    wide: bool,
    device: str,
    precision: str,
    batch_size: str,
    workers: int,
    as_json: bool,
    verbose: bool,
) -> None:
    """Compare pipelines on data. RECIPE is a name from --list or a TOML file.

    Prints a table and writes CSV, JSON and an HTML report into the results folder. Results are kept there: after an
    interruption the same command continues. RECIPE 'machines' compares whole pipelines over many machines.
    """
    if listed:
        _list(as_json)
        return
    if recipe is None:
        raise ConfigError("name a recipe: 'asd bench --list' lists them, 'asd bench NAME --print' prints one to copy")
    file = recipes.find(recipe)
    if printed:
        click.echo(file.text, nl=False)
        return
    if not data:
        raise ConfigError(f"name the folder of the data: asd bench {recipe} --data DIR")
    runtime = runtime_from(device, precision, batch_size)
    limits = Limits(max_time, max_memory, permissive)
    if is_machines(file):
        _refuse(file, {"--recommend": recommend, "--submission": submission}, limits)
        written = _compare_machines(file, pipelines, data, output, runtime, workers, as_json=as_json, verbose=verbose)
        click.echo(f"asd: written: {', '.join(map(str, written))}", err=True)
        return
    chosen = recipes.read(file)
    if pipelines or len(data) > 1:
        many = "--pipeline" if pipelines else f"--data {len(data)} times"
        raise ConfigError(f"recipe {chosen.name!r} takes no {many}; 'asd bench machines' does")
    if limits != Limits() and recommend is None:
        raise ConfigError("--max-time, --max-memory and --permissive limit a recommendation: add --recommend FILE.toml")
    folder = output or Path(f"bench-{chosen.name}")
    with reporting(verbose):
        results, written = _run(chosen, file, data[0], folder, runtime, workers, submission)
    advice = recommendation(results, limits, data[0].resolve().name) if recommend else None
    if as_json:
        print_json(export.as_json(results) | ({"recommended": advice.as_dict()} if advice else {}))
    else:
        show.print_results(results, wide=wide)
    if advice and recommend:
        write_config(advice, recommend)
        written.append(recommend)
        if not as_json:
            click.echo(f"\n{advice.text}\nNext: asd fit RECORDINGS --config {recommend} -o machine.asd")
    click.echo(f"asd: written: {', '.join(map(str, written))}", err=True)


def _refuse(file: RecipeFile, options: Mapping[str, Path | None], limits: Limits) -> None:
    """Raise a ConfigError for options of other recipes."""
    given = [name for name, value in options.items() if value is not None]
    given += ["a limit"] if limits != Limits() else []
    if given:
        raise ConfigError(f"recipe {file.name!r} takes no {given[0]}; it compares whole pipelines: see --pipeline")


def _compare_machines(
    file: RecipeFile,
    pipelines: Sequence[str],
    data: Sequence[Path],
    output: Path | None,
    runtime: Runtime,
    workers: int,
    *,
    as_json: bool,
    verbose: bool,
) -> list[Path]:
    """Run a recipe of machines, print the results, and return the files that were written."""
    recipe = read_machines(file, pipelines)
    with reporting(verbose):
        summaries, rows, written = machines.run(
            recipe, data, output or Path(f"bench-{recipe.name}"), runtime=runtime, workers=workers
        )
    machines.show(recipe, summaries, rows, as_json_text=as_json)
    return written


def _run(
    recipe: Recipe, file: RecipeFile, data: Path, folder: Path, runtime: Runtime, workers: int, submission: Path | None
) -> tuple[Results, list[Path]]:
    """Return the results, and the files that were written of them."""
    try:
        recordings, channel = read_data(recipe, data)
        with closing(Store(folder)) as store:
            run = Run(recordings, store, TrialRunner(recipe, EmbeddingCache(), channel, runtime, workers))
            _warn_of_duplicates(run)
            with watched(recipe) as observe:
                results = summarise(recipe, run.results(observe))
            written = [*export.write(results, folder), write_report(results, folder / "report.html")]
            if submission:
                written += write_submission(run, results, submission)
            return results, written
    except ConfigError as error:
        raise file.with_place(error) from error
    except KeyboardInterrupt:
        raise DataError(f"interrupted; what is finished is kept in {folder}, and the same command goes on") from None


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
