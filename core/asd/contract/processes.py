"""Start Python processes without the current folder on their import path, and end them.

Python looks for modules in the current folder first when it runs ``-c`` or ``-m``: a file ``json.py`` among the
recordings would be imported, and run, instead of the standard library's module.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_PREPARE = "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); "


def start_python(
    code: str, *arguments: str | Path, environment: Mapping[str, str] | None = None, **options: Any
) -> subprocess.Popen[Any]:
    """Start a Python process that runs `code` with the import path of this process.

    Relative entries of ``sys.path`` and ``PYTHONPATH``, such as the current folder's ``""``, are left out.

    Parameters
    ----------
    code : str
        Python statements.
    *arguments : str or Path
        ``sys.argv[1:]`` of the process.
    environment : mapping of str to str, optional
        Its environment variables; default: those of this process.
    **options : Any
        Further options of `subprocess.Popen`.
    """
    path = [folder for folder in map(str, sys.path) if Path(folder).is_absolute()]
    command = [sys.executable, "-P", "-c", _PREPARE + code, json.dumps(path), *map(str, arguments)]
    given = os.environ if environment is None else environment
    searched = filter(os.path.isabs, given.get("PYTHONPATH", "").split(os.pathsep))
    return subprocess.Popen(command, env={**given, "PYTHONPATH": os.pathsep.join(searched)}, **options)


def end_process(process: subprocess.Popen[Any], patience: float = 0.0) -> int:
    """End a process, close its pipes and return its exit code, negative for a signal.

    Parameters
    ----------
    process : subprocess.Popen
        The process; it may have ended already.
    patience : float
        Seconds for it to end by itself before it is killed.
    """
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(patience)
    process.kill()
    with contextlib.suppress(BrokenPipeError), process:  # closes the pipes and waits
        pass
    return process.returncode
