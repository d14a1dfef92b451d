"""Work engines measured: two single-thread workers against one, Dask against the local processes, many short clips.

- ``--only pair``: `asd.embed` and `asd.score` of clips of 10 s (default pipeline, no cache) with engines of one worker
  and of two, in turns; medians of the rounds. Efficiency: seconds with one / (2 * seconds with two). To hold: at least
  0.85.
- The same with ``local`` and ``dask``. To hold: Dask takes at most 5 % more.
- ``--only short``: a clip of 0.5 s, hard-linked, scored 1,000 and then 100,000 times by two workers, with a scheduler
  in a process of its own. To hold: throughput at least 0.8 of the former, resident memory of client and scheduler
  below 300 MB.
- ``--only grid``: see cluster_grid.py.

Workers start, and load what they need, before the time is taken. On a computer with other load the processor's time of
all processes tells more than the clock: it is printed, too.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_cluster.py [--only pair|short|grid] [--clips 600] [--short 100000]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import soundfile

import asd
from asd.detection.engines import engine_from
from asd.plugin import WorkEngine
from asd.sound.machines import write_recordings

_LINKS = 30_000
"""Names that file systems allow a file at least."""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def processor() -> float:
    """Return the processor's seconds of this process and of all that it started and that still run."""
    own = psutil.Process()
    times = [each.cpu_times() for each in (own, *own.children(recursive=True))]
    return sum(each.user + each.system for each in times)


def cost_of(call: Callable[[], object]) -> tuple[float, float]:
    """Return the clock's and the processor's seconds of a call."""
    before, began = processor(), time.perf_counter()
    call()
    return time.perf_counter() - began, processor() - before


def give_cores(engine: WorkEngine) -> None:
    """Let each worker have one core for its single thread, decoding and all."""
    for core, process in enumerate(engine.everywhere(os.getpid).values()):
        for thread in psutil.Process(process).threads():
            os.sched_setaffinity(thread.id, [core % (os.cpu_count() or 1)])


def pair(folder: Path, clips: int, rounds: int, engines: list[str], wanted: list[str]) -> None:
    """Compare engines of one worker and of two, all of them open, in turns: computers change their speed meanwhile.

    Each worker gets a core, as a cluster gives one to a worker of one thread: else a lone one would decode on another.
    """
    write_recordings(folder / "sound", healthy=clips, faulty=0)
    sound = folder / "sound" / "train"
    some = sorted(sound.iterdir())[:60]
    path = folder / "model.asd"
    asd.fit(some, cache=False).save(path)
    works: dict[str, Callable[[object], object]] = {
        "score": lambda clips: list(asd.score(path, clips, cache=False)),
        "embed": lambda clips: asd.embed(clips, cache=False),
    }
    works = {name: works[name] for name in wanted}
    opened = {name: engine_from(name) for name in engines}
    costs: dict[tuple[str, str], list[tuple[float, float]]] = {}
    try:
        for each in opened.values():
            each.start()
            give_cores(each)
        for turn in range(-1, rounds):
            for name, work in works.items():
                for engine in engines if turn % 2 else reversed(engines):
                    with asd.using_engine(opened[engine]):
                        if turn < 0:  # workers start, and load what they need
                            work(some[:8])
                            continue
                        cost = cost_of(lambda work=work: work(sound))
                    costs.setdefault((name, engine), []).append(cost)
                    print(f"  {name} {engine}: {cost[0]:.1f} s, processor {cost[1]:.1f} s", flush=True)
    finally:
        for each in opened.values():
            each.close()
    for name in works:
        for kind in dict.fromkeys(engine.rpartition(":")[0] for engine in engines):
            if {f"{kind}:1", f"{kind}:2"} <= set(engines):
                clock, processor = ratios(costs[name, f"{kind}:1"], costs[name, f"{kind}:2"])
                print(f"{name}, {kind}: efficiency of two {spread(clock / 2)}; by the processor {spread(processor)}")
        for count in (1, 2):
            if {f"local:{count}", f"dask:local:{count}"} <= set(engines):
                clock, processor = ratios(costs[name, f"dask:local:{count}"], costs[name, f"local:{count}"])
                print(f"{name}, {count} worker(s), dask against local: {spread(clock)}; by the processor "
                      f"{spread(processor)}")  # fmt: skip


