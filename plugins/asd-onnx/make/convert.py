"""Make the ONNX files of this package from the networks' published weights, the same bytes every time.

    pip install 'onnx==1.23.*' 'numpy>=1.26' 'safetensors>=0.4.3' 'tflite==2.18.*'
    python plugins/asd-onnx/make/convert.py WEIGHTS [NAME ...] [--check]

WEIGHTS is a folder with the files that `SOURCES` names; NAME limits the work to some networks. ``--check`` compares
with the files that are there instead of writing them. Afterwards put the printed sizes and hashes into
`asd_onnx.catalogue`.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import aisfx
import efficientat
import musicnn
import squeezenet
import yamnet
from graph import Array, Graph
from safetensors.numpy import load_file

WEIGHTS = Path(__file__).resolve().parent.parent / "src" / "asd_onnx" / "weights"


@dataclass(frozen=True)
class Source:
    """Where a network comes from.

    Parameters
    ----------
    file : str
        Of its weights.
    sha256 : str
        Of that file.
    build : callable
        Makes the graph from the file's path.
    licence, origin : str
        Of the weights.
    kind : str
        Of the windows that it takes, as front ends call it.
    sample_rate : int or None
        In Hz of the sound that the windows are made of; None: any.
    """

    file: str
    sha256: str
    build: Callable[[Path], Graph]
    licence: str
    origin: str
    kind: str
    sample_rate: int | None


def _tensors(build: Callable[[dict[str, Array]], Graph]) -> Callable[[Path], Graph]:
    return lambda path: build(load_file(path))


SOURCES = {
    "efficientat-mn04": Source(
        file="efficientat-mn04_as.safetensors",
        sha256="c86e362ec0a8b91faffa2533a8c5b20e7bbd0c792abebee9c3e9ce3c5383ea66",
        build=_tensors(efficientat.build),
        licence="MIT",
        origin="EfficientAT mn04_as, https://github.com/fschmid56/EfficientAT",
        kind="efficientat-mel",
        sample_rate=32000,
    ),
    "musicnn-mtt": Source(
        file="mtt-musicnn.safetensors",
        sha256="cf61fd5fc73fb2d4d30a0f30dfdbfca2ebbff6c25a72ae57acb734db53f3b897",
        build=_tensors(lambda tensors: musicnn.build(tensors, "musicnn-mtt")),
        licence="ISC",
        origin="MTT_musicnn, https://pypi.org/project/musicnn/0.1.0",
        kind="musicnn-mel",
        sample_rate=16000,
    ),
    "musicnn-msd": Source(
        file="msd-musicnn.safetensors",
        sha256="ea4a2ecc2b1bf5c3341cb7f99eb3dc519fdf2d49a441a7fd622eb1170c148595",
        build=_tensors(lambda tensors: musicnn.build(tensors, "musicnn-msd")),
        licence="ISC",
        origin="MSD_musicnn, https://pypi.org/project/musicnn/0.1.0",
        kind="musicnn-mel",
        sample_rate=16000,
    ),
    "squeezenet1_0": Source(
        file="squeezenet1_0-deep-compression.safetensors",
        sha256="c5e59a7f153339d5bee60b0b4e7f9ccc70ebabc623e8465cc3b4b85978aa77d9",
        build=_tensors(squeezenet.build),
        licence="BSD-2-Clause",
        origin="SqueezeNet 1.0, https://github.com/songhan/SqueezeNet-Deep-Compression, commit fb13faa2",
        kind="image",
        sample_rate=None,
    ),
    "yamnet": Source(
        file="yamnet.tflite",
        sha256="687f226c147a2caab4706fbbab5e9cecb14b9a368264bf61108078b1fddf68f5",
        build=yamnet.build,
        licence="Apache-2.0",
        origin="YAMNet, https://tfhub.dev/google/lite-model/yamnet/tflite/1",
        kind="yamnet-mel",
        sample_rate=16000,
    ),
    "aisfx": Source(
        file="aisfx.safetensors",
        sha256="d396346cecc43677694fe85541c6ce87087fd22a9cfcefe2d15f8f6772c9a186",
        build=_tensors(aisfx.build),
        licence="CC-BY-4.0",
        origin="aiSFX X-Sequential-CE, https://pypi.org/project/aisfx/0.1.2",
        kind="aisfx-mel",
        sample_rate=44100,
    ),
}


def convert(name: str, folder: Path) -> bytes:
    """Return the ONNX file of a network."""
    source = SOURCES[name]
    path = folder / source.file
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != source.sha256:
        sys.exit(f"{path}: its sha256 is {found}, expected {source.sha256}")
    metadata = {
        "name": name,
        "source": source.origin,
        "source_file": source.file,
        "source_sha256": source.sha256,
        "licence": source.licence,
        "asd.kind": source.kind,
    }
    if source.sample_rate is not None:
        metadata["asd.sample_rate"] = str(source.sample_rate)
    return source.build(path).model(metadata).SerializeToString(deterministic=True)


def main() -> None:
    """Convert what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SOURCES)}")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    for name in arguments.names or SOURCES:
        content = convert(name, arguments.weights)
        path = WEIGHTS / f"{name}.onnx"
        if arguments.check:
            if not path.is_file() or path.read_bytes() != content:
                sys.exit(f"{path}: another file than the script makes; run it without --check")
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        print(f"{path.name}: {len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main()
