"""The output of `asd fit` is reserved before the work, written whole, and never taken from somebody else."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from asd.detection import output
from asd.detection.output import reserve
from asd.errors import ModelFileError
from waiting import PATIENCE

ASD = Path(sys.executable).with_name("asd")  # stopped and killed below
QUICK = ("--frontend", "mel-stack", "--extractor", "identity", "--pca", "0.9", "--detector", "mahalanobis")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_stands_there_whole(tmp_path: Path) -> None:
    with reserve(tmp_path / "m.asd", overwrite=False) as file:
        assert names(tmp_path) == [".m.asd.part"]
        file.write([b"a", memoryview(b"bc")])
    assert names(tmp_path) == ["m.asd"]
    assert (tmp_path / "m.asd").read_bytes() == b"abc"


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "m.asd").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), reserve(tmp_path / "m.asd", overwrite=True):
        raise KeyboardInterrupt
    assert names(tmp_path) == ["m.asd"]
    assert (tmp_path / "m.asd").read_bytes() == b"old"


def test_a_file_that_exists_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "m.asd").write_bytes(b"old")
    with (
        pytest.raises(ModelFileError, match="exists already; choose another name, or overwrite it with --force"),
        reserve(tmp_path / "m.asd", overwrite=False),
    ):
        pytest.fail("the work began")


@pytest.mark.parametrize("hard_links", [True, False])
def test_a_file_that_appears_meanwhile_is_not_overwritten(
    tmp_path: Path, hard_links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    if not hard_links:  # FAT, which cannot be mounted here
        monkeypatch.setattr(output.os, "link", refuse)
    check = output._check_target

    def appear(path: Path, overwrite: bool, content: output.Content) -> None:
        check(path, overwrite, content)
        path.write_bytes(b"other")  # in the last moment

    with reserve(tmp_path / "m.asd", overwrite=False) as file:
        monkeypatch.setattr(output, "_check_target", appear)
        with pytest.raises(ModelFileError, match="exists already"):
            file.write([b"new"])
    assert (tmp_path / "m.asd").read_bytes() == b"other"
    assert names(tmp_path) == ["m.asd"]


def test_a_file_system_without_hard_links_and_permissions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    for name in ("link", "chmod"):
        monkeypatch.setattr(output.os, name, refuse)
    monkeypatch.setattr(Path, "chmod", refuse)
    for overwrite, content in ((False, b"1"), (True, b"2")):
        with reserve(tmp_path / "m.asd", overwrite=overwrite) as file:
            file.write([content])
        assert (tmp_path / "m.asd").read_bytes() == content
    assert names(tmp_path) == ["m.asd"]


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who creates the part has it; what stands there already may be in use: the text names it."""

    def refuse(*_: Any) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(output.fcntl, "flock", refuse)
    with reserve(tmp_path / "m.asd", overwrite=False) as file:
        with pytest.raises(ModelFileError, match=r"another process is writing it; .* delete .*/\.m\.asd\.part"):
            reserve(tmp_path / "m.asd", overwrite=False).__enter__()
        file.write([b"1"])
    assert names(tmp_path) == ["m.asd"]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_the_umask_is_respected(tmp_path: Path, umask: int) -> None:
    old = os.umask(umask)
    try:
        with reserve(tmp_path / "m.asd", overwrite=False) as file:
            file.write([b"1"])
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "m.asd").stat().st_mode) == 0o666 & ~umask


def test_who_may_read_a_model_stays_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "m.asd").write_bytes(b"old")
    (tmp_path / "m.asd").chmod(0o600)
    with reserve(tmp_path / "m.asd", overwrite=True) as file:
        file.write([b"new"])
    assert stat.S_IMODE((tmp_path / "m.asd").stat().st_mode) == 0o600


