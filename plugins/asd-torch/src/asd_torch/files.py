"""Read weight files without running code from them."""

from __future__ import annotations

import mmap
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from asd.errors import WeightError

_WRAPPERS = ("state_dict", "model")
_TIED = 4
"""Times that a file may use its content, as networks with tied weights do."""
_SHOWN = 200
"""Characters of an error's text that are repeated."""
_FORMATS = "a .safetensors file or a torch file (.pth, .pt) that holds tensors only"


def read_tensors(path: str | Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a weight file by name.

    Parameters
    ----------
    path : str or Path
        A safetensors file, or a torch file, which is read with ``weights_only=True``.

    Raises
    ------
    WeightError
        If the file is missing, cut off, of another format, claims more than it holds, or holds anything but named
        tensors.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():  # reading a pipe or a device might never end
            raise WeightError(f"{path}: no regular file; expected {_FORMATS}")
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as error:
        raise WeightError(f"{path}: cannot read this weight file ({error.strerror})") from error
    content = _read_safetensors(path) if head[8:] == b"{" else _read_torch(path)
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if (
        not isinstance(content, Mapping)
        or not content
        or not all(isinstance(name, str) and isinstance(t, torch.Tensor) for name, t in content.items())
    ):
        raise WeightError(f"{path}: this file holds no named tensors; expected {_FORMATS}")
    if not _is_borne_out(path, list(content.values())):
        raise WeightError(f"{path}: its tensors claim more than the file holds; expected {_FORMATS}")
    return dict(content)


def _is_borne_out(path: Path, tensors: list[torch.Tensor]) -> bool:
    """Return whether the file is large enough for the tensors: strides of 0 let a few bytes stand for any number."""
    plain = all(t.layout == torch.strided and t.device.type == "cpu" and not t.is_quantized for t in tensors)
    return plain and sum(t.nbytes for t in tensors) <= _TIED * path.stat().st_size


def _read_safetensors(path: Path) -> Any:
    try:
        return safetensors.torch.load_file(path)
    except Exception as error:  # a header may claim what torch cannot make
        raise WeightError(
            f"{path}: damaged or cut-off safetensors file ({reason_of(error)}); fetch it again"
        ) from error


def _read_torch(path: Path) -> Any:
    try:
        if zipfile.is_zipfile(path):
            _check_archive(path)
            return torch.load(path, map_location="cpu", weights_only=True)
        # The older format states the lengths of its texts: of a file in memory, nobody reads beyond the end.
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return torch.load(content, map_location="cpu", weights_only=True)  # type: ignore[arg-type]  # reads and seeks
    except Exception as error:  # torch meets a damaged file with whatever error comes of it
        raise WeightError(
            f"{path}: not a weight file, damaged, or with more than tensors inside; expected {_FORMATS}"
        ) from error


def _check_archive(path: Path) -> None:
    """Raise if a torch file of the present format, a zip archive, would unpack to more than it is."""
    with zipfile.ZipFile(path) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > path.stat().st_size:
            raise ValueError("its parts claim more than the file holds")


def reason_of(error: Exception) -> str:
    """Return the beginning of an error's text that may repeat what a damaged file holds: one line, printable."""
    text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    line = next(iter(text.splitlines()), "") or type(error).__name__
    return "".join(letter if letter.isprintable() else "?" for letter in line[:_SHOWN])


def load_into(
    module: nn.Module, tensors: Mapping[str, torch.Tensor], what: str, source: str = "the weight file"
) -> None:
    """Load `tensors` into `module`, every one and exactly; half precision becomes float32.

    Parameters
    ----------
    module : torch.nn.Module
        May lie on the ``meta`` device: the tensors take the place of its parameters.
    tensors : mapping of str to torch.Tensor
        By the names of the module's ``state_dict``.
    what : str
        The architecture, for messages.
    source : str
        The file, for messages.

    Raises
    ------
    WeightError
        If a tensor is missing, misshapen or too many.
    """
    expected = module.state_dict()
    # Batch norm counted its batches only from torch 0.4.1 on; nothing in inference reads the count.
    counters = {name: torch.tensor(0) for name in expected if name.endswith("num_batches_tracked")}
    state = OrderedDict({**counters, **{name: _single(tensor) for name, tensor in tensors.items()}})
    problem = _misfit(expected, state)
    if problem:
        raise WeightError(f"{source} does not fit {what}: {problem}; use the weights of this architecture")
    # Names and shapes are those of this torch, so the versions of its modules apply.
    state._metadata = expected._metadata  # type: ignore[attr-defined]  # set by torch on its dictionaries
    module.load_state_dict(state, strict=True, assign=True)


def _single(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def _misfit(expected: Mapping[str, torch.Tensor], given: Mapping[str, torch.Tensor]) -> str | None:
    for name, tensor in expected.items():
        if name not in given:
            return f"it lacks {name!r}"
        if given[name].shape != tensor.shape:
            return f"{name!r} has shape {tuple(given[name].shape)}, expected {tuple(tensor.shape)}"
    extra = next((name for name in given if name not in expected), None)
    return f"it has an extra {extra[:_SHOWN]!r}" if extra else None
