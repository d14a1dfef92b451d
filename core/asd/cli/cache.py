"""``asd cache``: show and remove kept embeddings."""

from __future__ import annotations

import datetime
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from asd.cli.flags import json_option, verbose_option
from asd.cli.output import print_json, print_table, reporting
from asd.errors import ConfigError
from asd.files.address import masked
from asd_registry.text import counted

_MEGABYTE = 10**6


@click.group()
def cache() -> None:
    """Show and prune the embeddings that are kept between runs.

    They can be computed again at any time. ASD_CACHE names the folder that holds them. ASD_CACHE_SIZE limits their
    size, such as 500MB (default: 2GB; 0 turns the cache off); what was not used for longest is removed first. One that
    several computers share, on a network drive or at an address (s3://…), has no limit: prune it.
    """


@cache.command()
@json_option
@verbose_option
def show(as_json: bool, verbose: bool) -> None:
    """List what is kept by front end and extractor."""
    from asd.detection.embeddings import EmbeddingCache

    kept = EmbeddingCache()
    with reporting(verbose):
        usage = kept.usage() if kept.exists else []
    if as_json:
        pipelines = [asdict(each) for each in usage]
        print_json({"path": masked(str(kept.path)), "limit": kept.limit, "pipelines": pipelines})
        return
    if usage:
        print_table(("front end", "extractor", "precision", "clips", "size", "last used"), [_row(u) for u in usage])
    else:
        click.echo("No embeddings are kept.")
    most = f"takes at most {kept.limit / _MEGABYTE:.0f} MB"
    most = "has no limit: 'asd cache prune' removes" if kept.is_shared else most
    limit = most if kept.limit else "is off (ASD_CACHE_SIZE is 0)"
    click.echo(f"asd: the embedding cache is {masked(str(kept.path))} and {limit}", err=True)


@cache.command()
@click.option("--unused-days", type=click.FloatRange(0), help="Remove what was not used for so many days.")
@click.option("--max-size", type=click.FloatRange(0), metavar="MB", help="Keep the last used, up to this size.")
@click.option("--all", "everything", is_flag=True, help="Remove everything, files of other versions too.")
@json_option
@verbose_option
def prune(unused_days: float | None, max_size: float | None, everything: bool, as_json: bool, verbose: bool) -> None:
    """Remove embeddings that are not needed; they are computed again when they are."""
    from asd.detection.embeddings import EmbeddingCache
    from asd.files import known

    if not everything and unused_days is None and max_size is None:
        raise ConfigError("asd cache prune: say what to remove: --unused-days DAYS, --max-size MB or --all")
    limit = 0 if everything else None if max_size is None else round(max_size * _MEGABYTE)
    kept = EmbeddingCache()
    with reporting(verbose):
        removed = kept.prune(unused_days=unused_days, max_bytes=limit) if kept.exists else 0
    if everything:
        known.remove_all()
    if everything and isinstance(kept.path, Path):
        for file in kept.path.parent.glob("embeddings*.sqlite*"):
            if file.is_file() and not file.name.startswith(kept.path.name):
                file.unlink()
    if as_json:
        print_json({"path": masked(str(kept.path)), "removed": removed})
    else:
        click.echo(f"Removed the embeddings of {counted(removed, 'clip')}.")


def _row(usage: Any) -> tuple[str, ...]:
    described = usage.described
    day = datetime.datetime.fromtimestamp(usage.used).date().isoformat()
    size = f"{usage.size / _MEGABYTE:.1f} MB"
    names = (described[kind]["name"].partition(":")[2] for kind in ("frontend", "extractor"))
    return (*names, described["runtime"]["precision"], str(usage.clips), size, day)
