"""Behind a reverse proxy: nginx and Caddy, as our examples set them up, run for real; and what is believed of whom."""

from __future__ import annotations

import ast
import contextlib
import os
import re
import shutil
import socket
import ssl
import subprocess
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from websockets.sync.client import connect

from asd_serve.limits import Limits
from waiting import PATIENCE, until

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "serve"
NAME = "hall.example.org"


def free_port() -> int:
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port: int = chosen.getsockname()[1]
        return port


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Callable[..., int]]:
    """Return a function that starts nginx or Caddy by the example before a server, and returns its port."""
    running: list[subprocess.Popen[bytes]] = []

    def start(kind: str, behind: int) -> int:
        program = shutil.which(kind) or shutil.which(kind, path="/usr/sbin:/usr/bin")
        if program is None:
            pytest.skip(f"{kind} is not installed (apt-get install {kind})")
        port = free_port()
        if kind == "nginx":
            certificate(tmp_path)
            own = (EXAMPLES / "nginx.conf").read_text().replace("listen 443", f"listen 127.0.0.1:{port}")
            own = own.replace("/etc/ssl/", f"{tmp_path}/").replace("127.0.0.1:8787", f"127.0.0.1:{behind}")
            user = "user root;" if not os.geteuid() else ""
            temp = "".join(
                f"{each}_temp_path {tmp_path}/{each};" for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
            )
            (tmp_path / "nginx.conf").write_text(
                f"{user} daemon off; pid {tmp_path}/pid; error_log stderr; events {{}} "
                f"http {{ access_log off; {temp}\n{own}\n}}"
            )
            command = [program, "-e", "stderr", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")]
        else:
            own = (EXAMPLES / "Caddyfile").read_text().replace(f"{NAME} {{", f"https://{NAME}:{port} {{")
            own = own.replace("127.0.0.1:8787", f"127.0.0.1:{behind}")
            options = "{\n\tadmin off\n\tskip_install_trust\n\tauto_https disable_redirects\n}\n"
            (tmp_path / "Caddyfile").write_text(options + own)
            command = [program, "run", "--adapter", "caddyfile", "--config", str(tmp_path / "Caddyfile")]
        log = (tmp_path / "proxy.log").open("ab")
        home = {"XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path)}
        running.append(subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **home}))
        log.close()
        until(lambda: answers(port), (tmp_path / "proxy.log").read_text)
        return port

    yield start
    for each in running:
        each.terminate()
        each.wait(PATIENCE)


def certificate(folder: Path) -> None:
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={NAME}"),
            *(
                "-addext",
                f"subjectAltName=DNS:{NAME}",
                "-keyout",
                f"{folder}/{NAME}.key",
                "-out",
                f"{folder}/{NAME}.pem",
            ),
        ],
        check=True,
        capture_output=True,
    )


