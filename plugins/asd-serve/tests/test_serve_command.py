"""``asd serve`` as it is typed: its start, its end, and what stands in its way."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from asd_serve.server import check_tls
from waiting import PATIENCE, until

COMMAND = [sys.executable, "-c", "from asd.cli.main import main; main()"]
"""The installed command: the one for tests forks from a process that has imported everything, and takes no signals."""


class Serving:
    """A server that runs as a process of its own."""

    def __init__(self, *arguments: str, folder: Path) -> None:
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [*COMMAND, "serve", *arguments],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.lines: list[str] = []
        is_second = (folder / "asd-serve").exists()
        for line in self.process.stdout:
            self.lines.append(line)
            if line.startswith("More keys") or is_second:
                break
        self.seconds = time.monotonic() - self.began
        self.text = "".join(self.lines)
        found = re.search(r"(https?://\S+?)/#key=(\S+)", self.text)
        self.url, self.key = found.groups() if found else ("", "")

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str, str]:
        """Send a signal, and return exit code and the rest of the output."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        output, errors = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, output, errors


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Callable[..., Serving]]:
    running: list[Serving] = []

    def start(*arguments: str) -> Serving:
        running.append(Serving(*arguments, folder=tmp_path))
        return running[-1]

    yield start
    for each in running:
        each.end(signal.SIGKILL)


