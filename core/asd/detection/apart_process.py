"""What runs in a process that decodes recordings for another (see `asd.detection.apart`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from asd.contract.worker_process import answer_requests
from asd.errors import AudioError
from asd.records import Float32
from asd.sound.decoding import open_sound


def main() -> None:
    """Answer until the other process closes the pipe or dies."""
    answer_requests(_Decoding().answer)


class _Decoding:
    """Opens recordings, and decodes one of them at a time."""

    def __init__(self) -> None:
        self._blocks: Iterator[Float32] = iter(())

    def answer(self, question: dict[str, Any], _: list[Any]) -> tuple[dict[str, Any], list[Float32]]:
        """Answer a question: what a file is, its blocks from a sample on, or the next block."""
        try:
            if "next" in question:
                return {}, [block for block in [next(self._blocks, None)] if block is not None]
            path = Path(question["path"])
            if "first" in question:
                self._blocks = _decoded(path, question["first"], question["count"])
                return self.answer({"next": True}, [])
            return _facts(path), []
        except AudioError as error:
            return {"refused": str(error)}, []


def _facts(path: Path) -> dict[str, Any]:
    with open_sound(path) as sound:
        names = ("rate", "channels", "frames", "is_float", "is_mpeg")
        layout = {"parts": len(sound.layout.parts), "stated": sound.layout.stated, "notes": sound.layout.notes}
        return {name: getattr(sound, name) for name in names} | layout


def _decoded(path: Path, first: int, count: int | None) -> Iterator[Float32]:
    with open_sound(path) as sound:
        yield from (block for block in sound.blocks(first, count) if len(block))
