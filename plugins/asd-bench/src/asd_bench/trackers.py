"""Hand a benchmark's results to an experiment tracker: MLflow, Weights & Biases, or one of a plugin's."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from asd.errors import PluginError
from asd_bench.export import described_for_trackers
from asd_bench.results import Results

_PROJECT = "asd"
_LONGEST = 500
"""Characters of a parameter's value; MLflow takes no more."""


def track_results(
    name: str, track: Any, results: Results, provenance: Mapping[str, str], files: Sequence[Path]
) -> str | None:
    """Hand results to a tracker, and return where they are to be seen.

    Parameters
    ----------
    name : str
        The tracker's name, for errors.
    track : function
        The tracker (`asd_registry.TrackerSpec`).
    results : Results
        The results.
    provenance : mapping of str to str
        Where they come from.
    files : sequence of Path
        What was written of them.

    Raises
    ------
    PluginError
        If the tracker fails; the results are written by then.
    """
    run = described_for_trackers(results, provenance, files)
    try:
        place = track(run)
    except Exception as error:  # a tracker's own, or its server's
        reason = " ".join(str(error).split())
        raise PluginError(
            f"tracker {name!r} failed: {type(error).__name__}: {reason}; the results are in {files[0].parent}, and the "
            "same command hands them over again"
        ) from error
    return None if place is None else str(place)


def to_mlflow(run: Mapping[str, Any]) -> str:
    """Log a run to MLflow (``MLFLOW_TRACKING_URI``), one below it for each pipeline, and the files with the first."""
    mlflow = importlib.import_module("mlflow")
    mlflow.set_experiment(f"{_PROJECT}: {run['name']}")
    with mlflow.start_run(run_name=run["name"]) as parent:
        mlflow.log_params({name: value[:_LONGEST] for name, value in run["parameters"].items()})
        if run["pipelines"]:
            mlflow.log_metrics({f"best_{name}": value for name, value in run["pipelines"][0]["metrics"].items()})
        for file in run["files"]:
            mlflow.log_artifact(file)
        for pipeline in run["pipelines"]:
            with mlflow.start_run(run_name=pipeline["name"], nested=True):
                mlflow.log_params({name: str(value)[:_LONGEST] for name, value in pipeline["parameters"].items()})
                mlflow.log_metrics(pipeline["metrics"])
        return f"{mlflow.get_tracking_uri()}, run {parent.info.run_id}"


def to_wandb(run: Mapping[str, Any]) -> str:
    """Log a run for each pipeline to Weights & Biases, in a group, and the files with the best (``WANDB_MODE``)."""
    wandb = importlib.import_module("wandb")
    group = f"{run['name']} {run['parameters'].get('date', '')}".strip()
    place = ""
    for number, pipeline in enumerate(run["pipelines"]):
        started = wandb.init(
            project=_PROJECT, group=group, name=pipeline["name"], reinit=True,
            config={**run["parameters"], **pipeline["parameters"]},
        )  # fmt: skip
        started.log(pipeline["metrics"])
        if number == 0:
            place = str(started.url or started.dir)
            for file in run["files"]:
                started.save(file, policy="now", base_path=str(Path(file).parent))
        started.finish()
    return place
