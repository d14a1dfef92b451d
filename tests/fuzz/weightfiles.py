"""Weight files that were damaged or forged: they are read, or refused in one line.

``python tests/fuzz/weightfiles.py`` makes 1,500 files from small ones of each format that the plugins read: HDF5 (plain
and compressed), torch's archive and its older format, safetensors, TensorFlow's graphs with their metadata, models of
Hugging Face's format, and checkpoints of trainings. A change keeps to the structure: numbers, offsets, names, parts of
an archive, fields of a header, or what the format's own library writes. Allowed are a result, and an `AsdError` of one
line. No other exception, no file outside, no connection, no process, nothing that takes more than five seconds or a
gigabyte. ``--only N`` repeats one case, with its traceback.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import json
import logging
import os
import pickle
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random

FOLDER = tempfile.TemporaryDirectory(prefix="asd-fuzz-")
os.environ["ASD_CACHE"] = CACHE = str(Path(FOLDER.name, "cache"))
os.environ["ASD_OFFLINE"] = "1"

import h5py  # noqa: E402  # after the environment
import numpy as np  # noqa: E402
import safetensors.torch  # noqa: E402
import torch  # noqa: E402
from trial import Guard, Trial, limit_memory  # noqa: E402

import asd_torch  # noqa: E402
from asd.errors import AsdError  # noqa: E402
from asd_autoencoder.checkpoint import Checkpoint  # noqa: E402
from asd_essentia import graph  # noqa: E402
from asd_essentia.model import EssentiaModel  # noqa: E402
from asd_openl3.hdf5 import read_weights  # noqa: E402
from asd_torch.hdf5 import open_hdf5, read_dataset  # noqa: E402
from asd_transformers import example  # noqa: E402
from asd_transformers.extractor import HuggingFace  # noqa: E402

GRAPH = Path(graph.__file__).parent / "data" / "example.pb"
NETWORK = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 8))
EXTREMES = (0, 1, 0x7F, 0xFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1)


# What is changed, by format

Changed = Callable[[Random, bytes], bytes]


def flip(rng: Random, content: bytes) -> bytes:
    """Flip bits: near the beginning, where headers are, or anywhere."""
    changed = bytearray(content)
    end = rng.choice([len(changed), min(2048, len(changed))])
    for _ in range(rng.choice([1, 1, 2, 8])):
        changed[rng.randrange(end)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def number(rng: Random, content: bytes) -> bytes:
    """Put an extreme number over some bytes: a size, a count, an offset."""
    width = rng.choice([1, 2, 4, 8])
    value = (rng.choice(EXTREMES) % 2 ** (8 * width)).to_bytes(width, rng.choice(["little", "little", "big"]))
    end = rng.choice([len(content), min(2048, len(content))])
    place = rng.randrange(max(1, end - width))
    return content[:place] + value + content[place + width :]


def cut(rng: Random, content: bytes) -> bytes:
    return content[: rng.choice([rng.randrange(len(content)), rng.randrange(16), len(content) - 1])]


def move(rng: Random, content: bytes) -> bytes:
    """Take out, repeat or insert a block."""
    begin = rng.randrange(len(content))
    block = content[begin : begin + rng.choice([1, 8, 64, 512])]
    place = rng.randrange(len(content))
    kept = content if rng.random() < 0.5 else content[:begin] + content[begin + len(block) :]
    return kept[:place] + rng.choice([block, b"", b"\xff" * len(block), b"\x80" * 5000]) + kept[place:]


BYTES: tuple[Changed, ...] = (flip, number, number, cut, move)


def forged_hdf5(rng: Random, content: bytes) -> bytes:
    """Write what HDF5's own library can write, and no weight file should hold."""
    memory = io.BytesIO(content)
    with h5py.File(memory, "r+") as file:
        group = file[rng.choice(list(file))]
        name = rng.choice(["kernel:0", "bias:0"])
        inner = group[next(iter(group))]
        del inner[name]
        shape = rng.choice([(10**6, 10**6), (2**31, 2), (0, 2**40), (3, 3, 1, 4), ()])
        kind = rng.randrange(9)
        if kind == 0:
            inner.create_dataset(name, shape, np.float32, chunks=True if 0 not in shape and shape else None)
        elif kind == 1:
            inner[name] = h5py.ExternalLink(rng.choice(["/etc/hostname", "/dev/zero", "x.h5"]), "/a")
        elif kind == 2:
            inner.create_dataset(name, (4,), np.float32, external=[("/etc/passwd", 0, 16)])
        elif kind == 3:
            inner[name] = h5py.SoftLink(rng.choice(["/", ".", f"/{name}", "/a/b"]))
        elif kind == 4:
            inner.create_dataset(name, data=np.zeros(5_000_000, np.float32), compression="gzip")
        elif kind == 5:
            inner.create_dataset(
                name, data=rng.choice([np.array([b"text"]), np.zeros(4, complex), np.zeros(4, "i8,f8")])
            )
        elif kind == 6:
            inner[name] = group
        elif kind == 7:
            group.attrs.create("weight_names", rng.choice([np.zeros((3, 3)), np.array(b"x"), np.zeros(8000, np.int8)]))
        else:
            layers = [rng.choice([b"", b"/", b"..", b"\xff\xfe", b"a" * 5000, b"\x1b[2J"])] * rng.choice(
                [1, 9000 // 5000]
            )
            file.attrs.create("layer_names", layers)
    return memory.getvalue()


def forged_archive(rng: Random, content: bytes) -> bytes:
    """Change a part of torch's archive: its pickle, a storage, the way it is compressed."""
    source, target = zipfile.ZipFile(io.BytesIO(content)), io.BytesIO()
    names = source.namelist()
    chosen, kind = rng.choice(names), rng.randrange(6)
    with zipfile.ZipFile(target, "w") as archive:
        for name in names:
            part = source.read(name)
            if name == chosen:
                if kind == 0:
                    continue
                if kind == 1:
                    part = rng.choice(BYTES)(rng, part)
                elif kind == 2:
                    archive.writestr(name, b"\0" * 30_000_000, zipfile.ZIP_DEFLATED)
                    continue
                elif kind == 3:
                    name = rng.choice(["../x", "/etc/x", name.upper(), "x", "a" * 5000])
                elif kind == 4:
                    part = pickle.dumps(rng.choice([bytearray(10), {"a": [1] * 9}, os.getcwd, 2**9999]))
                else:
                    part = part * rng.choice([0, 2, 50])
            archive.writestr(name, part)
    return target.getvalue()


def forged_safetensors(rng: Random, content: bytes) -> bytes:
    """Change a field of the header: a type, a shape, an offset, the header's length, its nesting."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    entry = header[rng.choice([name for name in header if name != "__metadata__"])]
    kind = rng.randrange(6)
    if kind == 0:
        entry["dtype"] = rng.choice(["F64", "F16", "BOOL", "F4", "x", None, "F8_E4M3", "C64"])
    elif kind == 1:
        entry["shape"] = rng.choice([[], [0], [2**62, 0], [2**40], [-1], [1] * 100, "x"])
    elif kind == 2:
        entry["data_offsets"] = rng.choice([[0, 0], [0, 2**62], [8, 4], [-4, 4], [0], None])
    elif kind == 3:
        header[rng.choice(["", "\x1b[2J", "a" * 100_000])] = entry
    elif kind == 4:
        entry["deep"] = json.loads("[" * 900 + "]" * 900)
    text = json.dumps(header).encode()
    size = rng.choice(EXTREMES) % 2**64 if kind == 5 else len(text)
    return size.to_bytes(8, "little") + text + content[8 + length :]


def forged_json(rng: Random, content: bytes) -> bytes:
    """Change a value of a JSON object, nested ones included."""
    table = json.loads(content)
    inner = table
    while rng.random() < 0.4 and any(isinstance(value, dict) and value for value in inner.values()):
        inner = rng.choice([value for value in inner.values() if isinstance(value, dict) and value])
    values = [
        None,
        -1,
        0,
        10**6,
        2**70,
        1e308,
        "",
        "x",
        "/etc/hostname",
        "https://127.0.0.1:9/x",
        [],
        {},
        [[]] * 9,
        True,
    ]
    key = rng.choice([*inner, "auto_map", "quantization_config", "attn_implementation"])
    if rng.random() < 0.2:
        inner.pop(key, None)
    else:
        inner[key] = rng.choice(values)
    return json.dumps(table).encode() if rng.random() < 0.95 else b'{"a":' * 100_000


# What is read, and how


def make_hdf5(path: Path) -> None:
    layers = {"conv2d_1": (3, 3, 1, 4), "conv2d_2": (3, 3, 4, 4)}
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in layers]
        for name, shape in layers.items():
            group = file.create_group(name)
            group.attrs["weight_names"] = [f"{name}/{part}:0".encode() for part in ("kernel", "bias")]
            group.create_dataset(f"{name}/kernel:0", data=np.ones(shape, np.float32))
            group.create_dataset(f"{name}/bias:0", data=np.ones(shape[-1], np.float32))


def read_layers(path: Path) -> None:
    """Read as YAMNet's weights are: by the names that are expected."""
    with open_hdf5(path, "not an HDF5 file", "fetch it again") as file:
        for name in ("conv2d_1", "conv2d_2"):
            read_dataset(file, f"{name}/{name}/kernel:0")
            read_dataset(file, f"{name}/{name}/bias:0", (4,))


def make_gzip(path: Path) -> None:
    make_hdf5(path)
    path.write_bytes(gzip.compress(path.read_bytes()))


def bomb(rng: Random, content: bytes) -> bytes:
    return gzip.compress(b"\x89HDF\r\n\x1a\n" + b"\0" * rng.choice([10**6, 150_000_000]), 1)


def read_network(path: Path) -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 8))
    asd_torch.load_into(network, asd_torch.read_tensors(path), "a small network", str(path))


