"""``asd bench compare``: what changed from one run to another."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from asd.command import PathOrUrl, json_option, print_json, print_table, say
from asd_bench.paired import Difference, differences, read_run

_PATH = PathOrUrl()


@click.command()
@click.argument("first", type=_PATH, metavar="RUN")
@click.argument("second", type=_PATH, metavar="RUN")
@json_option
def compare(first: Path, second: Path, as_json: bool) -> None:
    """Compare two runs: paired differences, the second less the first.

    RUN is the results folder of 'asd bench', or the results.json in it. Each pipeline that both have is compared on the
    machine sections, seeds and test clips that both have; the best of each run, too.
    """
    found = differences(read_run(first), read_run(second))
    if as_json:
        print_json([asdict(each) for each in found])
        return
    print_table(
        ("pipeline", str(first), str(second), "difference", "over clips", "over machines", "better / worse"),
        [_row(each) for each in found],
    )
    say(
        "Difference: the second less the first. Its 95 % intervals: over the test clips, with these machine sections; "
        "and over the machine sections, as a sample of others (from 3 on). One that includes 0 shows no difference."
    )


def _row(each: Difference) -> tuple[str, ...]:
    name = each.first if each.first == each.second else f"{each.first} ⇒ {each.second}"
    return (
        name,
        f"{each.first_score:.3f}",
        f"{each.second_score:.3f}",
        f"{each.difference:+.3f}",
        _interval(each.clips),
        _interval(each.machines) if each.machines else "–",
        f"{each.better} / {each.worse}",
    )


def _interval(values: tuple[float, float]) -> str:
    return f"{values[0]:+.3f} – {values[1]:+.3f}"
