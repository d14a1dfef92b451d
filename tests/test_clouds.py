"""Google Cloud Storage, Azure and the Hugging Face hub, read and written by their own libraries on a local server."""

# ruff: noqa: F811  # fixtures are named where they are used

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fsspec.config import conf

import asd
from asd.files import filesystems
from asd.files.remote import as_path
from clouds import ACCOUNT, KEY, NAME, REPOSITORY, TOKEN, Cloud, cloud_server
from elsewhere import SOUNDS, Run, error_of, forget, fresh, run, sound  # noqa: F401  # fixtures
from fleet_sound import same_arrays

PACKAGES = {"gs": "gcsfs", "az": "adlfs", "hf": "huggingface_hub"}
TOP = {"gs": f"gs://{NAME}", "az": f"az://{NAME}", "hf": f"hf://datasets/{REPOSITORY}"}
CHEAP = ("--extractor", "band-levels", "--detector", "deviation")
ALL = pytest.mark.parametrize("scheme", PACKAGES)


@pytest.fixture(scope="module")
def server() -> Iterator[Cloud]:
    with cloud_server() as cloud:
        yield cloud


@pytest.fixture(autouse=True)
def cloud(
    server: Cloud, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cloud]:
    """A server with recordings, which this process takes for all three."""
    scheme = request.node.callspec.params["scheme"]
    pytest.importorskip(PACKAGES[scheme], reason=f"needs {PACKAGES[scheme]}")
    server.files = {**SOUNDS, "halle 1/ü + 1 %.wav": sound(70)}
    server.is_private, server.status = False, {}
    server.requests.clear()
    for name in (
        "GOOGLE_APPLICATION_CREDENTIALS",
        "HF_TOKEN",
        "HF_HUB_OFFLINE",
        "TRANSFORMERS_OFFLINE",
        "AZURE_STORAGE_ACCOUNT_NAME",
        "AZURE_STORAGE_ACCOUNT_KEY",
    ):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "STORAGE_EMULATOR_HOST": server.url,
        "NO_GCE_CHECK": "true",
        "CLOUDSDK_CONFIG": str(tmp_path),
        "AZURE_STORAGE_CONNECTION_STRING": server.connection,
    }.items():
        monkeypatch.setenv(name, value)
    if scheme == "hf":
        from huggingface_hub import constants

        monkeypatch.setitem(conf, "hf", {"endpoint": server.url})  # as FSSPEC_HF_ENDPOINT does before a start
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    filesystems._created.cache_clear()
    forget()
    yield server
    filesystems._created.cache_clear()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    for name, content in SOUNDS.items():
        if name.startswith("train/"):
            (folder / Path(name).name).write_bytes(content)
    asd.fit(folder, extractor="band-levels", detector="deviation").save(folder / "fan.asd")
    return folder / "fan.asd"


@ALL
def test_fit_score_and_embed_say_what_files_say(
    scheme: str, run: Run, model: Path, fresh: None, tmp_path: Path
) -> None:
    for name, content in SOUNDS.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    top, path = TOP[scheme], tmp_path / "fan.asd"
    code, _, err = run("fit", f"{top}/train", "-o", path, *CHEAP)
    assert code == 0, err
    assert [line for line in err.splitlines() if not line.startswith("asd: ")] == []
    here, there = asd.load(model), asd.load(path)
    assert same_arrays(here, there)
    verdicts = list(asd.score(there, f"{top}/test"))
    assert [verdict.score for verdict in verdicts] == [verdict.score for verdict in asd.score(here, tmp_path / "test")]
    assert [str(verdict.clip.path) for verdict in verdicts] == [f"{top}/test/{i}.wav" for i in range(3)]
    vectors = asd.embed(f"{top}/test/*.wav", extractor="band-levels").vectors
    assert (vectors == asd.embed(tmp_path / "test", extractor="band-levels").vectors).all()
    assert as_path(f"{top}/halle 1/ü + 1 %.wav").read_bytes() == sound(70)
    assert [each.name for each in as_path(f"{top}/halle 1").files_below()] == ["ü + 1 %.wav"]