def unchecked() -> ssl.SSLContext:
    """Return a context for a certificate that the proxy has made for the test."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def answers(port: int) -> bool:
    """Return whether the proxy answers by TLS."""
    with (
        contextlib.suppress(OSError),
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as plain,
        unchecked().wrap_socket(plain, server_hostname=NAME),
    ):
        return True
    return False


@pytest.mark.parametrize("kind", ["nginx", "caddy"])
def test_the_page_and_the_interface_behind_a_proxy_under_a_path(
    server: Any, proxy: Any, history: Path, kind: str
) -> None:
    limits = Limits(body_bytes=2_000_000)
    running = server(root_path="/machines", proxies=("127.0.0.1",), hosts=(NAME,), limits=limits, history=history)
    port = proxy(kind, running.port)
    place = f"{NAME}:{port}"
    named = {"Host": place}
    with httpx.Client(
        base_url=f"https://127.0.0.1:{port}", verify=unchecked(), headers=named, trust_env=False, timeout=PATIENCE
    ) as page:
        sni = {"sni_hostname": NAME}

        def ask(method: str, path: str, **more: Any) -> httpx.Response:
            return page.request(method, path, extensions=sni, **more)

        assert ask("GET", "/machines").headers["location"].endswith("/machines/")
        document = ask("GET", "/machines/")
        assert document.status_code == 200
        assert document.headers["x-frame-options"] == "DENY"
        script = re.search(r'src="(page/[0-9a-f]+/app\.js)"', document.text)
        assert script is not None
        assert ask("GET", f"/machines/{script[1]}").headers["content-type"].startswith("text/javascript")
        assert ask("GET", "/machines/api/session").status_code == 401
        began = ask(
            "POST",
            "/machines/api/session",
            json={"key": running.key("administer")},
            headers={"Origin": f"https://{place}"},
        )
        assert began.status_code == 200, began.text
        cookie = began.headers["set-cookie"]
        assert {"Path=/machines", "Secure", "HttpOnly", "SameSite=strict"} <= set(cookie.split("; "))
        page.cookies.clear()
        kept = {"Cookie": cookie.partition(";")[0]}
        assert ask("PUT", "/machines/api/trial/settings", headers=kept).status_code == 403
        token = {"X-CSRF-Token": began.json()["csrf"]}
        assert ask("PUT", "/machines/api/trial/settings", headers={**kept, **token}).status_code == 200
        size = 1_500_000
        echoed = ask("POST", "/machines/api/trial/echo", content=bytes(size), headers={**kept, **token})
        assert echoed.json() == {"bytes": size}
        assert len(ask("GET", "/machines/api/trial/large?size=3000000", headers=kept).content) > 2_900_000
        plain = ("pump <1>", 'a/b%2f "c"\n/clips', "/", "%2F", " ", "\U0001f642ü" * 100)
        steps = (".", "..", "../../../etc/passwd", "base64=Li4")
        encoded = [f"base64={urlsafe_b64encode(name.encode()).decode().rstrip('=')}" for name in steps]
        for name, part in zip(plain + steps, [*map(partial(quote, safe=""), plain), *encoded], strict=True):
            found = ask("GET", f"/machines/api/machines/{part}", headers=kept)
            assert name[:80] in (
                found.json().get("name") or ast.literal_eval(found.json()["error"].split(" was ")[0][11:])
            )
        described = ask("GET", "/machines/api/openapi.json").json()
        assert described["servers"] == [{"url": "/machines"}]
    with connect(
        f"wss://{place}/machines/api/trial/socket",
        sock=socket.create_connection(("127.0.0.1", port)),
        ssl=unchecked(),
        server_hostname=NAME,
        origin=f"https://{place}",
        additional_headers=kept,
        proxy=None,
    ) as live:
        live.send("well?")
        assert live.recv() == "well?"


@pytest.mark.parametrize("path", ["/machines/api/session", "/api/session"])
def test_the_proxy_may_leave_the_path_or_take_it_away(server: Any, path: str) -> None:
    running = server(root_path="/machines")
    headers = {"Authorization": f"Bearer {running.key()}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{running.port}", headers=headers, trust_env=False) as user:
        assert user.get(path).status_code == 200
        assert user.get("/machines").headers["location"] == "/machines/"
        assert user.get("/machines/page/..%2f..%2fetc").status_code == 404


def test_only_a_proxy_that_was_named_says_who_asks(server: Any) -> None:
    """Else everybody could be somebody else with each guess of a key."""
    said = {"X-Forwarded-Proto": "https"}
    few = Limits(wrong_keys=2)
    for proxies, statuses, is_secure in (((), [401, 401, 429, 429], False), (("127.0.0.1",), [401] * 4, True)):
        running = server(proxies=proxies, limits=few)
        with running.client(None) as user:
            found = [
                user.get(
                    "/api/session",
                    headers={"Authorization": f"Bearer asd_00000000_{at}", "X-Forwarded-For": f"203.0.113.{at}"},
                ).status_code
                for at in range(4)
            ]
            assert found == statuses
            answer = user.post("/api/session", json={"key": running.key()}, headers=said)
            assert ("Secure" in answer.headers["set-cookie"]) == is_secure


def test_who_is_asked_for_by_another_name_than_the_proxy_s_is_not_there(server: Any) -> None:
    running = server(proxies=("127.0.0.1",), hosts=(NAME,))
    with running.client() as user:
        assert user.get("/api/session", headers={"Host": NAME}).status_code == 200
        assert user.get("/api/session", headers={"Host": "evil.example", "X-Forwarded-Host": NAME}).status_code == 421
