"""The command and the experiment trackers of this distribution."""

from __future__ import annotations

from collections.abc import Iterator

from asd_registry import CommandSpec, TrackerSpec, hookimpl


@hookimpl
def asd_commands() -> Iterator[CommandSpec]:
    """Yield the command."""
    yield CommandSpec(
        name="bench", summary="Compare pipelines on data by a recipe.", target="asd_bench.bench_command:bench"
    )


@hookimpl
def asd_trackers() -> Iterator[TrackerSpec]:
    """Yield the experiment trackers."""
    yield TrackerSpec(
        name="mlflow",
        summary="MLflow: a run for the benchmark, one below it for each pipeline.",
        target="asd_bench.trackers:to_mlflow",
        requires=("mlflow-skinny>=2.10",),
    )
    yield TrackerSpec(
        name="wandb",
        summary="Weights & Biases: a group for the benchmark, a run in it for each pipeline.",
        target="asd_bench.trackers:to_wandb",
        requires=("wandb>=0.16",),
    )
