"""Install the light set alone from wheels into a clean environment, and use it there: no PyTorch, at most 450 MB.

Not a test of pytest's: it needs half a minute and the network. CI runs it as ``python tests/check_light.py``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from wheels import ROOT, build, clean_environment, run

MEGABYTE = 1e6
MOST_DISK = 450
"""Megabytes on disk of the environment, pip and compiled modules included."""
MOST_MEMORY = 220
"""Megabytes that scoring a clip may take."""


def light_set() -> list[Path]:
    """Return the folders of the distributions that the extra ``light`` names, the framework's first."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    return [ROOT, *(ROOT / "plugins" / name for name in extras["light"])]


def main() -> None:
    """Build, install, and use."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        os.environ["ASD_CACHE"] = str(folder / "cache")
        framework, *plugins = sorted(build(light_set(), folder), key=lambda wheel: "framework" not in wheel.name)
        commands = clean_environment(folder)
        run(commands / "python", "-m", "pip", "install", "--quiet", f"{framework}[light]", *plugins, cwd=folder)
        run(commands / "python", "-m", "pip", "check", cwd=folder)
        sizes = sizes_of(commands.parent)
        check_contents(commands, folder)
        use(commands, folder)
        export(commands, plugins, folder)
        memory = memory_of(commands / "asd", "score", "--no-cache", "fan.asd", clip(), cwd=folder)
    total = sum(sizes.values())
    print(f"The light set takes {total:.0f} MB in a clean environment; scoring a clip takes {memory:.0f} MB of memory.")
    print("\n".join(f"  {size:4.0f} MB  {name}" for name, size in list(sizes.items())[:12]))
    if total > MOST_DISK or memory > MOST_MEMORY:
        sys.exit(f"expected at most {MOST_DISK} MB on disk and {MOST_MEMORY} MB of memory")


def sizes_of(environment: Path) -> dict[str, float]:
    """Return megabytes by the first folder inside site-packages (the rest: ``environment``), the largest first."""
    sizes: dict[str, float] = {}
    for file in environment.rglob("*"):
        if file.is_file() and not file.is_symlink():
            parts = file.relative_to(environment).parts
            inside = parts[parts.index("site-packages") + 1 :] if "site-packages" in parts else ()
            name = inside[0].removesuffix(".libs") if inside else "environment"
            sizes[name] = sizes.get(name, 0) + file.stat().st_size / MEGABYTE
    return dict(sorted(sizes.items(), key=lambda item: -item[1]))


def check_contents(commands: Path, folder: Path) -> None:
    """Check that PyTorch is not there, and that what the light set offers needs none."""
    search = "import importlib.util as u; print([n for n in ('torch', 'torchvision', 'asd_torch') if u.find_spec(n)])"
    found = run(commands / "python", "-c", search, cwd=folder)
    assert found.strip() == "[]", found
    listing = json.loads(run(commands / "asd", "plugins", "--json", cwd=folder))
    states = {(component["kind"], component["name"]): component["state"] for component in listing}
    default = {(component["kind"], component["name"]) for component in listing if component["default"]}
    assert {kind for kind, _ in default} == {"frontend", "extractor", "detector"}, default
    waiting = {name: state for name, state in states.items() if state != "ready" and not state.startswith("needs --")}
    assert not waiting, waiting


def use(commands: Path, folder: Path) -> None:
    """Use what users use: each command once, on the sample recordings."""
    asd, samples = commands / "asd", ROOT / "examples" / "data"
    demo = run(asd, "demo", cwd=folder)
    assert "AUC" in demo, demo
    run(asd, "fit", samples / "train", "-o", "fan.asd", cwd=folder)
    for detector in ("gmm", "ocsvm", "isolation-forest"):  # their fitting needs scikit-learn
        run(asd, "fit", samples / "train", "-o", f"{detector}.asd", "--detector", detector, cwd=folder)
    scored = json.loads(run(asd, "score", "fan.asd", samples / "test" / "normal", "--json", cwd=folder, codes=(0, 1)))
    assert all(0 < row["p_value"] <= 1 for row in scored["clips"]), scored
    test = samples / "test"
    measured = run(
        asd, "evaluate", "fan.asd", "--normal", test / "normal", "--anomalous", test / "anomalous", "--json", cwd=folder
    )
    assert "auc" in measured.lower(), measured


def export(commands: Path, wheels: list[Path], folder: Path) -> None:
    """Export a model, which takes one package more, and judge recordings with what was written, outside asd."""
    lacking = run(commands / "asd", "export", "fan.asd", "--onnx", "exported", cwd=folder, codes=(2,), errors=True)
    assert "pip install 'asd-onnx[export]'" in lacking, lacking
    (wheel,) = (wheel for wheel in wheels if wheel.name.startswith("asd_onnx"))
    run(commands / "python", "-m", "pip", "install", "--quiet", f"{wheel}[export]", cwd=folder)
    run(commands / "asd", "export", "fan.asd", "--onnx", "exported", cwd=folder)
    judged = run(commands / "python", "-I", folder / "exported" / "judge.py", clip(), cwd=folder, codes=(0, 1))
    assert "p-value" in judged, judged


def clip() -> Path:
    """Return a recording."""
    return next((ROOT / "examples" / "data" / "test" / "normal").iterdir())


def memory_of(*command: str | Path, cwd: Path) -> float:
    """Return the peak resident memory of a command in megabytes."""
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) in (0, 1), command
    return usage.ru_maxrss * 1024 / MEGABYTE if sys.platform == "linux" else usage.ru_maxrss / MEGABYTE


if __name__ == "__main__":
    main()