@pytest.mark.parametrize("exists", [True, False])
def test_a_symbolic_link_stays_and_its_file_is_replaced(tmp_path: Path, exists: bool) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "m.asd").symlink_to("models/fan-7.asd")
    if exists:
        (tmp_path / "models" / "fan-7.asd").write_bytes(b"old")
    with reserve(tmp_path / "m.asd", overwrite=exists) as file:
        assert ".fan-7.asd.part" in names(tmp_path / "models")
        file.write([b"new"])
    assert (tmp_path / "m.asd").is_symlink()
    assert (tmp_path / "models" / "fan-7.asd").read_bytes() == b"new"
    assert names(tmp_path / "models") == ["fan-7.asd"]


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "m.asd")
    return folder / "m.asd"


def link_to_device(folder: Path) -> Path:
    (folder / "m.asd").symlink_to("/dev/null")
    return folder / "m.asd"


PLACES: list[tuple[Callable[[Path], Path], str]] = [
    (lambda folder: folder, "is a folder; name a file, such as"),
    (lambda _: Path("/dev/null"), "/dev/null: is a device; the model can be written to a regular file only"),
    (link_to_device, "is a device; the model can be written to a regular file only"),
    (pipe, "is a pipe; the model can be written to a regular file only"),
    (lambda folder: folder / "absent" / "m.asd", "absent: no such folder to write the model to; make it first"),
    (lambda folder: folder / ("x" * 300), r"the model cannot be saved here \(File name too long\)"),
    (lambda _: Path(__file__, "m.asd"), r"the model cannot be saved here \(Not a directory\)"),
    (lambda _: Path("/proc/m.asd"), r"the model cannot be saved here \(.*\); choose another folder or name"),
]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="/proc stands for a folder that takes no files")
@pytest.mark.parametrize(("place", "reason"), PLACES)
def test_places_that_take_no_model_are_refused_even_with_force(
    tmp_path: Path, place: Callable[[Path], Path], reason: str
) -> None:
    with pytest.raises(ModelFileError, match=reason), reserve(place(tmp_path), overwrite=True):
        pytest.fail("the work began")


def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    if os.access(tmp_path, os.W_OK):
        pytest.skip("this user may write everywhere")
    with pytest.raises(ModelFileError, match=r"\(Permission denied\)"), reserve(tmp_path / "m.asd", overwrite=False):
        pytest.fail("the work began")


def test_a_second_reservation_is_refused(tmp_path: Path) -> None:
    with reserve(tmp_path / "m.asd", overwrite=False) as file:
        with (
            pytest.raises(ModelFileError, match="another process is writing it; wait for it, or choose another name"),
            reserve(tmp_path / "m.asd", overwrite=True),
        ):
            pytest.fail("the work began")
        file.write([b"1"])
    assert (tmp_path / "m.asd").read_bytes() == b"1"


