"""Data and results on a WebDAV server, such as Nextcloud: a real one, with a password."""

# ruff: noqa: F811  # fixtures are named where they are used

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import asd
from asd.errors import RemoteError
from asd.files import filesystems
from asd.files.remote import as_path
from elsewhere import QUICK, Run, run  # noqa: F401  # a fixture
from fleet_sound import PIPELINE, plant, same_arrays

pytest.importorskip("webdav4", reason="needs webdav4[fsspec]")
wsgi: Any = pytest.importorskip("cheroot.wsgi", reason="needs cheroot, which runs the server")
wsgidav: Any = pytest.importorskip("wsgidav.wsgidav_app", reason="needs wsgidav, the server")

pytestmark = pytest.mark.usefixtures("embedding_cache")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Return the address of a server, and the folder that it shows."""
    root = tmp_path_factory.mktemp("dav")
    app = wsgidav.WsgiDAVApp(
        {
            "provider_mapping": {"/": str(root)},
            "simple_dc": {"user_mapping": {"*": {"me": {"password": "s3cret"}}}},
            "verbose": 0,
            "logging": {"enable": False},
        }
    )
    running = wsgi.Server(("127.0.0.1", 0), app)
    running.prepare()
    thread = threading.Thread(target=running.serve)
    thread.start()
    yield f"http://127.0.0.1:{running.bind_addr[1]}", root
    running.stop()
    thread.join()


@pytest.fixture(autouse=True)
def settings(server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Return what FSSPEC_WEBDAV_BASE_URL and FSSPEC_WEBDAV_AUTH say, which fsspec reads when it is imported."""
    import fsspec.config

    own: dict[str, Any] = {"base_url": server[0], "auth": ["me", "s3cret"]}
    monkeypatch.setitem(fsspec.config.conf, "webdav", own)
    filesystems._created.cache_clear()
    yield own
    with contextlib.suppress(RemoteError):  # one that could not be made
        filesystems.filesystem_of(as_path("webdav://x").address)[0].client.http.close()  # type: ignore[attr-defined]
    filesystems._created.cache_clear()


def test_fit_and_score_say_what_files_say(server: tuple[str, Path], run: Run) -> None:
    plant(server[1] / "plant", {"north": 150})
    code, _, err = run("fit", "webdav://plant/north", "-o", "webdav://models/north.asd", *QUICK)
    assert code == 0, err
    assert [path.name for path in (server[1] / "models").iterdir()] == ["north.asd"]
    assert run("fit", "webdav://plant/north", "-o", server[1] / "here.asd", *QUICK)[0] == 0
    there, here = asd.load("webdav://models/north.asd"), asd.load(server[1] / "here.asd")
    assert same_arrays(there, here)
    verdicts = [verdict.p_value for verdict in asd.score(there, "webdav://plant/north/*.wav")]
    assert verdicts == [verdict.p_value for verdict in asd.score(here, server[1] / "plant" / "north")]


def test_a_folder_of_models_is_written_there(server: tuple[str, Path]) -> None:
    plant(server[1] / "halls", {"north": 150, "south": 250})
    models = asd.fit("webdav://halls", by="folder", folder="webdav://new/fleet", **PIPELINE)
    assert sorted(path.name for path in (server[1] / "new" / "fleet").iterdir()) == [
        "machines.json", "north.asd", "south.asd"
    ]  # fmt: skip
    here = asd.fit(server[1] / "halls", by="folder", **PIPELINE)
    assert all(same_arrays(models[name], here[name]) for name in here)


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"auth": ["me", "wr0ng"]}, "access is refused; check FSSPEC_WEBDAV_AUTH"),
        ({"base_url": "http://127.0.0.1:9"}, "cannot be reached; is the address right, and the network up?"),
        ({"base_url": None}, "name the server by FSSPEC_WEBDAV_BASE_URL=https://host/folder, user and password, if"),
        ({"auth": {"me": "s3cret"}}, "name the server by FSSPEC_WEBDAV_BASE_URL"),
    ],
)
def test_what_is_set_wrongly_is_told_without_the_password(
    changed: dict[str, Any], text: str, settings: dict[str, Any]
) -> None:
    settings.update(changed)
    if settings["base_url"] is None:
        del settings["base_url"]
    with pytest.raises(RemoteError) as raised:
        as_path("webdav://plant/north/0.wav").read_bytes()
    assert text in str(raised.value)
    assert "s3cret" not in str(raised.value)
    assert "wr0ng" not in str(raised.value)
