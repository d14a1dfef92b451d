"""Pieces of work on a real scheduler with two real worker processes, and what happens to them when those die."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dask_pieces
import pytest
from dask_cluster import Cluster, scheduler_file
from distributed import Client

from asd.errors import EngineError, PluginError, WorkerLost
from asd_dask.engine import DaskEngine
from waiting import PATIENCE, until

pytestmark = pytest.mark.slow
DAY = 86_400


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two workers of one thread; the second believes that it is tomorrow and has a GPU."""
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "tomorrow").mkdir()
    (folder / "tomorrow" / "sitecustomize.py").write_text(
        f"import time\nnow = time.time\ntime.time = lambda: now() + {DAY}\n"
    )
    started = Cluster(folder)
    started.worker(environment={"ASD_TEST_WORKER": "first"})
    started.worker("--resources", "GPU=1", path=(folder / "tomorrow",), environment={"ASD_TEST_WORKER": "second"})
    with _of_two(DaskEngine(scheduler=started.address, patience=PATIENCE)):
        yield started
    started.close()


@pytest.fixture
def engine(cluster: Cluster) -> Iterator[DaskEngine]:
    with _of_two(DaskEngine(scheduler=cluster.address, patience=PATIENCE)) as started:
        yield started


class _of_two:  # noqa: N801  # reads as a function
    """Starts an engine, waits for two workers, and closes it."""

    def __init__(self, engine: DaskEngine) -> None:
        self.engine = engine

    def __enter__(self) -> DaskEngine:
        self.engine.start()
        until(lambda: len(self.engine.everywhere(dask_pieces.process)) == 2)
        return self.engine

    def __exit__(self, *_: object) -> None:
        self.engine.close()


def results_of(engine: DaskEngine, tasks: list[Any]) -> list[Any]:
    """Return results in order, and the name of the error where there is none."""
    found: list[Any] = []
    for task in tasks:
        try:
            found.append(engine.result(task))
        except WorkerLost as error:
            found.append(type(error).__name__)
    return found


def test_pieces_return_what_they_return_and_raise_what_they_raise(engine: DaskEngine) -> None:
    tasks = [engine.submit(dask_pieces.double, number) for number in range(20)]
    engine.wait(tasks)
    assert any(engine.done(task) for task in tasks)
    assert results_of(engine, tasks) == [2 * number for number in range(20)]
    with pytest.raises(ValueError, match=r"^no such thing$"):
        engine.result(engine.submit(dask_pieces.fail, "no such thing"))
    with pytest.raises(TimeoutError, match=r"^the function's own$"):
        engine.result(engine.submit(dask_pieces.be_late))
    engine.start()  # once more does nothing
    assert engine.slots == 2


def test_a_shared_value_is_fetched_once_by_each_process(engine: DaskEngine) -> None:
    handle = engine.scatter([7] * 100_000)
    seen = results_of(engine, [engine.submit(dask_pieces.identity_of, handle) for _ in range(20)])
    assert len(set(seen)) == len({process for process, _ in seen}) <= 2
    assert set(engine.everywhere(dask_pieces.first_of, handle).values()) == {7}
    del handle
    engine.scatter(0)
    assert len(engine._shared) == 1  # the former is forgotten


def test_the_scheduler_keeps_little_and_nothing_of_a_client_that_is_gone(cluster: Cluster, engine: DaskEngine) -> None:
    assert engine._client is not None
    _, before = engine._client.run_on_scheduler(dask_pieces.kept_by)
    gone = DaskEngine(scheduler=cluster.address)
    gone.start()
    handle = gone.scatter([1])
    assert results_of(gone, [gone.submit(dask_pieces.first_of, handle) for _ in range(20)]) == [1] * 20
    marks, values = engine._client.run_on_scheduler(dask_pieces.kept_by)
    assert marks <= 2  # the last of each worker, whose end the next one tells
    assert values == before + 1
    assert gone._client is not None
    gone._client.close()  # as when its process dies: the engine says no farewell
    until(lambda: engine._client.run_on_scheduler(dask_pieces.kept_by)[1] == before)


