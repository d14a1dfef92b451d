"""Sources and sinks: one for each way to break a promise, beside one of each kind that keeps them all."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from asd.contract.interfaces import Sink, Source
from asd.errors import SinkError, SourceError
from asd.records import Block, Event


class SoundSource(Source):
    """Raw samples in float32 from a file."""

    def __init__(self, *, path: str) -> None:
        self.path = path

    def blocks(self) -> Iterator[Block]:
        try:
            file = Path(self.path).open("rb")  # noqa: SIM115  # closed below
        except OSError as error:
            raise SourceError(f"{self.path}: cannot be opened ({error.strerror}); name a file of samples") from error
        with file:
            time = 1e9
            while data := file.read(2000):
                yield Block(np.frombuffer(data, np.float32).reshape(-1, 1), 1000, time)
                time += 0.5

    @classmethod
    def example_parameters(cls, folder: Path) -> dict[str, Any]:
        np.random.default_rng(0).normal(0, 0.1, 3000).astype(np.float32).tofile(folder / "samples.raw")
        return {"path": str(folder / "samples.raw")}

    @classmethod
    def unreachable_parameters(cls, folder: Path) -> dict[str, Any]:
        return {"path": str(folder / "not there.raw")}


class Flat(SoundSource):
    def blocks(self) -> Iterator[Block]:
        for block in super().blocks():
            yield Block(block.samples[:, 0], block.sample_rate, block.time)


class Integers(SoundSource):
    def blocks(self) -> Iterator[Block]:
        for block in super().blocks():
            yield Block((block.samples * 32767).astype(np.int16), block.sample_rate, block.time)  # type: ignore[arg-type]  # that is its mistake


class Endless(SoundSource):
    def blocks(self) -> Iterator[Block]:
        yield Block(np.concatenate([block.samples for block in super().blocks()]), 1000, 1e9)


class Backwards(SoundSource):
    def blocks(self) -> Iterator[Block]:
        for block in super().blocks():
            yield Block(block.samples, block.sample_rate, -block.time)


class Reusing(SoundSource):
    def blocks(self) -> Iterator[Block]:
        buffer = np.zeros((500, 1), np.float32)
        for block in super().blocks():
            buffer[:] = block.samples
            yield Block(buffer, block.sample_rate, block.time)


class Clinging(SoundSource):
    def blocks(self) -> Iterator[Block]:
        _CLUNG_TO.append(Path(self.path).open("rb"))  # noqa: SIM115  # that is its mistake
        yield from super().blocks()


_CLUNG_TO: list[Any] = []


class Unclosable(SoundSource):
    def blocks(self) -> Iterator[Block]:
        return map(lambda block: block, super().blocks())  # noqa: C417  # that is its mistake


class Leaking(SoundSource):
    def blocks(self) -> Iterator[Block]:
        np.fromfile(self.path)  # FileNotFoundError
        yield from super().blocks()


class Wordless(SoundSource):
    def blocks(self) -> Iterator[Block]:
        if Path(self.path).exists():
            yield from super().blocks()


class SoundSink(Sink):
    """A line of JSON for each event."""

    def __init__(self, *, path: str) -> None:
        self.path = path

    def send(self, event: Event) -> None:
        try:
            with Path(self.path).open("a", encoding="utf-8") as file:
                print(json.dumps(asdict(event)), file=file)
        except OSError as error:
            raise SinkError(f"{self.path}: cannot be written ({error.strerror}); name another file") from error

    def delivered(self) -> Sequence[str]:
        return [json.loads(line)["id"] for line in Path(self.path).read_text(encoding="utf-8").splitlines()]

    @classmethod
    def example_parameters(cls, folder: Path) -> dict[str, Any]:
        return {"path": str(folder / "events.jsonl")}

    @classmethod
    def unreachable_parameters(cls, folder: Path) -> dict[str, Any]:
        return {"path": str(folder / "not there" / "events.jsonl")}


class Losing(SoundSink):
    def send(self, event: Event) -> None:
        if not event.id.endswith("1"):
            super().send(event)


class Answering(SoundSink):
    def send(self, event: Event) -> Any:
        super().send(event)
        return True


class Printing(SoundSink):
    def send(self, event: Event) -> None:
        event.text.encode("latin-1")
        super().send(event)


class Enriching(SoundSink):
    def send(self, event: Event) -> None:
        event.data["sent"] = True  # type: ignore[index]  # that is its mistake
        super().send(event)


class Escaping(SoundSink):
    def send(self, event: Event) -> None:
        Path(self.path).touch()
        super().send(event)


class Swallowing(SoundSink):
    def send(self, event: Event) -> None:
        if Path(self.path).parent.exists():
            super().send(event)
