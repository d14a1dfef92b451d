"""How the page's files are sent: kept for good, compressed, none else, and all together small."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from asd_serve.page import files as served

FOLDER = Path(served.__file__).parent
WEIGHT = 400_000
"""Bytes that all of the page may have, compressed."""


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    app = FastAPI()
    app.include_router(served.router)
    with TestClient(app) as found:
        yield found


def _modules() -> list[Path]:
    return [each for each in FOLDER.rglob("*.js") if "vendor" not in each.parts]


def test_the_document_names_files_that_exist(client: TestClient) -> None:
    document = client.get("/")
    assert document.headers["content-type"] == "text/html; charset=utf-8"
    assert document.headers["cache-control"] == "no-cache"
    names = re.findall(r'(?:href|src)="([^"]+)"', document.text)
    assert f"page/{served.version()}/app.js" in names
    for name in names:
        assert not name.startswith(("/", "http")), "relative: the page works under any path"
        assert client.get(f"/{name}").status_code == 200, name


def test_every_import_leads_to_a_file() -> None:
    for module in _modules():
        text = module.read_text()
        for name in re.findall(r"""(?:from|import)\s*\(?\s*["'](\.[^"']+)["']""", text):
            assert (module.parent / name).is_file(), f"{module.name} imports {name}"


@pytest.mark.parametrize("module", _modules(), ids=lambda path: path.stem)
def test_no_function_takes_the_place_of_another(module: Path) -> None:
    """Two declarations of a name are no error of JavaScript: the later one counts."""
    names = re.findall(r"^ *(?:export )?(?:default )?(?:async )?function\*? (\w+)", module.read_text(), re.M)
    assert sorted(names) == sorted(set(names))


def test_files_are_kept_for_good_and_the_document_is_asked_for_again(client: TestClient) -> None:
    name = f"/page/{served.version()}/style.css"
    first = client.get(name)
    assert first.headers["cache-control"] == "public, max-age=31536000, immutable"
    for path, answer in ((name, first), ("/", client.get("/"))):
        again = client.get(path, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", answer.headers["etag"])
        assert client.get(path, headers={"If-None-Match": '"other"'}).status_code == 200


def test_files_are_compressed_for_whoever_can_read_it(client: TestClient) -> None:
    name = f"/page/{served.version()}/style.css"
    packed = client.get(name, headers={"Accept-Encoding": "gzip, br"})
    plain = client.get(name, headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.text == plain.text == (FOLDER / "style.css").read_text()
    assert packed.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"]) / 2


def test_head_says_the_same_without_the_file(client: TestClient) -> None:
    head, whole = client.head("/"), client.get("/")
    assert head.content == b""
    assert head.headers["etag"] == whole.headers["etag"]


@pytest.mark.parametrize(
    "name",
    [
        "files.py",
        "__init__.py",
        "index.html",
        "../app.py",
        "%2e%2e/app.py",
        "..%2fapp.py",
        "views",
        "",
        "vendor/uplot/LICENSE",
    ],
)
def test_nothing_else_is_sent(client: TestClient, name: str) -> None:
    assert client.get(f"/page/{served.version()}/{name}").status_code == 404


def test_files_of_another_version_are_not_sent(client: TestClient) -> None:
    answer = client.get("/page/0123456789abcdef/app.js")
    assert (answer.status_code, answer.json()) == (
        404,
        {"detail": "no file 'app.js' in this version of the page; load the page again"},
    )


def test_all_of_the_page_is_small() -> None:
    weight = sum(len(each.packed) for each in served.files().values())
    assert weight <= WEIGHT, f"{weight} bytes compressed"
    assert all(gzip.decompress(each.packed) == each.body for each in served.files().values())


def test_what_is_not_ours_has_its_licence() -> None:
    folders = [each for each in (FOLDER / "vendor").iterdir() if each.is_dir()]
    assert folders
    for folder in folders:
        assert "Copyright" in (folder / "LICENSE").read_text()


def test_nothing_is_loaded_from_elsewhere_and_nothing_becomes_markup() -> None:
    for module in [*_modules(), *FOLDER.glob("*.css"), FOLDER / "index.html"]:
        text = module.read_text()
        found = [
            each for each in re.findall(r"https?://[^\s\"'`)]+", text) if not each.startswith("http://www.w3.org/")
        ]
        assert not found, f"{module.name}: {found}"
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text), (
            module.name
        )
        assert not re.search(r"<style|<script(?![^>]*src=)| style=\"| on\w+=\"", text), module.name