def test_relative_paths_mean_the_same_in_workers(
    engine: DaskEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert set(engine.everywhere(os.getcwd).values()) == {str(tmp_path)}


def test_a_clock_that_is_a_day_ahead_matters_to_nothing(engine: DaskEngine) -> None:
    clocks = engine.everywhere(dask_pieces.clock).values()
    assert max(clocks) - min(clocks) > DAY / 2
    processes = results_of(engine, [engine.submit(dask_pieces.alone, 0.05) for _ in range(20)])
    assert processes == [True] * 20


def test_a_killed_process_loses_the_piece_that_it_ran_and_no_other(engine: DaskEngine, tmp_path: Path) -> None:
    handle = engine.scatter([3])
    names = [f"piece{number}" for number in range(12)]
    tasks = [engine.submit(dask_pieces.note_and_wait, str(tmp_path), name, 0.3) for name in names]
    tasks.insert(5, engine.submit(dask_pieces.die))
    assert results_of(engine, tasks) == [*names[:5], "WorkerLost", *names[5:]]
    tasks = [engine.submit(dask_pieces.note_and_wait, str(tmp_path), "long", 3600)]
    until(
        lambda: (
            (begun := list(tmp_path.glob("long-*")))
            and os.kill(int(begun[0].name.split("-")[1]), signal.SIGKILL) is None
        )
    )
    assert results_of(engine, tasks) == ["WorkerLost"]
    until(lambda: len(engine.everywhere(dask_pieces.first_of, handle)) == 2)  # their successors have the shared value


def test_cancelled_pieces_do_not_begin(engine: DaskEngine, tmp_path: Path) -> None:
    tasks = [engine.submit(dask_pieces.note_and_hold, str(tmp_path), f"piece{number}") for number in range(20)]
    until(lambda: len(list(tmp_path.iterdir())) == 2)
    engine.cancel(tasks)
    until(lambda: not engine._connected.run_on_scheduler(dask_pieces.some_wait))
    (tmp_path / "go").touch()
    assert engine.result(engine.submit(dask_pieces.double, 1)) == 2
    time.sleep(0.5)
    assert len(list(tmp_path.glob("piece*"))) <= 5  # what ran, and what a worker had before it


def test_a_piece_for_a_gpu_runs_where_one_is_declared(engine: DaskEngine) -> None:
    where = [engine.submit(dask_pieces.environment, "ASD_TEST_WORKER", needs={"GPU": 1}) for _ in range(8)]
    assert set(results_of(engine, where)) == {"second"}


def test_what_no_worker_declares_is_not_asked_for(engine: DaskEngine) -> None:
    assert engine.result(engine.submit(dask_pieces.double, 4, needs={"TPU": 1})) == 8
    assert engine.result(engine.submit(dask_pieces.double, 4, needs={"GPU": 2})) == 8


def test_a_process_of_several_threads_runs_one_piece_at_a_time(cluster: Cluster, engine: DaskEngine) -> None:
    started = cluster.worker("--no-nanny", "--nthreads", "4", "--resources", "THREADS=4")
    until(lambda: engine.everywhere(dask_pieces.process) and engine.slots == 3)
    tasks = [engine.submit(dask_pieces.alone, 0.1, needs={"THREADS": 1}) for _ in range(6)]
    assert results_of(engine, tasks) == [True] * 6
    cluster.kill(started)
    until(lambda: engine.slots == 2)


def test_a_client_and_a_cluster_of_the_users_are_taken_and_left_open(cluster: Cluster) -> None:
    assert DaskEngine.adopt("tcp://host:1") is None
    with Client(cluster.address, set_as_default=False) as client:
        engine = DaskEngine.adopt(client)
        assert engine is not None
        engine.start()
        assert engine.result(engine.submit(dask_pieces.double, 4)) == 8
        engine.close()
        assert client.submit(dask_pieces.double, 5).result() == 10
    engine = DaskEngine.adopt(client)
    assert engine is not None
    with pytest.raises(
        EngineError, match=r"needs a client that is open and not asynchronous; give it distributed.Client"
    ):
        engine.start()


def test_a_scheduler_file_is_read(cluster: Cluster, tmp_path: Path) -> None:
    engine = DaskEngine(scheduler=str(tmp_path / "scheduler.json"))
    with ThreadPoolExecutor() as pool:
        starting = pool.submit(engine.start)  # before it is there
        scheduler_file(tmp_path, cluster.address)
        starting.result(timeout=PATIENCE)
    assert engine.result(engine.submit(dask_pieces.double, 4)) == 8
    engine.close()


def test_the_address_of_a_worker_is_told_from_a_schedulers(engine: DaskEngine) -> None:
    worker = next(iter(engine.everywhere(dask_pieces.process)))
    with pytest.raises(EngineError, match=r"a Worker of Dask answers there; give the address of its scheduler$"):
        DaskEngine(scheduler=worker, patience=PATIENCE).start()


def test_a_worker_that_lacks_the_plugin_is_named(cluster: Cluster, engine: DaskEngine, tmp_path: Path) -> None:
    (tmp_path / "asd_dask").mkdir()
    lacking = "raise ModuleNotFoundError(\"No module named 'asd_dask'\", name='asd_dask')"
    (tmp_path / "asd_dask" / "__init__.py").write_text(lacking)
    started = cluster.worker("--no-nanny", "--resources", "BARE=1", path=(tmp_path,))
    until(lambda: engine._look() or len(engine._workers) == 3)
    bare = next(address for address, resources in engine._workers.items() if "BARE" in resources)
    expected = rf"^worker {bare}: No module named 'asd_dask'; the scheduler and its workers need asd-dask and .*: pip"
    with pytest.raises(PluginError, match=expected):
        engine.everywhere(dask_pieces.process)
    with pytest.raises(PluginError, match=expected):
        DaskEngine(scheduler=cluster.address, patience=PATIENCE).start()
    cluster.kill(started)
    until(lambda: engine._look() or len(engine._workers) == 2)


def test_a_frozen_scheduler_is_told_after_the_patience(cluster: Cluster) -> None:
    engine = DaskEngine(scheduler=cluster.address, patience=PATIENCE)
    engine.start()
    engine.patience = 2
    task = engine.submit(dask_pieces.note_and_wait, str(cluster.folder), "frozen", 60)
    cluster.scheduler.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(
            EngineError, match=f"^scheduler {cluster.address}: lost while it was at work .*what is done is kept"
        ):
            engine.result(task)
        with pytest.raises(EngineError, match=r"no scheduler answered within 2 s"):
            DaskEngine(scheduler=cluster.address, patience=2).start()
    finally:
        cluster.scheduler.send_signal(signal.SIGCONT)
    engine.close()


def test_a_scheduler_that_comes_back_in_time_gets_the_pieces_again(cluster: Cluster, tmp_path: Path) -> None:
    engine = DaskEngine(scheduler=cluster.address, patience=PATIENCE)
    engine.start()
    handle = engine.scatter([5])
    tasks = [engine.submit(dask_pieces.note_and_wait, str(tmp_path), f"piece{number}", 0.3) for number in range(8)]
    until(lambda: len(list(tmp_path.iterdir())) > 3)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(results_of, engine, [*tasks, engine.submit(dask_pieces.first_of, handle)])
        cluster.close()
        (tmp_path / "again").mkdir()
        again = Cluster(tmp_path / "again", cluster.port)
        again.worker(count=1)
        try:
            assert waiting.result(timeout=PATIENCE) == [*(f"piece{number}" for number in range(8)), 5]
            for process in again.processes[1:]:
                again.kill(process)
            engine.patience = 2
            with pytest.raises(EngineError, match=r"it has had no worker for 2 s; what is done is kept: start workers"):
                engine.result(engine.submit(dask_pieces.double, 1))
        finally:
            again.close()
    engine.close()