def make_older(path: Path) -> None:
    torch.save(NETWORK.state_dict(), path, _use_new_zipfile_serialization=False)


def read_graph(path: Path) -> None:
    graph.check_node(path, next(iter(graph.nodes(path))))
    graph.check_node(path, "model/absent")


def read_metadata(path: Path) -> None:
    model = EssentiaModel(graph=str(GRAPH), metadata=str(path))
    _ = model.consumes, model.dimension


METADATA = {
    "inference": {"sample_rate": 16000, "algorithm": "TensorflowPredictVGGish"},
    "schema": {"inputs": [{"name": "a", "shape": [1, 2]}], "outputs": [{"name": "b", "shape": [1, 3],
               "output_purpose": "embeddings"}]},
}  # fmt: skip


def read_checkpoint(path: Path) -> None:
    Checkpoint(path).load()


class Model:
    """A tiny model of Hugging Face's format; one of its files is changed."""

    def __init__(self, file: str) -> None:
        self.file = file

    def make(self, path: Path) -> None:
        """Write the model beside `path`, and its file that is to be changed as `path`."""
        if not path.with_name("tiny-wav2vec2").exists():
            example.write(path.parent)
        shutil.copy(path.with_name("tiny-wav2vec2") / self.file, path)

    def read(self, path: Path) -> None:
        """Load the model with the changed file."""
        folder = path.with_name("changed")
        shutil.copytree(path.with_name("tiny-wav2vec2"), folder, dirs_exist_ok=True)
        shutil.copy(path, folder / self.file)
        extractor = HuggingFace(model=str(folder))
        extractor.weight_hashes()
        extractor.embed(np.zeros((1, 4000), np.float32))


