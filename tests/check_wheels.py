"""Build the wheel of every distribution, install all of them into a clean environment, and run the demo there.

Not a test of pytest's: it needs minutes and gigabytes. CI runs it as ``python tests/check_wheels.py``.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from wheels import ROOT, build, clean_environment, run


def main() -> None:
    """Build, install, and use."""
    distributions = [ROOT, *sorted(path.parent for path in (ROOT / "plugins").glob("*/pyproject.toml"))]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        wheels = build(distributions, folder)
        bin_folder = clean_environment(folder)
        # torch comes in the versions that the workspace pins; everything else as the wheels ask for it.
        pins = ("-r", ROOT / "requirements-torch.txt")
        run(bin_folder / "python", "-m", "pip", "install", "--quiet", "--no-compile", *pins, *wheels, cwd=folder)
        run(bin_folder / "python", "-m", "pip", "check", cwd=folder)
        listing = json.loads(run(bin_folder / "asd", "plugins", "--json", cwd=folder))
        ready = {component["name"] for component in listing if component["ready"]}
        assert {"squeezenet1_0", "efficientat-mn04", "efficientat-mel", "knn"} <= ready, ready
        waiting = {c["name"]: c["state"] for c in listing if "pip install" in c["state"]}
        # Extras: Essentia (AGPL and 290 MB), and what only some listeners connect to.
        extras = {"microphone": "sounddevice", "stream": "av", "mqtt": "paho-mqtt", "apprise": "apprise"}
        lines = {name: f"pip install '{extras.get(name, 'essentia-tensorflow')}>=" for name in waiting}
        assert all(lines[name] in state for name, state in waiting.items()), waiting
        assert extras.keys() <= waiting.keys(), waiting
        demo = run(bin_folder / "asd", "demo", cwd=folder)
        assert "AUC" in demo, demo
        print(f"{len(wheels)} wheels built and installed into a clean environment; the demo runs there.")


if __name__ == "__main__":
    main()