@ALL
def test_what_is_not_there_is_one_line(scheme: str, run: Run, model: Path) -> None:
    top = TOP[scheme]
    for url in (f"{top}/test/9.wav", f"{top}/nothing"):
        assert error_of(run("score", model, url)) == f"{url}: no such object or folder"
    wrong = f"{top}x/test"
    text = {
        "gs": f"{wrong}: no such bucket ({NAME}x); is it written correctly?",
        "az": f"{wrong}: no such container ({NAME}x); is it written correctly?",
        "hf": f"{wrong}: no such repository, or a private one; check 'hf auth login', or HF_TOKEN",
    }
    assert error_of(run("score", model, wrong)) == text[scheme]
    if scheme != "hf":  # where a token is asked for first
        target = f"{TOP[scheme]}x/new.npz"
        refused = error_of(run("embed", f"{top}/test", "-o", target, *CHEAP[:2]))
        assert refused == f"{target}: {text[scheme].partition(': ')[2]}"


@ALL
def test_what_was_listed_and_is_gone_is_a_failed_row(scheme: str, cloud: Cloud, model: Path, fresh: None) -> None:
    clips = [asd.Clip(path) for path in as_path(f"{TOP[scheme]}/test").files_below()]  # type: ignore[attr-defined]
    del cloud.files["test/1.wav"]
    verdicts = list(asd.score(asd.load(model), clips))
    assert [verdict.error is None for verdict in verdicts] == [True, False, True]
    assert "test/1.wav: no such" in str(verdicts[1].error)


@ALL
def test_a_changed_recording_is_read_again(scheme: str, cloud: Cloud, fresh: None) -> None:
    path = as_path(f"{TOP[scheme]}/test/0.wav")
    assert list(path.parent.iterdir())  # a listing, which the hub's library would believe for ever
    assert path.read_bytes() == SOUNDS["test/0.wav"]
    cloud.files["test/0.wav"] = sound(99)
    cloud.files["test/new.wav"] = sound(98)
    assert path.read_bytes() == sound(99)
    assert (path.parent / "new.wav").read_bytes() == sound(98)
    assert "new.wav" in [each.name for each in path.parent.iterdir()]


