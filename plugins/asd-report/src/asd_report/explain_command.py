"""``asd explain``: why a recording is unusual."""

from __future__ import annotations

from pathlib import Path

import click

from asd.command import (
    PathOrUrl,
    json_option,
    print_json,
    reporting,
    runtime_from,
    runtime_options,
    trust_option,
    verbose_option,
)
from asd_report.output import check_output, write_output

PICTURES = (".png", ".svg", ".pdf")


@click.command()
@click.argument("model_file", type=PathOrUrl(), metavar="MODEL")
@click.argument("clip", type=PathOrUrl(), metavar="CLIP")
@click.option(
    "--healthy",
    multiple=True,
    metavar="DATA",
    help="Healthy recordings, those of the fit if possible: the most similar one stands for what is unusual.",
)
@click.option("-o", "--output", type=PathOrUrl(), metavar="FILE", help="Draw it: .png, .svg or .pdf.")
@click.option("--force", is_flag=True, help="Overwrite an existing picture.")
@json_option
@runtime_options
@trust_option
@verbose_option
def explain(
    model_file: Path,
    clip: Path,
    healthy: tuple[str, ...],
    output: Path | None,
    force: bool,
    as_json: bool,
    device: str,
    precision: str,
    batch_size: str,
    workers: int,
    trust: bool,
    verbose: bool,
) -> None:
    """Say when, where in the spectrum and by how much a recording is unlike the healthy ones.

    Places in time and frequency are ranked by what they add to the model's score: how much of it goes when the place
    is replaced by healthy sound. Of a long recording the most unusual clip is explained. If nothing stands out, it says
    so.
    """
    if output is not None:
        check_output(output, PICTURES, force=force)
    with reporting(verbose):
        import asd

        model = asd.load(model_file, runtime=runtime_from(device, precision, batch_size), trust=trust)
        found = asd.explain(model, clip, healthy=healthy)
        if output is not None:
            from asd_report.picture import draw

            write_output(output, draw(found, output.suffix.lower()[1:]))
    if as_json:
        print_json(found.to_dict())
    else:
        for line in found.sentences():
            click.echo(line)
    if output is not None:
        click.echo(f"Wrote {output}.", err=as_json)
