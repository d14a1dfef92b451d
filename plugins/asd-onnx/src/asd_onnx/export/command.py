"""``asd export``: a fitted model as one ONNX graph."""

from __future__ import annotations

import shutil
import tempfile
from importlib import resources
from pathlib import Path

import click

from asd.command import LocalPath, json_option, print_json, reporting, trust_option, verbose_option
from asd.errors import AsdError, ConfigError

_FILES = ("model.onnx", "judge.py")


@click.command()
@click.argument("model_file", type=LocalPath(), metavar="MODEL")
@click.option("--onnx", "folder", type=LocalPath(), required=True, metavar="DIR", help="Where to write.")
@click.option("--force", is_flag=True, help="Overwrite what an earlier export wrote there.")
@json_option
@trust_option
@verbose_option
def export(model_file: Path, folder: Path, force: bool, as_json: bool, trust: bool, verbose: bool) -> None:
    """Write a model as one ONNX graph, from samples to the p-value, and a script that runs it without asd.

    The graph is compared with the model on generated sound before it is written.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: not a folder; name one for --onnx")
    if not force and (there := [name for name in _FILES if (folder / name).exists()]):
        raise ConfigError(f"{folder / there[0]} exists; give another folder, or --force to overwrite it")
    with reporting(verbose):
        try:
            import onnx  # noqa: F401  # says at once that it is missing
        except ImportError as error:
            raise AsdError("the package onnx is not installed: pip install 'asd-onnx[export]'") from error
        from asd.experiment import Model
        from asd_onnx.export.check import largest_difference
        from asd_onnx.export.pipeline import export as as_graph

        model = Model.load(model_file, trust=trust)
        exported = as_graph(model)
        difference = largest_difference(model, exported)
        _write(folder, exported.content)
    if as_json:
        names = [str(folder / name) for name in _FILES]
        print_json({"files": names, "bytes": len(exported.content), "largest_difference": difference})
        return
    size = len(exported.content) / 1e6
    click.echo(f"Wrote {folder / _FILES[0]} ({size:.1f} MB): its scores differ from the model's by {difference:.1g}.")
    click.echo(f"Next: python {folder / _FILES[1]} RECORDINGS (needs onnxruntime and soundfile alone)")


def _write(folder: Path, content: bytes) -> None:
    script = (resources.files("asd_onnx.export") / _FILES[1]).read_bytes()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".export-") as part:
            for name, data in zip(_FILES, (content, script), strict=True):
                (Path(part) / name).write_bytes(data)
            for name in _FILES:
                shutil.move(Path(part) / name, folder / name)
    except OSError as error:
        raise AsdError(f"{folder}: cannot be written ({error.strerror}); choose another folder for --onnx") from error
