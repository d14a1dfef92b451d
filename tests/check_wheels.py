"""Build the wheel of every distribution, install all of them into a clean environment, and run the demo there.

Not a test of pytest's: it needs minutes and gigabytes. CI runs it as ``python tests/check_wheels.py``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command, show it when it fails, and return what it printed."""
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed ({done.returncode}):\n{done.stdout}\n{done.stderr}")
    return done.stdout


def main() -> None:
    """Build, install, and use."""
    distributions = [ROOT, *sorted(path.parent for path in (ROOT / "plugins").glob("*/pyproject.toml"))]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        build = (sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", folder / "wheels")
        for distribution in distributions:
            run(*build, cwd=distribution)
        wheels = sorted((folder / "wheels").glob("*.whl"))
        assert len(wheels) == len(distributions), wheels
        venv.create(folder / "clean", with_pip=True)
        python = folder / "clean" / "bin" / "python"
        # torch comes in the versions that the workspace pins; everything else as the wheels ask for it.
        pins = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line.startswith("torch")]
        run(python, "-m", "pip", "install", "--quiet", "--no-compile", *pins, *wheels, cwd=folder)
        run(python, "-m", "pip", "check", cwd=folder)
        listing = json.loads(run(folder / "clean" / "bin" / "asd", "plugins", "--json", cwd=folder))
        assert "squeezenet1_0" in {component["name"] for component in listing}
        waiting = {component["name"]: component["state"] for component in listing if component["state"] != "ready"}
        # Essentia is an extra: AGPL and 290 MB.
        assert all("pip install 'essentia-tensorflow" in state for state in waiting.values()), waiting
        demo = run(folder / "clean" / "bin" / "asd", "demo", cwd=folder)
        assert "AUC" in demo, demo
        print(f"{len(wheels)} wheels built and installed into a clean environment; the demo runs there.")


if __name__ == "__main__":
    main()
