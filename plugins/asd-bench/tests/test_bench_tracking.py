"""``asd bench --tracking``: a stranger's tracker, one that is missing, one that fails, MLflow with a local store."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from asd.errors import PluginError
from asd_bench.provenance import provenance
from asd_bench.results import Results
from asd_bench.trackers import to_mlflow, track_results
from asd_registry import Registry, TrackerSpec

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tests"))

from invented import invented  # lies beside all distributions

PLUGIN = """
import json
from asd_registry import TrackerSpec, hookimpl

@hookimpl
def asd_trackers():
    yield TrackerSpec(name="notebook", summary="A file.", target="my_tracker:track")
    yield TrackerSpec(name="absent", summary="Needs much.", target="my_tracker:track", requires=("no-such-thing>=3",))

def track(run):
    with open(run["parameters"]["where"], "w") as file:
        json.dump(run, file)
    return run["parameters"]["where"]
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return invented(tmp_path_factory.mktemp("sounds"), pipelines=2, machines=2, clips=12)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    path = tmp_path_factory.mktemp("plugin") / "my_tracker.py"
    path.write_text(PLUGIN)
    found = Registry(entry_points=[])
    found.add_file(path)
    return found


def test_a_strangers_tracker_gets_what_there_is(registry: Registry, results: Results, tmp_path: Path) -> None:
    where = str(tmp_path / "run.json")
    place = track_results(
        "notebook", registry.tracker("notebook"), results, {"where": where}, [tmp_path / "results.json"]
    )
    assert place == where
    run = json.loads(Path(where).read_text())
    assert run["name"] == "invented"
    assert run["files"] == [str(tmp_path / "results.json")]
    assert [pipeline["name"] for pipeline in run["pipelines"]] == [summary.label for summary in results.ranking]
    assert run["pipelines"][0]["metrics"]["score"] == results.ranking[0].score
    assert run["pipelines"][0]["parameters"]["detector"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent", "tracker 'absent' cannot run: needs pip install 'no-such-thing>=3'"),
        ("notebok", "unknown tracker 'notebok'; known: absent, notebook; a plugin adds one by the hook asd_trackers"),
    ],
)
def test_a_tracker_that_is_not_there_is_one_line(name: str, message: str, registry: Registry) -> None:
    with pytest.raises(PluginError) as raised:
        registry.tracker(name)
    assert str(raised.value) == message


def test_a_tracker_that_fails_loses_nothing(results: Results, tmp_path: Path) -> None:
    def broken(run: Any) -> None:
        raise ConnectionError("no route\nto host")

    with pytest.raises(PluginError) as raised:
        track_results("broken", broken, results, {}, [tmp_path / "out" / "results.json"])
    assert str(raised.value) == (
        f"tracker 'broken' failed: ConnectionError: no route to host; the results are in {tmp_path / 'out'}, and the "
        "same command hands them over again"
    )


def test_ours_are_found_whether_their_libraries_are_installed_or_not() -> None:
    found = Registry()
    assert {"mlflow", "wandb"} <= set(found.trackers)
    if importlib.util.find_spec("wandb") is None:
        with pytest.raises(PluginError, match=r"tracker 'wandb' cannot run: needs pip install 'wandb>=0\.16'"):
            found.tracker("wandb")


@pytest.mark.parametrize(
    "field", [{"name": "Upper"}, {"target": "no target"}, {"requires": "text"}, {"summary": "a\nb"}]
)
def test_a_spec_with_a_wrong_field_says_which(field: dict[str, Any]) -> None:
    right: dict[str, Any] = {"name": "mine", "summary": "Mine.", "target": "mine:track"}
    with pytest.raises(ValueError, match=f"tracker .*: {next(iter(field))} must be "):
        TrackerSpec(**right | field)


@pytest.mark.filterwarnings("ignore")  # mlflow's own
def test_mlflow_keeps_runs_in_a_local_store(results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # mlflow-skinny has no database
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results.json").write_text("{}")
    origin = provenance(results, tmp_path)
    place = track_results("mlflow", to_mlflow, results, origin, [tmp_path / "results.json"])
    assert place is not None
    runs = mlflow.search_runs(experiment_names=["asd: invented"], output_format="list")
    assert sorted(run.info.run_name for run in runs) == sorted(["invented", *(each.label for each in results.ranking)])
    best = next(run for run in runs if run.info.run_name == results.ranking[0].label)
    assert best.data.metrics["score"] == pytest.approx(results.ranking[0].score)
