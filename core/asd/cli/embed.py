"""``asd embed``: write the embeddings of recordings to a file."""

from __future__ import annotations

import textwrap
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from asd.cli.dotted import DottedCommand
from asd.cli.flags import PathOrUrl, cache_option, json_option, strict_option, verbose_option
from asd.cli.options import config_from, pipeline_options, runtime_from, runtime_options
from asd.cli.output import print_json, reporting, together
from asd.errors import AsdError
from asd_registry.text import counted

_TAKEN = ("frontend", "extractor", "quality", "group", "channel", "segment", "short", "tail", "seed")
"""The fields of a configuration that embeddings depend on; the pooling is described otherwise than for a fit."""


class _EmbedCommand(DottedCommand):
    kinds = ("frontend", "extractor")
    hint = (
        "Component parameters: --frontend.NAME and --extractor.NAME followed by a value; 'asd plugins show NAME' lists "
        "them. --plugin-file FILE.py loads components of your own."
    )


@click.command(cls=_EmbedCommand)
@click.argument("data", nargs=-1, required=True, metavar="DATA...")
@click.option("-o", "--output", required=True, type=PathOrUrl(), help="File to write: *.npz or *.parquet.")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@click.option("--windows", is_flag=True, help="A vector for each window instead of one for each clip.")
@click.option("--branch", metavar="NAME", help="Which branch of a pipeline of several. [default: the first]")
@click.option(
    "--embedding-pooling",
    type=click.Choice(["mean", "mean-std", "max"]),
    help="How a clip's windows become one vector. [default: as the pipeline says, or mean]",
)
@pipeline_options(only=_TAKEN)
@runtime_options
@cache_option
@strict_option
@json_option
@verbose_option
@click.pass_context
def embed(
    ctx: click.Context,
    /,
    data: tuple[str, ...],
    output: Path,
    force: bool,
    windows: bool,
    branch: str | None,
    config_file: Path | None,
    device: str,
    precision: str,
    batch_size: str,
    workers: int,
    cache: bool,
    strict: bool,
    as_json: bool,
    verbose: bool,
    **options: Any,
) -> None:
    """Write the embeddings of recordings, with where they come from, to a file for Python or other programs.

    DATA is files, folders, glob patterns, here or by address (s3://…), or a CSV manifest with a column 'path'; all
    recordings count, whatever their label. A clip that cannot be read is reported and left out; --strict stops there.
    Exit code 0, or 2 on an error.
    """
    with reporting(verbose):
        from asd.detection.embedding import check_windows, embed_found
        from asd.detection.output import EMBEDDINGS, reserve
        from asd.detection.vectors_file import check_suffix, write

        check_suffix(output)
        check_windows(windows, options["embedding_pooling"])
        runtime = runtime_from(device, precision, batch_size)
        how: dict[str, Any] = {"runtime": runtime, "workers": workers, "strict": strict, "cache": cache}
        with ExitStack() as stack:
            reserved, config = together(
                lambda: stack.enter_context(reserve(output, overwrite=force, content=EMBEDDINGS)),
                lambda: config_from(ctx, config_file, options),
            )
            try:
                embeddings = embed_found(data, config, branch=branch, windows=windows, **how)
            except KeyboardInterrupt:
                raise AsdError("interrupted; nothing was written") from None
            write(embeddings, reserved)
    summary = summarise(embeddings, output)
    if as_json:
        print_json(summary)
        return
    for line in describe(embeddings, summary):
        click.echo(textwrap.fill(line, 80, subsequent_indent="    ", break_on_hyphens=False, break_long_words=False))


def summarise(embeddings: Any, output: Path) -> dict[str, Any]:
    """Return what ``asd embed --json`` prints."""
    return {
        "output": str(output),
        "clips": len(embeddings.clips),
        "vectors": len(embeddings),
        "dimension": embeddings.dimension,
        "windows": embeddings.windows,
        "seconds": sum(each.seconds for each in embeddings.features),
        "left_out": len(embeddings.failures),
        "failures": [failure.as_dict() for failure in embeddings.failures],
        "notes": [{"clip": str(each.clip), "notes": each.notes} for each in embeddings.features if each.notes],
        "provenance": embeddings.provenance,
    }


def describe(embeddings: Any, summary: dict[str, Any]) -> list[str]:
    """Return what was written, in sentences."""
    provenance = embeddings.provenance
    frontend, extractor = (provenance[kind]["name"].rpartition(":")[2] for kind in ("frontend", "extractor"))
    rows = (
        "one for each window" if embeddings.windows else f"one for each clip ({provenance['pooling']} of its windows)"
    )
    clips = counted(summary["clips"], "clip")
    lines = [
        f"Embedded {clips} ({summary['seconds']:.0f} s of sound), written to {summary['output']}.",
        f"{counted(summary['vectors'], 'vector')} of {summary['dimension']} values, {rows}: {frontend} → {extractor}.",
    ]
    if summary["left_out"]:
        lines.append(f"Left out {counted(summary['left_out'], 'clip')} that could not be used (see above).")
    if noted := len(summary["notes"]):
        lines.append(f"{noted} clips have notes, such as: {summary['notes'][0]['notes'][0]}.")
    return [*lines, f"Next, in Python: asd.Embeddings.load({summary['output']!r}).vectors"]