def asd(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Run a command that ends by itself."""
    done = subprocess.run(
        [os.environ["ASD_COMMAND"], *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def refused(folder: Path, *arguments: str) -> str:
    """Run a command that is refused, and return the one line that says why."""
    code, output, errors = asd(folder, *arguments)
    lines = [line for line in errors.splitlines() if "warning" not in line]
    assert (code, output, len(lines)) == (2, "", 1), (code, output, errors)
    return lines[0]


# -------------------------------------------------------------------------------------------------- start, and keys


def test_the_first_start_shows_a_link_with_a_key_and_later_ones_do_not(serving: Any) -> None:
    one = serving("--port", "0")
    assert re.fullmatch(
        r"Serving at (http://127\.0\.0\.1:\d+)/   \(Ctrl-C ends it\)\n"
        r"First start\. This link has the first key; it is shown this once:\n\n"
        r"  \1/#key=asd_[0-9a-f]{8}_[0-9A-Za-z]{32}\n\n"
        r"More keys: asd serve key create NAME --role look --folder asd-serve\n",
        one.text,
    )
    with httpx.Client(base_url=one.url, trust_env=False) as page:
        assert page.get("/").status_code == 200
        assert page.post("/api/session", json={"key": one.key}).json()["role"] == "administer"
    code, output, errors = one.end()
    assert (code, output, errors) == (0, "Ended; what was under way was answered.\n", "")
    port = one.url.rpartition(":")[2]
    again = serving("--port", port)
    assert again.lines == [f"Serving at {one.url}/   (Ctrl-C ends it)\n"]
    with httpx.Client(base_url=one.url, headers={"Authorization": f"Bearer {one.key}"}, trust_env=False) as user:
        assert user.get("/api/session").status_code == 200
    code, output, _ = again.end(signal.SIGINT)
    assert (code, output) == (0, "Ended; what was under way was answered.\n")


def test_keys_are_made_listed_and_revoked_while_the_server_runs(serving: Any, tmp_path: Path) -> None:
    one = serving("--port", "0")
    code, text, said = asd(tmp_path, "serve", "key", "create", "night shift", "--role", "feedback")
    assert code == 0
    assert re.fullmatch(r"key [0-9a-f]{8} of 'night shift', role feedback; it is shown this once\n", said)
    with httpx.Client(base_url=one.url, headers={"Authorization": f"Bearer {text.strip()}"}, trust_env=False) as user:
        assert user.get("/api/session").json() == {"name": "night shift", "role": "feedback", "csrf": None}
        code, listed, _ = asd(tmp_path, "serve", "key", "list", "--json")
        assert code == 0
        assert '"night shift"' in listed
        assert text.strip().rpartition("_")[2] not in listed
        code, gone, _ = asd(tmp_path, "serve", "key", "revoke", "night shift", "--folder", "asd-serve")
        assert re.fullmatch(r"key [0-9a-f]{8} of 'night shift' is revoked, and its sessions have ended\n", gone)
        assert user.get("/api/session").status_code == 401
    assert refused(tmp_path, "serve", "key", "revoke", "night shift") == (
        "asd: error: no key 'night shift' is in use; in use: 'first'"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("key", "list"), "no server's folder is here (asd-serve, asd-listen); say which by --folder"),
        (("key", "list", "--folder", "x"), "x: no server's folder; 'asd serve' and 'asd serve key create' make one"),
        (("pump.asd",), "pump.asd: no such model file; 'asd fit' makes one"),
        (("--root-path", "machines"), "--root-path must look like /machines, got 'machines'"),
        (("--proxy", "nginx"), "--proxy must be an address or a network, such as 127.0.0.1 or 10.0.0.0/8, got 'nginx'"),
        (("--host", "203.0.113.7"), "--host 203.0.113.7: cannot be listened at (Cannot assign requested address); "),
        (("--host", "no.such.host.invalid"), "--host no.such.host.invalid: no such address ("),
        (("--listen", "a.toml", "--history", "b"), "--listen and --history are given; give --listen to listen here, "),
        (("--key-file", "a.pem"), "--key-file needs --certificate: the file with the certificate that belongs to the"),
    ],
)
def test_what_cannot_be_served_is_told_in_one_line(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    assert said in refused(tmp_path, "serve", *arguments, *(() if "key" in arguments else ("--port", "0")))
    assert not (tmp_path / "asd-serve").exists(), "something was made all the same"


def test_two_models_of_one_name(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "pump.asd").touch()
    line = refused(tmp_path, "serve", "a/pump.asd", "b/pump.asd", "--port", "0")
    assert "b/pump.asd: a model named 'pump' is served already (a/pump.asd); rename one file" in line


def test_to_be_reached_by_others_without_tls_is_warned_of(serving: Any) -> None:
    one = serving("--port", "0", "--host", "0.0.0.0")
    assert one.url.startswith(f"http://{socket.gethostname()}:")
    _, _, errors = one.end()
    assert errors.count("\n") == 1
    assert errors.startswith("asd: warning: 0.0.0.0 can be reached by others, and without TLS they can read keys and")


# ------------------------------------------------------------------------------------------- two servers, a bad file


def test_two_servers_of_one_port_or_one_folder(serving: Any, tmp_path: Path) -> None:
    one = serving("--port", "0")
    port = one.url.rpartition(":")[2]
    assert refused(tmp_path, "serve", "--port", port, "--folder", "other") == (
        f"asd: error: port {port} of 127.0.0.1 is in use, perhaps by another 'asd serve'; stop that one, or choose "
        "another --port"
    )
    assert not (tmp_path / "other").exists()
    assert refused(tmp_path, "serve", "--port", "0") == (
        "asd: error: asd-serve: another 'asd serve' uses this folder; stop it, or give --folder"
    )
    with httpx.Client(base_url=one.url, headers={"Authorization": f"Bearer {one.key}"}, trust_env=False) as user:
        assert user.get("/api/session").status_code == 200


def test_a_killed_server_leaves_nothing_that_hinders_the_next(serving: Any) -> None:
    one = serving("--port", "0")
    code, _, _ = one.end(signal.SIGKILL)
    assert code == -signal.SIGKILL
    again = serving("--port", one.url.rpartition(":")[2])
    assert again.lines == [f"Serving at {one.url}/   (Ctrl-C ends it)\n"]
    with httpx.Client(base_url=one.url, headers={"Authorization": f"Bearer {one.key}"}, trust_env=False) as user:
        assert user.get("/api/session").status_code == 200


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("newer", "written by a newer version of asd-serve (format 99, this one reads up to 1); upgrade with 'pip"),
        ("foreign", "a database of another program; give the server a folder of its own"),
        ("text", "no database of asd-serve; choose another --folder, or put back a copy"),
    ],
)
def test_a_database_that_is_none_of_ours_stays_as_it_is(tmp_path: Path, damage: str, said: str) -> None:
    path = tmp_path / "asd-serve" / "serve.sqlite"
    path.parent.mkdir()
    if damage == "text":
        path.write_text("a shopping list " * 100)
    else:
        with contextlib.closing(sqlite3.connect(path)) as file:
            file.execute("PRAGMA user_version = 99" if damage == "newer" else "CREATE TABLE recipes (name)")
            file.commit()
    before = path.read_bytes()
    assert f"serve.sqlite: {said}" in refused(tmp_path, "serve", "--port", "0")
    assert f"serve.sqlite: {said}" in refused(tmp_path, "serve", "key", "list")
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "asd-serve").touch()
    assert refused(tmp_path, "serve", "--port", "0").startswith("asd: error: asd-serve: cannot be used (")


def test_limits_that_do_not_fit_are_told_with_their_file(tmp_path: Path) -> None:
    (tmp_path / "asd-serve").mkdir()
    (tmp_path / "asd-serve" / "serve.toml").write_text("ratte = 5\n")
    line = refused(tmp_path, "serve", "--port", "0")
    assert "asd-serve/serve.toml: Object contains unknown field `ratte`; known are upload_bytes," in line


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Return a function that mounts a disk in memory with such options, or mounts it anew with others."""
    place = tmp_path / "disk"

    def mount(options: str) -> Path:
        again = "remount," if place.exists() else ""
        place.mkdir(exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", again + options, "tmpfs", str(place)]
        if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("only root can mount a small disk")
        return place

    yield mount
    if place.exists():
        subprocess.run(["umount", "-l", str(place)], check=False, capture_output=True)


def test_a_full_disk_stops_no_reader(server: Any, disk: Any) -> None:
    running = server(folder=disk("size=600k") / "asd-serve")
    filler = running.state.folder.parent / "filler"
    with running.client() as user:
        key = {"key": user.headers["authorization"][7:]}
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(bytes(4096)) == 4096:
                pass
        found = [user.post("/api/session", json=key) for _ in range(100)][-1]
        assert found.status_code == 507
        assert found.json()["error"].endswith("serve.sqlite: the disk is full; free some space")
        assert user.get("/api/session").status_code == 200
        filler.unlink()
        assert user.post("/api/session", json=key).status_code == 200


def test_a_read_only_disk_is_told(disk: Any, tmp_path: Path) -> None:
    disk("size=1m")
    assert asd(tmp_path, "serve", "key", "create", "phone", "--folder", "disk/asd-serve")[0] == 0
    disk("ro")
    assert "disk/asd-serve: cannot be used (Read-only file system); choose another --folder" in refused(
        tmp_path, "serve", "--port", "0", "--folder", "disk/asd-serve"
    )
    assert "serve.sqlite: cannot be " in refused(
        tmp_path, "serve", "key", "create", "another", "--folder", "disk/asd-serve"
    )


def test_a_locked_database_stops_no_reader(server: Any) -> None:
    running = server()
    database = running.state.database
    with running.client() as user, contextlib.closing(sqlite3.connect(database.path)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert user.get("/api/session").status_code == 200, "reading goes on"
        locked = user.post("/api/session", json={"key": user.headers["authorization"][7:]})
        assert locked.status_code == 503
        assert locked.headers["retry-after"] == "5"
        assert "serve.sqlite: locked by another program; try again when that has ended" in locked.json()["error"]
        other.rollback()
        assert user.post("/api/session", json={"key": user.headers["authorization"][7:]}).status_code == 200


# ---------------------------------------------------------------------------------------------------------- the end


def is_refused(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=PATIENCE).close()
    except ConnectionRefusedError:
        return True
    except OSError:  # it is just ending
        return False
    return False


def test_a_request_that_came_while_the_server_was_busy_is_answered_although_it_ends(server: Any) -> None:
    running = server()
    free = threading.Event()
    running.server.servers[0].get_loop().call_soon_threadsafe(free.wait, PATIENCE)
    with socket.create_connection(("127.0.0.1", running.port), timeout=PATIENCE) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        running.server.should_exit = True
        time.sleep(0.3)  # so that the server looks at that first
        free.set()
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def test_the_end_waits_for_what_is_under_way_and_takes_nothing_new(serving: Any, tmp_path: Path) -> None:
    """Uploads that were half sent when SIGTERM came are answered, each with its own."""
    one = serving("--port", "0")
    host, port = "127.0.0.1", int(one.url.rpartition(":")[2])
    answers: list[bytes] = []
    halfway, go_on = threading.Barrier(9), threading.Event()

    def upload(number: int) -> None:
        with socket.create_connection((host, port)) as connection:
            body = f'{{"key": "{number:060d}"}}'.encode()
            connection.sendall(
                f"POST /api/session HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n".encode()
            )
            assert connection.recv(65536).startswith(b"HTTP/1.1 100")  # it is under way
            connection.sendall(body[:20])
            halfway.wait(PATIENCE)
            go_on.wait(PATIENCE)
            connection.sendall(body[20:])
            got = b""
            while part := connection.recv(65536):
                got += part
            answers.append(got)

    threads = [threading.Thread(target=upload, args=(at,)) for at in range(8)]
    for each in threads:
        each.start()
    halfway.wait(PATIENCE)
    one.process.send_signal(signal.SIGTERM)
    until(lambda: is_refused(host, port), "nothing new is taken")
    go_on.set()
    for each in threads:
        each.join()
    code, output, _ = one.end()
    assert (code, output) == (0, "Ended; what was under way was answered.\n")
    assert [each.split(b" ")[1] for each in answers] == [b"401"] * 8
    assert all(b"this key is not known here" in each for each in answers)


# --------------------------------------------------------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make certificates and keys of several kinds."""
    folder = tmp_path_factory.mktemp("tls")
    for name in ("own", "other"):
        done = subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
                *("-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"),
                *("-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem")),
            ],
            capture_output=True,
            check=False,
        )
        if done.returncode:
            pytest.skip("openssl is not installed (apt-get install openssl)")
    subprocess.run(
        ["openssl", "pkey", "-in", folder / "own.key", "-aes256", "-passout", "pass:x", "-out", folder / "locked.key"],
        check=True,
        capture_output=True,
    )
    (folder / "both.pem").write_bytes((folder / "own.pem").read_bytes() + (folder / "own.key").read_bytes())
    (folder / "noise.pem").write_bytes(bytes(range(256)))
    (folder / "broken.pem").write_text("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
    return folder


@pytest.mark.parametrize("files", [("own.pem", "own.key"), ("both.pem", None)])
def test_tls_by_files(server: Any, certificates: Path, files: tuple[str, str | None]) -> None:
    certificate, key = files
    tls = check_tls(certificates / certificate, certificates / key if key else None)
    running = server(tls=tls)
    context = ssl.create_default_context(cafile=certificates / "own.pem")
    with running.client(verify=context) as user:
        answer = user.post("/api/session", json={"key": user.headers["authorization"][7:]})
        assert "Secure" in answer.headers["set-cookie"]
    with socket.create_connection(("127.0.0.1", running.port)) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert b"HTTP" not in plain.recv(1000)
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname = False
    old.verify_mode = ssl.CERT_NONE
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("127.0.0.1", running.port)) as plain,
        pytest.raises(ssl.SSLError),
        old.wrap_socket(plain),
    ):
        pass


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (("none.pem", "own.key"), "none.pem: No such file or directory; expected a file in PEM form"),
        (("own.pem", "none.key"), "none.key: No such file or directory; expected a file in PEM form"),
        (("noise.pem", "own.key"), "noise.pem: not in PEM form; expected lines from -----BEGIN … to -----END …"),
        (("own.pem", "other.key"), "other.key: not the key of the certificate in "),
        (("own.pem", "locked.key"), "locked.key: needs a password, which nobody types at night; give a key without"),
        (("broken.pem", "own.key"), "own.key: no certificate with its key ("),
        (("own.pem", None), "own.pem: no certificate with its key ("),
    ],
)
def test_certificates_that_do_not_fit_are_told_in_one_line(
    tmp_path: Path, certificates: Path, files: tuple[str, str | None], said: str
) -> None:
    certificate, key = files
    options = (
        "--certificate",
        str(certificates / certificate),
        *(("--key-file", str(certificates / key)) if key else ()),
    )
    assert said in refused(tmp_path, "serve", "--port", "0", *options)


def test_no_part_of_an_answer_waits_for_the_one_before() -> None:
    from asd_serve.server import listen_at

    (listening,) = listen_at("127.0.0.1", 0)
    with listening, socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