@ALL
def test_a_long_recording_is_read_in_parts(
    scheme: str, cloud: Cloud, fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from asd.files import reading

    monkeypatch.setattr(reading, "_WHOLE", 1 << 18)
    cloud.files["long.wav"] = whole = sound(5, seconds=20)
    with as_path(f"{TOP[scheme]}/long.wav").open("rb") as file:
        assert isinstance(file, reading._Blocks)
        file.seek(500_000)
        assert file.read(1000) == whole[500_000:501_000]


@ALL
def test_results_are_written_and_not_over_what_is_there(
    scheme: str, cloud: Cloud, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    words = ("embed", f"{TOP[scheme]}/test", "-o", f"{TOP[scheme]}/new.npz", "--extractor", "band-levels")
    code, _, err = run(*words)
    assert code == 0, err
    assert [name for name in cloud.files if "new" in name] == ["new.npz"]
    assert len(asd.Embeddings.load(f"{TOP[scheme]}/new.npz").vectors) == 3
    assert "exists already" in error_of(run(*words))
    assert cloud.got("POST", f"{REPOSITORY}/commit") == (1 if scheme == "hf" else 0)


@pytest.mark.parametrize("scheme", ["gs", "hf"])
def test_without_credentials(scheme: str, cloud: Cloud, run: Run, model: Path) -> None:
    cloud.is_private = True
    text = {
        "gs": "HTTP 401: access is refused; check GOOGLE_APPLICATION_CREDENTIALS, or 'gcloud auth application-default "
        "login'; of a public bucket FSSPEC_GS_TOKEN=anon",
        "hf": "no such repository, or a private one; check 'hf auth login', or HF_TOKEN",
    }
    url = f"{TOP[scheme]}/test"
    assert error_of(run("score", model, url)) == f"{url}: {text[scheme]}"


@pytest.mark.parametrize(
    ("scheme", "given", "text"),
    [
        (
            "az",
            None,
            "name the account by AZURE_STORAGE_CONNECTION_STRING, or by AZURE_STORAGE_ACCOUNT_NAME and "
            "AZURE_STORAGE_ACCOUNT_KEY",
        ),
        (
            "az",
            "nonsense",
            "name the account by AZURE_STORAGE_CONNECTION_STRING, or by AZURE_STORAGE_ACCOUNT_NAME and "
            "AZURE_STORAGE_ACCOUNT_KEY",
        ),
        (
            "az",
            "AccountName=other",
            "HTTP 403: access is refused; check AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME and "
            "AZURE_STORAGE_ACCOUNT_KEY",
        ),
        ("az", "127.0.0.1:9/", "cannot be reached; is the address right, and the network up?"),
    ],
)
def test_a_wrong_account(
    scheme: str, given: str | None, text: str, cloud: Cloud, run: Run, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = cloud.connection
    if given is None:
        monkeypatch.delenv("AZURE_STORAGE_CONNECTION_STRING")
    elif given == "nonsense":
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", given)
    elif "=" in given:
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", connection.replace(f"AccountName={ACCOUNT}", given))
    else:
        host = cloud.url.removeprefix("http://") + "/"
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", connection.replace(host, given))
    done = run("score", model, f"az://{NAME}/test")
    assert error_of(done) == f"az://{NAME}/test: {text}"
    assert KEY not in done[2]


@pytest.mark.parametrize("scheme", ["gs"])
def test_a_service_account(
    scheme: str, cloud: Cloud, run: Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rsa: Any = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.rsa")
    serialization: Any = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    cloud.is_private = True
    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for name, is_refused in (("tests@asd", False), ("other@asd", True)):
        account = {
            "type": "service_account",
            "project_id": "asd",
            "client_email": name,
            "private_key": key.decode(),
            "token_uri": f"{cloud.url}/token",
        }
        (tmp_path / f"{name}.json").write_text(json.dumps(account))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / f"{name}.json"))
        done = run("score", model, f"gs://{NAME}/test")
        assert (done[0] == 2) is is_refused, done
    assert error_of(done).startswith(
        f"gs://{NAME}/test: HTTP 403: access is refused; check GOOGLE_APPLICATION_CREDENTIALS, or"
    )


@pytest.mark.parametrize("scheme", ["hf"])
def test_a_token_of_the_hub(scheme: str, cloud: Cloud, run: Run, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud.is_private = True
    url = f"{TOP[scheme]}/test"
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    refused = error_of(run("score", model, url))
    assert refused == f"{url}: HTTP 401: access is refused; check 'hf auth login', or HF_TOKEN"
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    for readable in (url, f"{TOP[scheme]}@main/test"):
        code, out, err = run("score", model, readable)
        assert (code < 2, out.count(".wav")) == (True, 3), err
    cloud.status["auth-check"] = 403
    refused = error_of(run("embed", url, "-o", f"{TOP[scheme]}/new.npz", "--extractor", "band-levels"))
    assert "HTTP 403: access is refused; check 'hf auth login', or HF_TOKEN" in refused
    assert not cloud.got("POST", "/commit/")


@pytest.mark.parametrize("scheme", ["hf"])
def test_the_users_own_switch_of_the_hub(
    scheme: str, cloud: Cloud, run: Run, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    url = f"{TOP[scheme]}/test"
    assert error_of(run("score", model, url)) == f"{url}: the network is forbidden (HF_HUB_OFFLINE)"
    assert not cloud.requests