def make_checkpoint(path: Path) -> None:
    checkpoint = Checkpoint(path)
    checkpoint._last = 0.0
    checkpoint.save_if_due(NETWORK.state_dict)


Format = tuple[Callable[[Path], object], Callable[[Path], object], tuple[Changed, ...]]
FORMATS: dict[str, Format] = {
    "openl3.h5": (make_hdf5, read_weights, (*BYTES, forged_hdf5, forged_hdf5)),
    "openl3.h5.gz": (make_gzip, read_weights, (*BYTES, bomb)),
    "yamnet.h5": (make_hdf5, read_layers, (*BYTES, forged_hdf5, forged_hdf5)),
    "archive.pth": (lambda path: torch.save(NETWORK.state_dict(), path), read_network, (*BYTES, forged_archive)),
    "older.pth": (make_older, read_network, BYTES),
    "net.safetensors": (
        lambda path: safetensors.torch.save_file(NETWORK.state_dict(), path), read_network, (*BYTES, forged_safetensors)
    ),
    "graph.pb": (lambda path: shutil.copy(GRAPH, path), read_graph, BYTES),
    "metadata.json": (lambda path: path.write_text(json.dumps(METADATA)), read_metadata, (*BYTES, forged_json)),
    "training.checkpoint": (make_checkpoint, read_checkpoint, BYTES),
    **{
        f"model-{file}": (Model(file).make, Model(file).read, (*BYTES, forged))
        for file, forged in (
            ("config.json", forged_json), ("preprocessor_config.json", forged_json),
            ("model.safetensors", forged_safetensors),
        )
    },
}  # fmt: skip


def main() -> int:
    """Run the cases and print what came of them; return 1 if one went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1500, metavar="N", help="files (default 1500)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--format", choices=FORMATS, action="append", help="only these formats; may be repeated")
    parser.add_argument("--only", type=int, metavar="N", help="the case of this number alone, with its traceback")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    chosen = options.format or list(FORMATS)
    made = {}
    for name in chosen:
        make, read, _ = FORMATS[name]
        path = Path(FOLDER.name, name)
        make(path)
        made[name] = path.read_bytes()
        with contextlib.suppress(AsdError):  # the small HDF5 file is not all of OpenL3, the graph lacks a node
            read(path)  # imports what it needs, so that no case is charged with it
    trial = Trial(Guard(Path(FOLDER.name), cache=FOLDER.name))
    limit_memory()
    for case in range(options.count):
        rng, name = Random(f"{options.seed} {case}"), chosen[case % len(chosen)]
        _, read, changes = FORMATS[name]
        change, path = rng.choice(changes), Path(FOLDER.name, name)
        content = change(rng, made[name])
        if options.only in (None, case):
            path.write_bytes(content)
            trial.run(
                f"{case} ({name}, {change.__name__})", lambda: read(path), may_succeed=True,  # noqa: B023
                shown=options.only is not None,
            )  # fmt: skip
    print(f"{options.count} weight files: {dict(trial.outcomes)}")
    for problem in trial.problems:
        print(problem)
    print("nothing went wrong" if not trial.problems else f"{len(trial.problems)} problems")
    return int(bool(trial.problems))


if __name__ == "__main__":
    sys.exit(main())