def test_a_part_that_was_cleaned_up_is_made_anew(tmp_path: Path) -> None:
    with reserve(tmp_path / "m.asd", overwrite=False) as file:
        (tmp_path / ".m.asd.part").unlink()
        file.write([b"1"])
    assert (tmp_path / "m.asd").read_bytes() == b"1"
    assert names(tmp_path) == ["m.asd"]


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """Return a folder where a process was killed while it wrote ``m.asd``."""
    script = f"""
        import os, signal
        from pathlib import Path
        from asd.detection.output import reserve
        def content():
            yield b"x" * 100_000
            os.kill(os.getpid(), signal.SIGKILL)
        with reserve(Path({str(tmp_path / "m.asd")!r}), overwrite=False) as file:
            file.write(content())
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert names(tmp_path) == [".m.asd.part"]
    return tmp_path


def test_what_a_killed_process_left_is_taken_over(killed: Path) -> None:
    with reserve(killed / "m.asd", overwrite=False) as file:
        file.write([b"1"])
    assert (killed / "m.asd").read_bytes() == b"1"
    assert names(killed) == ["m.asd"]


def test_what_a_killed_process_left_under_another_name_goes_after_a_day(killed: Path) -> None:
    with reserve(killed / "other.asd", overwrite=False):
        assert names(killed) == [".m.asd.part", ".other.asd.part"]
        os.utime(killed / ".other.asd.part", (0, 0))  # alive, however old
        os.utime(killed / ".m.asd.part", (0, 0))
        with reserve(killed / "third.asd", overwrite=False):
            assert names(killed) == [".other.asd.part", ".third.asd.part"]


def test_processes_that_start_at_once_do_not_share_a_file(tmp_path: Path) -> None:
    """Of four that reserve one name again and again, each writes alone, and none is stopped by a stranger's error."""
    script = f"""
        import sys
        from pathlib import Path
        from asd.detection.output import reserve
        from asd.errors import ModelFileError
        path, written = Path({str(tmp_path / "m.asd")!r}), 0
        for turn in range(200):
            try:
                with reserve(path, overwrite=True) as file:
                    file.write([f"{{sys.argv[1]}} ".encode()] * 1000)
                written += 1
            except ModelFileError as error:
                assert "another process is writing it" in str(error), error
        print(written)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    processes = [
        subprocess.Popen([*command, str(number)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for number in range(4)
    ]
    said = [process.communicate(timeout=PATIENCE) for process in processes]
    assert [errors for _, errors in said] == [""] * 4
    assert sum(int(written) for written, _ in said) > 0
    assert len(set((tmp_path / "m.asd").read_text().split())) == 1
    assert names(tmp_path) == ["m.asd"]


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sounds")
    rng = np.random.default_rng(0)
    for number in range(6):
        soundfile.write(folder / f"{number}.wav", rng.normal(0, 0.1, 16000), 16000)
    return folder


def fit(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [os.environ["ASD_COMMAND"], "fit", *arguments, *QUICK], capture_output=True, text=True, check=False
    )


def test_fit_refuses_a_device_before_it_looks_at_recordings(tmp_path: Path) -> None:
    done = fit(tmp_path / "no recordings", "-o", "/dev/null", "--force")
    assert done.returncode == 2
    assert "/dev/null: is a device" in done.stderr
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_fit_gives_its_reservation_back_when_it_fails(tmp_path: Path) -> None:
    done = fit(tmp_path / "no recordings", "-o", tmp_path / "m.asd")
    assert done.returncode == 2
    assert names(tmp_path) == []


STOPPING = """
import os, signal
from asd.command import main
from asd.detection.output import OutputFile
write = OutputFile.write_by
def stop_first(*arguments):
    os.kill(os.getpid(), signal.SIGSTOP)
    write(*arguments)
OutputFile.write_by = stop_first
main()
"""


@pytest.fixture
def waiting(sounds: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a fit that writes ``m.asd``, stopped when it has reserved it and before it writes."""
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPING, "fit", sounds, "-o", tmp_path / "m.asd", *QUICK],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    yield process
    process.kill()
    process.communicate()


def test_the_second_of_two_fits_is_refused(waiting: subprocess.Popen[str], sounds: Path, tmp_path: Path) -> None:
    second = fit(sounds, "-o", tmp_path / "m.asd")
    assert second.returncode == 2
    assert "m.asd: another process is writing it" in second.stderr
    waiting.send_signal(signal.SIGCONT)
    _, errors = waiting.communicate(timeout=PATIENCE)
    assert waiting.returncode == 0, errors
    assert names(tmp_path) == ["m.asd"]


def test_a_fit_does_not_overwrite_what_appeared(waiting: subprocess.Popen[str], tmp_path: Path) -> None:
    (tmp_path / "m.asd").write_text("mine")
    waiting.send_signal(signal.SIGCONT)
    _, errors = waiting.communicate(timeout=PATIENCE)
    assert waiting.returncode == 2
    assert "m.asd: exists already" in errors
    assert (tmp_path / "m.asd").read_text() == "mine"
    assert names(tmp_path) == ["m.asd"]