def ratios(one: list[tuple[float, float]], other: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    """Return the ratios of each round, by the clock and by the processor's time."""
    clock, processor = (np.array(one) / np.array(other)).T
    return clock, processor


def spread(values: np.ndarray) -> str:
    """Return median, least and most."""
    return f"{np.median(values):.2f} ({values.min():.2f} - {values.max():.2f})"


@contextmanager
def cluster(folder: Path) -> Iterator[tuple[Path, psutil.Process]]:
    """Start a scheduler and two workers of one thread, as processes apart."""
    file = folder / "scheduler.json"
    environment = {**os.environ, **dict.fromkeys(THREADS, "1")}
    quietly = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment}
    dask = [sys.executable, "-m", "dask"]
    scheduler = subprocess.Popen(
        [*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", file],
        **quietly,
    )
    workers = subprocess.Popen(
        [*dask, "worker", "--scheduler-file", file, "--nthreads", "1", "--nworkers", "2", "--no-dashboard"], **quietly
    )
    try:
        yield file, psutil.Process(scheduler.pid)
    finally:
        for process in (workers, scheduler):
            process.terminate()
            process.wait()


def short(folder: Path, counts: list[int]) -> None:
    """Score one short clip under many names, few and many times."""
    rng = np.random.default_rng(0)
    (folder / "train").mkdir()
    for number in range(30):
        soundfile.write(folder / "train" / f"{number}.wav", 0.1 * rng.normal(size=8000), 16000)
    asd.fit(folder / "train", extractor="mel-statistics", detector="mahalanobis").save(folder / "short.asd")
    program = (
        "import asd, resource, sys, time\n"
        "if __name__ == '__main__':\n"
        "    model, data, file, some = sys.argv[1:]\n"
        "    with asd.using_engine(f'dask:{file}'):\n"
        "        list(asd.score(model, some, cache=False))\n"
        "        began = time.perf_counter()\n"
        "        scored = sum(1 for _ in asd.score(model, data, cache=False))\n"
        "        seconds = time.perf_counter() - began\n"
        "    print(scored, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)\n"
    )
    (folder / "score.py").write_text(program)
    rates = []
    for count in counts:
        data = folder / f"short-{count}"
        data.mkdir()
        for number in range(count):
            os.link(folder / "train" / f"{number // _LINKS}.wav", data / f"{number:06}.wav")
        with cluster(folder) as (file, scheduler):
            while not file.exists():
                time.sleep(0.1)
            words = [str(each) for each in (folder / "short.asd", data, file, folder / "train")]
            done = subprocess.run(
                [sys.executable, folder / "score.py", *words], check=True, stdout=subprocess.PIPE, text=True
            )
            scored, seconds, memory = map(float, done.stdout.split())
            resident = scheduler.memory_info().rss / 2**20
        file.unlink(missing_ok=True)
        rates.append(scored / seconds)
        print(f"{count} clips of 0.5 s: {rates[-1]:.0f} clips/s; client at most {memory:.0f} MB, scheduler "
              f"{resident:.0f} MB; throughput against the first {rates[-1] / rates[0]:.2f}", flush=True)  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", choices=("pair", "short", "grid"))
    parser.add_argument("--clips", type=int, default=600)
    parser.add_argument("--short", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engines", nargs="+", default=["local:1", "local:2", "dask:local:1", "dask:local:2"])
    parser.add_argument("--works", nargs="+", default=["score", "embed"], choices=["score", "embed"])
    arguments = parser.parse_args()
    os.environ.update(dict.fromkeys(THREADS, "1"))
    with tempfile.TemporaryDirectory() as folder:
        if arguments.only in (None, "pair"):
            pair(Path(folder), arguments.clips, arguments.rounds, arguments.engines, arguments.works)
        if arguments.only in (None, "short"):
            short(Path(folder), [1000, arguments.short])
    if arguments.only in (None, "grid"):
        script = Path(__file__).with_name("cluster_grid.py")
        subprocess.run([sys.executable, script], check=True)


if __name__ == "__main__":
    main()
