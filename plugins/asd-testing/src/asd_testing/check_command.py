"""``asd check``: whether components keep the framework's promises."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asd.command import emphasised, json_option, print_json, print_table, registry, verbose_option
from asd.errors import PluginError
from asd_registry import KINDS, Kind, Plugin

if TYPE_CHECKING:
    from asd_testing.report import Report, Result

_STYLES = {"passed": "green", "failed": "bold red", "skipped": "yellow", "expected failure": "yellow"}


@click.command()
@click.argument("what", nargs=-1, metavar="NAME|DISTRIBUTION|FILE.py...")
@click.option("--kind", type=click.Choice(KINDS), help="Only components of this kind.")
@click.option("--all", "everything", is_flag=True, help="Every installed component.")
@json_option
@verbose_option
@click.pass_context
def check(
    ctx: click.Context, what: tuple[str, ...], kind: Kind | None, everything: bool, as_json: bool, verbose: bool
) -> None:
    """Check whether components keep the framework's promises.

    Give names of components, distributions (all that they offer), or Python files that define components. Exit code 0:
    every check passed, 1: a check failed, or none could be made, 2: an error.
    """
    if bool(what) == everything:
        raise click.UsageError("name what to check (a component, a distribution or a file), or use --all")
    if not verbose:  # warnings about random weights or convergence do not matter for a check
        logging.getLogger("asd").setLevel(logging.ERROR)
    # Up to three processes compute at once; with one thread per core in each, they would slow each other down.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // 2)))
    reports = []
    for report in _reports(what, kind):
        reports.append(report)
        if not as_json:
            _show(report, verbose)
    if not reports:
        raise PluginError(f"there is no {kind or 'component'} to check; 'asd plugins' lists what is installed")
    if as_json:
        print_json([report.as_dict() for report in reports])
    elif len(reports) > 1:
        _summarise(reports)
    ctx.exit(0 if all(report.ok for report in reports) else 1)


def _reports(what: tuple[str, ...], kind: Kind | None) -> Iterator[Report]:
    from asd_testing.conformance import check_component
    from asd_testing.report import Report, Result

    for given in _chosen(what, kind):
        if isinstance(given, Plugin):
            yield Report(given.distribution, "plugin", (Result("plugin-loads", "failed", str(given.error)),))
        else:
            yield check_component(given, kind=kind)


def _chosen(what: tuple[str, ...], kind: Kind | None) -> list[Any]:
    """Return names, classes and broken plugins, each once."""
    if not what:
        return [*_offered(kind, None), *_broken(None)]
    found: list[Any] = []
    for name in what:
        found += _named(name, kind)
    return list(dict.fromkeys(found))


def _named(name: str, kind: Kind | None) -> list[Any]:
    if name.endswith(".py"):
        return _in_file(Path(name), kind)
    if any(plugin.distribution == name for plugin in registry().plugins):
        return [*_offered(kind, name), *_broken(name)]
    return [registry().find(kind, name).qualified_name]


def _in_file(path: Path, kind: Kind | None) -> list[Any]:
    """Return the components of a plugin file, or the component classes of another Python file."""
    from asd_testing.under_test import classes_in

    if path.is_file() and "asd_components" in path.read_text(encoding="utf-8"):
        return list(_offered(kind, registry().add_file(path).distribution))
    return list(classes_in(path))


def _offered(kind: Kind | None, distribution: str | None) -> list[str]:
    return [c.qualified_name for c in registry().of_kind(kind) if distribution in (None, c.plugin.distribution)]


def _broken(distribution: str | None) -> list[Plugin]:
    return [p for p in registry().plugins if p.error and distribution in (None, p.distribution)]


def _show(report: Report, verbose: bool) -> None:
    click.echo(f"{report.component} ({report.kind})")
    rows = [
        (emphasised(result.outcome, _STYLES[result.outcome]), result.check, f"{result.seconds:.1f} s", result.reason)
        for result in map(_joined, _alike(report.results))
    ]
    print_table(("outcome", "check", "time", "reason"), rows)
    verdict = emphasised("OK", "green") if report.ok else emphasised("NOT OK", "bold red")
    click.echo(f"{verdict}: {report.summary}\n")


def _alike(results: Iterable[Result]) -> list[list[Result]]:
    """Return the results in order, those in groups that were skipped for the same reason."""
    groups: dict[Any, list[Result]] = {}
    for result in results:
        groups.setdefault(result.reason if result.outcome == "skipped" else result, []).append(result)
    return list(groups.values())


def _joined(results: list[Result]) -> Result:
    first, others = results[0], results[1:]
    name = f"{first.check} and {len(others)} more" if others else first.check
    return replace(first, check=name, seconds=sum(result.seconds for result in results))


def _summarise(reports: list[Report]) -> None:
    print_table(
        ("component", "kind", "verdict"),
        [(r.component, r.kind, emphasised(r.summary, "green" if r.ok else "bold red")) for r in reports],
    )
