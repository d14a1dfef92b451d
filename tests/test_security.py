"""What SECURITY.md says, sentence by sentence, and the attacks that it rules out."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import asd
from asd.contract.create import parameters
from asd.contract.installed import registry
from asd.contract.permissions import check_parameters, model_file_rules
from asd.detection import modelfile
from asd.errors import AsdError, ModelFileError, PluginError
from asd.files.folders import settings_folder

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"
CLIPS = GOLDEN / "clips"
ASD = os.environ["ASD_COMMAND"]

HERE, WEIGHTS = "tests/test_security.py", "tests/weights"
LISTEN = "plugins/asd-listen/tests"
REMOTE = "tests/test_remote"
SERVE = "plugins/asd-serve/tests/test_serve"
SENTENCES = {
    "A model file holds numbers and text": [f"{HERE}::test_a_pickle_is_no_model_and_is_not_run"],
    "It names components by their registered names": [f"{HERE}::test_a_component_that_is_not_installed_is_an_error"],
    "For a model file nothing is fetched, opened or run": [
        f"{HERE}::test_a_model_file_may_not_choose",
        f"{HERE}::test_every_component_refuses_addresses_and_paths",
        "tests/test_modelfile.py::test_a_model_file_names_no_file_and_no_address",
    ],
    "This holds for components that other components create": [f"{HERE}::test_members_of_an_ensemble_are_no_way_round"],
    "A plugin declares which of its parameters": [
        f"{HERE}::test_a_stranger_plugin_that_declares_nothing_is_safe",
        f"{HERE}::test_former_names_of_parameters_are_no_way_round",
    ],
    "A class that no plugin offers": [
        "tests/test_objects.py::test_a_model_that_imports_a_class_needs_consent_elsewhere",
        "tests/test_objects.py::test_nothing_is_imported_without_consent",
    ],
    "Who loads the file may consent to more": [f"{HERE}::test_consent_is_for_the_content"],
    "A model that you fitted on this machine": [f"{HERE}::test_what_was_fitted_here_needs_no_consent"],
    "The weights that a model was fitted with are verified": [f"{HERE}::test_other_weights_are_not_read"],
    "What a model file says is shown escaped": [f"{HERE}::test_a_model_file_cannot_write_to_the_terminal"],
    "The digest in the file protects against damage": [
        "tests/test_modelfile.py::test_a_changed_manifest_is_noticed",
        f"{HERE}::test_who_can_write_the_file_can_write_the_digest",
    ],
    "`ASD_PLUGINS=asd-sklearn,asd-frontends` limits": ["tests/test_registry.py::test_asd_plugins_limits_what_loads"],
    "`--plugin-file my.py` and `asd check my.py` run": [
        "tests/test_plugin_file.py::test_a_file_beside_the_model_does_not_run_unasked"
    ],
    "Run in a folder of foreign files": [
        "tests/test_worker.py::test_a_worker_imports_nothing_from_the_current_folder",
        "tests/test_worker.py::test_checks_import_nothing_from_the_current_folder",
        "tests/test_worker.py::test_the_command_runs_components_in_workers",
    ],
    "What a worker process returns is checked": [
        "tests/test_worker.py::test_a_wrong_result_is_a_named_error",
        "tests/test_worker_messages.py::test_a_forged_message_is_refused",
        f"{HERE}::test_nothing_of_ours_unpickles",
    ],
    "Processes of a work engine": [
        f"{HERE}::test_nothing_of_ours_unpickles",
        "plugins/asd-dask/tests/test_dask_commands.py::test_a_scheduler_that_is_not_there_is_one_line",  # TLS, too
    ],
    "Downloads are verified by SHA-256": [f"{WEIGHTS}/test_weights.py::test_a_wrong_file_is_not_kept"],
    "For an address that you give, all 64 digits": [
        f"{WEIGHTS}/test_resolve.py::test_what_cannot_name_weights_is_refused"
    ],
    "Fewer digits are accepted of files that a plugin publishes": [
        f"{HERE}::test_published_files_come_by_https_or_inside_the_plugin"
    ],
    "A name in the weight store belongs to one content": [
        f"{WEIGHTS}/test_resolve.py::test_a_users_file_never_takes_the_place_of_a_published_one",
        f"{HERE}::test_a_known_name_in_a_models_address_poisons_nothing",
    ],
    "asd's own plugins read weights as arrays": [
        f"{HERE}::test_nothing_of_ours_unpickles",
        "plugins/asd-torch/tests/test_torch_files.py::test_code_in_a_file_does_not_run",
    ],
    "A damaged or forged weight file ends in one line": [f"{HERE}::test_damaged_weight_files_end_in_one_line"],
    "HDF5 files can name other files": ["plugins/asd-torch/tests/test_torch_hdf5.py::test_other_files_are_not_opened"],
    "An ONNX file is examined before": [
        "plugins/asd-onnx/tests/test_onnx_checks.py::test_custom_operators",
        "plugins/asd-onnx/tests/test_onnx_checks.py::test_operators_that_make_much_of_a_few_bytes",
        "plugins/asd-onnx/tests/test_onnx_checks.py::test_initialisers_that_the_file_does_not_hold",
    ],
    "An ONNX file may keep weights in other files": [
        "plugins/asd-onnx/tests/test_onnx_checks.py::test_initialisers_outside_the_folder",
        "plugins/asd-onnx/tests/test_onnx_checks.py::test_initialisers_outside_the_folder_by_a_link",
    ],
    "The files beside an ONNX file": [
        "plugins/asd-onnx/tests/test_onnx_extractor.py::test_files_beside_it_are_pinned_too"
    ],
    "A recording that cannot be read is left out": [
        "tests/test_cli.py::test_bad_clips_are_left_out_and_counted_and_strict_stops"
    ],
    "`asd` uses the network for files that you ask for": [
        f"{HERE}::test_commands_ask_nobody",
        f"{HERE}::test_extractors_ask_nobody",
    ],
    "`ASD_OFFLINE=1` or `--offline` forbids it": [
        f"{HERE}::test_extractors_ask_nobody",
        "plugins/asd-transformers/tests/test_transformers_switches.py::test_the_hub_is_not_asked_offline",
    ],
    "Nothing is reported to anybody": [
        "plugins/asd-transformers/tests/test_transformers_switches.py::test_reports_of_use_are_off",
        "plugins/asd-onnx/tests/test_onnx_session.py::test_onnxruntime_writes_and_reports_nothing",
    ],
    "A name of a machine is no way into": [
        f"{LISTEN}/test_listen_sinks.py::test_a_name_has_no_way_into_a_topic",
        f"{LISTEN}/test_listen_mail.py::test_no_text_adds_a_header",
        f"{LISTEN}/test_listen_mail.py::test_a_message_of_plain_text",
        f"{LISTEN}/test_listen_evidence.py::test_no_name_leaves_the_folder",
        f"{LISTEN}/test_listen_history_command.py::test_events_and_what_stands_are_shown",
    ],
    "Secrets of sinks come from the environment": [
        f"{LISTEN}/test_listen_sinks.py::test_what_a_web_server_may_do",
        f"{LISTEN}/test_listen_sinks.py::test_a_web_server_that_is_down_for_a_while",
        f"{LISTEN}/test_listen_sinks.py::test_login_and_encryption",
        f"{LISTEN}/test_listen_mail.py::test_login_after_encryption",
        f"{LISTEN}/test_listen_sinks.py::test_apprise_sends_to_its_services",
    ],
    "Connections to sinks by TLS need a valid certificate": [
        f"{LISTEN}/test_listen_sinks.py::test_a_certificate_must_be_trusted",
        f"{LISTEN}/test_listen_sinks.py::test_login_and_encryption",
        f"{LISTEN}/test_listen_mail.py::test_login_after_encryption",
        f"{LISTEN}/test_listen_mail.py::test_mail_settings_are_checked",
    ],
    "A request of the webhook is signed": [f"{LISTEN}/test_listen_sinks.py::test_an_event_is_posted_and_signed"],
    "A history of a newer version": [
        f"{LISTEN}/test_listen_history.py::test_a_newer_history_is_refused_and_left_as_it_is",
        f"{LISTEN}/test_listen_history.py::test_other_files_are_refused_and_left_as_they_are",
        f"{LISTEN}/test_listen_history.py::test_a_damaged_history_is_told",
    ],
    "A model file holds what a detector learned": [f"{HERE}::test_a_model_file_holds_no_sound_and_no_folders"],
    "For explanations it holds how loud": [f"{HERE}::test_levels_in_a_model_file_do_not_tell_when"],
    "With `--group` it holds the names of the groups": [f"{HERE}::test_groups_in_a_model_file_are_ends_of_paths"],
    # What asd serve rules out.
    "Every path of the interface needs a key but `/healthz`,": [
        f"{SERVE}_access.py::test_no_path_of_the_interface_is_open_but_what_must_be",
        f"{SERVE}_access.py::test_a_path_that_nobody_made_needs_a_key_too",
    ],
    "Every path says which role it needs, and a role includes": [
        f"{SERVE}_access.py::test_every_path_says_which_role_it_needs",
        f"{SERVE}_access.py::test_a_role_includes_those_before_it",
        f"{SERVE}_access.py::test_what_a_role_may_not_do_is_told",
    ],
    "No path of a request leads to a file: not by `..`,": [
        f"{SERVE}_answers.py::test_no_path_leads_out_of_the_page",
    ],
    "A page of somebody else cannot act with your cookie (CSRF),": [
        f"{SERVE}_access.py::test_a_cookie_alone_changes_nothing",
        f"{SERVE}_access.py::test_another_page_cannot_begin_a_session",
        f"{SERVE}_access.py::test_a_page_of_somebody_else_gets_no_socket",
    ],
    "No page of another origin may read an answer: no header of": [
        f"{SERVE}_answers.py::test_no_page_of_somebody_else_may_read_anything",
    ],
    "The server answers to its addresses and its own names only,": [
        f"{SERVE}_answers.py::test_a_name_that_somebody_lets_point_here_is_refused",
        f"{SERVE}_answers.py::test_its_own_names_and_addresses_and_those_allowed_are_answered",
    ],
    "A key has 190 random bits and is kept as its SHA-256 alone;": [
        f"{SERVE}_access.py::test_a_key_is_kept_as_its_hash_alone",
        f"{SERVE}_access.py::test_a_session_is_kept_as_its_hash_alone",
    ],
    "A revoked key, its sessions and its open WebSockets end at": [
        f"{SERVE}_access.py::test_a_revoked_key_and_its_sessions_are_of_no_use_at_once",
        f"{SERVE}_access.py::test_an_open_socket_ends_when_its_key_is_revoked",
    ],
    "Guessing is slowed down for each address, and never locks": [
        f"{SERVE}_access.py::test_guessing_is_slowed_down_and_locks_nobody_else_out",
    ],
    "A key in an address is not taken: addresses are written to": [
        f"{SERVE}_access.py::test_a_key_in_the_address_is_not_taken",
    ],
    "The cookie is out of the reach of scripts (HttpOnly), of": [
        f"{SERVE}_access.py::test_a_session_s_cookie_is_out_of_the_reach_of_scripts_and_other_pages",
    ],
    "A session ends after a week without use, after a month in": [
        f"{SERVE}_access.py::test_a_session_ends_by_itself",
        f"{SERVE}_access.py::test_a_session_ends_when_it_is_told_to",
        f"{SERVE}_access.py::test_a_new_session_replaces_the_one_before",
    ],
    "What a client sends is never a command of SQL, a header, or": [
        f"{SERVE}_access.py::test_the_database_is_no_place_for_a_command_of_sql",
    ],
    "A name cannot put a header or a second answer into an": [
        f"{SERVE}_answers.py::test_no_header_can_be_put_in_by_a_name",
        f"{SERVE}_answers.py::test_markup_and_control_characters_in_a_request_come_back_as_data",
    ],
    "The browser runs no script and takes no style but files of": [
        f"{SERVE}_answers.py::test_every_answer_has_the_headers_that_protect_its_reader",
        f"{SERVE}_answers.py::test_the_policy_allows_no_script_and_no_style_but_files_of_this_server",
    ],
    "A request that two readers could understand in two ways": [
        f"{SERVE}_limits.py::test_a_length_that_lies_gets_an_error_and_the_connection_ends",
    ],
    "The server binds to this computer alone unless you say": [
        f"{SERVE}_command.py::test_to_be_reached_by_others_without_tls_is_warned_of",
    ],
    "TLS is 1.2 or newer; certificates that do not fit are told": [
        f"{SERVE}_command.py::test_tls_by_files",
        f"{SERVE}_command.py::test_certificates_that_do_not_fit_are_told_in_one_line",
    ],
    "Who asks is taken from a proxy only if you have named that": [
        f"{SERVE}_proxy.py::test_only_a_proxy_that_was_named_says_who_asks",
        f"{SERVE}_proxy.py::test_who_is_asked_for_by_another_name_than_the_proxy_s_is_not_there",
    ],
    "An unexpected error tells a number, and nothing of the": [
        f"{SERVE}_answers.py::test_an_unexpected_error_tells_nothing_of_the_inside_and_the_log_all",
        f"{SERVE}_answers.py::test_every_error_is_one_line_of_json",
    ],
    "A database of a newer version, of another program, or a": [
        f"{SERVE}_command.py::test_a_database_that_is_none_of_ours_stays_as_it_is",
    ],
    "A body is counted as it comes, whatever it says of its": [
        f"{SERVE}_limits.py::test_a_body_that_is_too_large_is_refused",
        f"{SERVE}_limits.py::test_ten_gigabytes_are_refused_before_they_are_sent",
        f"{SERVE}_limits.py::test_an_endless_body_in_pieces_is_let_go_and_takes_no_memory",
    ],
    "A recording that makes a decoder crash or hang ends a process": [
        f"{SERVE}_bad_sound.py::test_a_file_that_makes_the_decoder_crash_is_an_error_of_that_file",
        "tests/test_apart.py::test_a_file_that_breaks_its_decoder_is_an_error_of_that_file",
    ],
    "What takes longer to judge than the limit is given up": [
        f"{SERVE}_bad_sound.py::test_what_takes_too_long_is_given_up",
    ],
    "A client that sends or reads too slowly is let go, and": [
        f"{SERVE}_limits.py::test_a_head_that_does_not_come_to_its_end_is_given_up",
        f"{SERVE}_limits.py::test_a_body_that_drips_is_given_up",
        f"{SERVE}_limits.py::test_a_client_that_does_not_read_is_let_go",
        f"{SERVE}_limits.py::test_many_slow_clients_do_not_keep_others_from_being_answered",
    ],
    "A key, and an address without one, get so many requests a": [
        f"{SERVE}_limits.py::test_a_key_gets_so_many_requests_a_second_and_others_are_not_touched",
        f"{SERVE}_limits.py::test_an_address_without_a_key_gets_fewer",
        f"{SERVE}_limits.py::test_a_key_has_so_many_requests_at_once",
        f"{SERVE}_limits.py::test_an_address_has_so_many_connections",
    ],
    "No model file, no file of embeddings and no client": [
        f"{REMOTE}_commands.py::test_a_model_file_that_names_an_address_needs_consent",
        f"{REMOTE}_commands.py::test_a_file_of_embeddings_opens_no_address",
        f"{SERVE}_bad_sound.py::test_no_address_of_a_client_is_opened",
    ],
    "A manifest at an address names no file of this computer": [
        "tests/test_addresses.py::test_a_manifest_elsewhere_names_no_file_here",
        f"{REMOTE}_commands.py::test_a_redirection_to_a_file_of_this_computer_is_not_followed",
    ],
    "Passwords and signatures in addresses are in no": [
        "tests/test_addresses.py::test_secrets_are_not_shown",
        f"{REMOTE}_commands.py::test_no_secret_is_kept_in_a_model_or_a_result",
    ],
    "A password for one web server is not sent": [
        f"{REMOTE}_commands.py::test_a_redirection_to_another_host_gets_no_password"
    ],
    "A flood of messages on a WebSocket waits in the client;": [
        f"{SERVE}_limits.py::test_a_flood_of_messages_waits_in_the_client",
        f"{SERVE}_limits.py::test_a_message_that_is_too_large_ends_the_socket",
        f"{SERVE}_limits.py::test_a_flood_of_pings_ends_the_socket",
        f"{SERVE}_limits.py::test_a_key_has_so_many_sockets",
        f"{SERVE}_limits.py::test_a_viewer_that_does_not_read_is_let_go",
    ],
    "JSON that is too large, too deep, or no text at all gets": [
        f"{SERVE}_answers.py::test_a_body_that_does_not_fit_gets_one_line",
    ],
    "A full, locked or read-only disk stops no reader, and": [
        f"{SERVE}_command.py::test_a_full_disk_stops_no_reader",
        f"{SERVE}_command.py::test_a_locked_database_stops_no_reader",
        f"{SERVE}_command.py::test_the_end_waits_for_what_is_under_way_and_takes_nothing_new",
    ],
}
"""The beginning of each sentence of SECURITY.md's lists, and the tests that show it."""


def test_every_sentence_has_its_tests() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    sentences = [" ".join(item.split()) for item in re.findall(r"^- (.*(?:\n  .*)*)", text, re.MULTILINE)]
    for sentence in sentences:
        assert sum(sentence.startswith(beginning) for beginning in SENTENCES) == 1, sentence
    assert len(sentences) == len(SENTENCES)
    for tests in SENTENCES.values():
        assert tests
        for test in tests:
            file, _, name = test.partition("::")
            functions = [
                node for node in ast.parse((ROOT / file).read_text()).body if isinstance(node, ast.FunctionDef)
            ]
            assert name in {function.name for function in functions}, test


# Models

Change = Callable[[dict[str, Any]], object]


def forged(path: Path, change: Change, golden: str = "mel-stack-gmm") -> Path:
    """Write a model file with another manifest, its digest right."""
    manifest, arrays = modelfile.read(GOLDEN / f"{golden}.asd")
    change(manifest)
    modelfile.write(path, manifest, arrays)
    return path


def choosing(kind: str, name: str, **given: Any) -> Change:
    def change(manifest: dict[str, Any]) -> None:
        manifest["config"][kind] = {"name": name, **given}
        if kind == "extractor":
            manifest["config"]["frontend"] = {"name": registry().find("extractor", name).spec.frontend}

    return change


class Mark:
    """Leaves a file when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> Any:
        return Path.touch, (self.place,)


def test_a_pickle_is_no_model_and_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "m.asd"
    path.write_bytes(pickle.dumps(Mark(tmp_path / "ran")))
    with pytest.raises(ModelFileError, match="not a model file"):
        asd.load(path)
    assert not (tmp_path / "ran").exists()


def test_a_component_that_is_not_installed_is_an_error(tmp_path: Path) -> None:
    path = forged(tmp_path / "m.asd", choosing("detector", "os:system"))
    with pytest.raises(PluginError, match="os:system"):
        asd.load(path)


ATTACKS = {
    "a graph by its address": ("essentia", {"graph": "https://example.org/a.pb", "sha256": "0" * 64}),
    "a graph beside the model": ("essentia", {"graph": "a.pb"}),
    "a graph by a published name and another hash": ("essentia", {"model": "vggish", "sha256": "0" * 64}),
    "a device as metadata": ("essentia-vggish", {"metadata": "/dev/zero", "sha256": "0" * 64}),
    "a secret as weights": ("torchvision", {"weights": "/etc/shadow"}),
    "a pipe as weights": ("squeezenet1_0", {"weights": "{pipe}"}),
    "a file without a suffix": ("yamnet-keras", {"weights": "{pipe}"}),
    "an address": ("efficientat-mn04", {"weights": "https://example.org/a.pt", "weights_sha256": "0" * 64}),
    "a file by its address": ("vggish-audioset", {"weights": "file:///etc/shadow", "weights_sha256": "0" * 64}),
    "a home folder": ("openl3-env", {"weights": "~/a.h5"}),
    "a name on the hub": ("huggingface", {"model": "gpt2"}),
    "a folder": ("huggingface", {"model": "."}),
    "code": ("huggingface", {"model": "owner/name", "trust_remote_code": True}),
    "code by another spelling": ("huggingface", {"model": None, "trust_remote_code": "yes"}),
}


@pytest.mark.parametrize(("name", "given"), ATTACKS.values(), ids=list(ATTACKS))
def test_a_model_file_may_not_choose(
    name: str, given: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)  # opening it would wait for ever
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.pb").write_bytes(b"not looked at")
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("connects"))
    given = {key: value.format(pipe=pipe) if isinstance(value, str) else value for key, value in given.items()}
    path = forged(tmp_path / "m.asd", choosing("extractor", name, **given))
    with pytest.raises(ModelFileError) as caught:
        asd.load(path)
    told = str(caught.value)
    assert told.startswith(f"{path}: its extractor {registry().find('extractor', name).qualified_name} asks for ")
    assert told.endswith(
        "; for a model file nothing is fetched, opened or run but the weights that a plugin contains or publishes: "
        "if you trust whoever made this file, add --trust (in Python: trust=True), which is remembered for its very "
        "content"
    )


def test_the_command_says_so_in_one_line(tmp_path: Path) -> None:
    path = forged(tmp_path / "m.asd", choosing("extractor", "squeezenet1_0", weights="/etc/shadow"))
    for command in (["score", path, CLIPS], ["evaluate", path, "--normal", CLIPS, "--anomalous", CLIPS]):
        done = subprocess.run([ASD, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert "asks for weights = '/etc/shadow'; for a model file nothing" in line


HOSTILE = ("https://example.org/a.pt", "/etc/shadow", "../a", "~/a", "C:a", "owner/name", "a.pth", "\\\\host\\a")


def test_every_component_refuses_addresses_and_paths() -> None:
    tried = 0
    with model_file_rules("m.asd"):
        for component in (c for kind in ("frontend", "extractor", "detector") for c in registry().of_kind(kind)):
            named = component.qualified_name
            for parameter in parameters(component):
                if component.spec.restricted.get(parameter.name, ()) is None or "str" not in str(parameter.annotation):
                    continue
                for value in HOSTILE:
                    for given in (value, [value], {"a": [value]}):
                        with pytest.raises(ModelFileError, match=f"{named} asks for {parameter.name} = "):
                            check_parameters(component.spec.kind, named, {parameter.name: given})
                        tried += 1
    assert tried > 500


def test_what_is_declared_exists_and_defaults_are_harmless() -> None:
    with model_file_rules("m.asd"):
        for component in (c for kind in ("frontend", "extractor", "detector") for c in registry().of_kind(kind)):
            known = {p.name: p.default for p in parameters(component)}
            assert component.spec.restricted.keys() <= known.keys() | component.spec.preset.keys()
            defaults = {name: value for name, value in known.items() if isinstance(value, str | tuple | bool)}
            check_parameters(component.spec.kind, component.qualified_name, defaults)


def test_former_names_of_parameters_are_no_way_round() -> None:
    from asd.contract.create import load_class

    for component in registry().of_kind():
        renamed = getattr(load_class(component), "renamed", {}) if component.spec.kind != "dataset" else {}
        hidden = {former for former, present in renamed.items() if present in component.spec.restricted}
        assert hidden <= component.spec.restricted.keys(), component.qualified_name


@pytest.mark.parametrize("member", ["gmm", "gmm n_components=3", "asd-sklearn:knn metric=cosine"])
def test_harmless_members_are_allowed(member: str) -> None:
    with model_file_rules("m.asd"):
        check_parameters("detector", "ensemble", {"detectors": ["knn", member]})


STRANGER = """
from pathlib import Path
from asd import Detector
from asd_registry import ComponentSpec, hookimpl


class Reads(Detector):
    def __init__(self, *, table="mean", place="a/default.txt"):
        self.table, self.place = table, place
        if table != "mean":
            Path(__file__).with_name("it-read").touch()

    def fit(self, features):
        self.centre_ = features.mean(axis=0, dtype="float64")
        return self

    def score(self, features):
        return abs(features - self.centre_).sum(axis=1)


@hookimpl
def asd_components():
    spec = {"kind": "detector", "summary": "Distance from a table", "licence": "MIT", "target": f"{__name__}:Reads"}
    return [
        ComponentSpec(name="reads", **spec),
        ComponentSpec(name="fetches", restricted={"table": ("mean", "median")}, **spec),
    ]
"""

QUICK = ("--frontend", "mel-stack", "--extractor", "identity", "--false-alarms-per-hour", "500")


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of six short recordings."""
    folder = tmp_path_factory.mktemp("sounds")
    for i in range(6):
        soundfile.write(folder / f"{i}.wav", np.random.default_rng(i).normal(0, 0.1, 2 * 16000), 16000)
    return folder


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory, sounds: Path) -> Path:
    """Return a plugin of somebody else's, with a model that was fitted with it beside it."""
    plugin = tmp_path_factory.mktemp("stranger") / "stranger.py"
    plugin.write_text(STRANGER)
    model = plugin.with_name("m.asd")
    for name in ("reads", "fetches"):
        run("fit", sounds, "-o", model.with_stem(name), "--detector", name,
            "--plugin-file", plugin, *QUICK)  # fmt: skip
    return plugin


def run(*arguments: str | Path, code: int | None = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [ASD, *arguments], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    assert code in (None, done.returncode), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def with_detector(model: Path, path: Path, **given: Any) -> Path:
    manifest, arrays = modelfile.read(model)
    manifest["config"]["detector"] |= given
    modelfile.write(path, manifest, arrays)
    return path


@pytest.mark.parametrize(
    ("name", "given"),
    [("reads", {"table": "/etc/shadow"}), ("reads", {"table": "a.csv"}), ("fetches", {"table": "plain"})],
)
def test_a_stranger_plugin_that_declares_nothing_is_safe(
    name: str, given: dict[str, str], stranger: Path, tmp_path: Path
) -> None:
    path = with_detector(stranger.with_name(f"{name}.asd"), tmp_path / "m.asd", **given)
    told = run("score", path, CLIPS, "--plugin-file", stranger, code=2).stderr
    assert f"its detector stranger.py:{name} asks for table = {given['table']!r}; for a model file" in told
    assert not stranger.with_name("it-read").exists()
    # Its default is the author's own, and looks like a path; what was fitted here is what it was.
    scored = run("score", stranger.with_name(f"{name}.asd"), CLIPS, "--csv", "--plugin-file", stranger, code=None)
    assert "healthy.flac" in scored.stdout


def test_members_of_an_ensemble_are_no_way_round(stranger: Path, tmp_path: Path) -> None:
    for member in ("fetches table=plain", "reads table=/etc/shadow"):
        path = forged(
            tmp_path / "m.asd",
            lambda manifest, member=member: manifest["config"].update(
                detector={"name": "asd-sklearn:ensemble", "detectors": ["gmm", member]}
            ),
            "squeezenet-ensemble",
        )
        told = run("score", path, CLIPS, "--plugin-file", stranger, code=2).stderr
        assert "asks for table = " in told or "asks for detectors = " in told
        assert not stranger.with_name("it-read").exists()


def squeezenet_file(folder: Path) -> Path:
    """Return the path of weights that are no published file's."""
    from asd.plugin import locate

    place = folder / "own.safetensors"
    place.write_bytes(locate(registry().find("extractor", "squeezenet1_0-torch").spec.weights[0]).read_bytes())
    return place


@pytest.fixture
def asking(tmp_path: Path) -> Path:
    """Return a model file that names a file of weights, and works with it."""
    weights = squeezenet_file(tmp_path)

    def change(manifest: dict[str, Any]) -> None:
        (digest,) = manifest["weights"].values()
        manifest["weights"] = {weights.name: digest}
        manifest["config"]["extractor"] |= {"weights": str(weights)}

    return forged(tmp_path / "m.asd", change, "squeezenet-ensemble")


def test_consent_is_for_the_content(asking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASD_SETTINGS", str(tmp_path / "settings"))
    with pytest.raises(ModelFileError, match="add --trust"):
        asd.load(asking)
    asd.load(asking, trust=True)
    assert next(asd.score(asking, CLIPS))
    elsewhere = asking.rename(tmp_path / "another-name.asd")
    asd.load(elsewhere)
    (record,) = (settings_folder() / "trusted").iterdir()
    assert record.read_text() == f"{asking}\n"
    for change in (
        lambda manifest, arrays: manifest.update(clips=manifest["clips"] + 1),
        lambda manifest, arrays: arrays.update({"calibration.scores": np.nextafter(arrays["calibration.scores"], 9)}),
        lambda manifest, arrays: manifest["weights"].update({"own.safetensors": "0" * 64}),
    ):
        manifest, arrays = modelfile.read(elsewhere)
        change(manifest, arrays)  # type: ignore[no-untyped-call]  # a table of small changes
        modelfile.write(tmp_path / "changed.asd", manifest, arrays)
        with pytest.raises(ModelFileError, match="add --trust"):
            asd.load(tmp_path / "changed.asd")


def test_consent_that_cannot_be_recorded_counts_once(
    asking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("ASD_SETTINGS", str(tmp_path / "file" / "settings"))
    asd.load(asking, trust=True)
    assert "give --trust at every use, or set ASD_SETTINGS to a folder that you may write to" in caplog.text
    with pytest.raises(ModelFileError, match="add --trust"):
        asd.load(asking)


def test_the_command_consents(asking: Path, tmp_path: Path) -> None:
    settings = {"ASD_SETTINGS": str(tmp_path / "settings")}
    arguments = ("score", asking, CLIPS / "healthy.flac", "--csv")
    run(*arguments, code=2, **settings)
    assert run(*arguments, "--trust", **settings).stdout == run(*arguments, **settings).stdout
    run(*arguments, code=2, ASD_SETTINGS=str(tmp_path / "another user"))


def test_what_was_fitted_here_needs_no_consent(tmp_path: Path, sounds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASD_SETTINGS", str(tmp_path / "settings"))
    path = tmp_path / "m.asd"
    extractor = {"name": "squeezenet1_0", "weights": str(squeezenet_file(tmp_path))}
    asd.fit(sounds, extractor=extractor, false_alarms_per_hour=500.0).save(path)
    assert next(asd.score(path, CLIPS))
    monkeypatch.setenv("ASD_SETTINGS", str(tmp_path / "another machine"))
    with pytest.raises(ModelFileError, match="add --trust"):
        asd.load(path)
    asd.fit(sounds, frontend="mel-stack", extractor="identity", false_alarms_per_hour=500.0).save(path)
    assert not (tmp_path / "another machine").exists()  # nothing to consent to, nothing to record
    asd.load(path)


def test_other_weights_are_not_read(asking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = asd.load(asking, trust=True)
    (tmp_path / "own.safetensors").write_bytes(b"something else")
    monkeypatch.setattr("asd_torch.read_tensors", lambda *_: pytest.fail("reads them"))
    with pytest.raises(ModelFileError, match=r"the model was fitted with weights own\.safetensors \(sha256 "):
        next(model.score([asd.Clip(CLIPS / "healthy.flac")]))


def test_a_model_file_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    evil = "/\x1b]0;owned\x07\n\u202e" + "x" * 5000
    path = forged(tmp_path / "m.asd", choosing("extractor", "squeezenet1_0", weights=evil))
    told = run("score", path, CLIPS, code=2).stderr
    assert told.rstrip("\n").isprintable()
    assert len(told) < 800


def test_who_can_write_the_file_can_write_the_digest(tmp_path: Path) -> None:
    path = forged(tmp_path / "m.asd", lambda manifest: manifest.update(created="1970-01-01T00:00:00+00:00"))
    assert asd.load(path).clips


# Weights


def test_published_files_come_by_https_or_inside_the_plugin() -> None:
    weights = [weight for component in registry().of_kind() for weight in component.spec.weights]
    assert len(weights) > 5
    for weight in weights:
        if weight.url is None:
            assert len(weight.sha256) == 64, weight
        else:
            assert weight.url.startswith("https://"), weight


def test_a_known_name_in_a_models_address_poisons_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ASD_SETTINGS", str(tmp_path / "settings"))
    for name in ("yamnet.h5", "openl3_audio_mel256_env-v0_4_0.h5.gz"):
        evil = tmp_path / name
        evil.write_bytes(b"forged")
        given = {"weights": evil.as_uri(), "weights_sha256": hashlib.sha256(b"forged").hexdigest()}
        path = forged(tmp_path / "m.asd", choosing("extractor", "efficientat-mn04", **given))
        with pytest.raises(ModelFileError):
            asd.load(path)
        model = asd.load(path, trust=True, cache=False)  # even with consent
        with pytest.raises(AsdError):
            next(model.score([asd.Clip(CLIPS / "healthy.flac")]))
        assert not (tmp_path / "cache" / "weights" / name).exists()
        assert not list((tmp_path / "cache" / "weights").glob("*.sha256"))


def test_nothing_of_ours_unpickles() -> None:
    sources = [*(ROOT / "core").rglob("*.py"), *(ROOT / "registry").rglob("*.py"), *ROOT.glob("plugins/*/src/**/*.py")]
    # Of the kit's own objects the kit asks whether they can be.
    sources = [source for source in sources if "asd-testing" not in source.parts]
    assert len(sources) > 200
    # Work engines, which the user starts or connects to: what their processes say to each other (SECURITY.md).
    engines = {ROOT / "core/asd/detection" / name for name in ("piece.py", "local_engine.py", "local_worker.py")}
    assert engines <= set(sources)
    for source in set(sources) - engines:
        text = source.read_text(encoding="utf-8")
        modules = {
            alias.name.split(".")[0]
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Import)
            for alias in node.names
        } | {
            node.module.split(".")[0]
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.ImportFrom) and node.module
        }
        assert not modules & {"pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}, source
        assert "allow_pickle=True" not in text, source
        assert all("weights_only=True" in line for line in text.splitlines() if " torch.load(" in line), source


def test_damaged_weight_files_end_in_one_line() -> None:
    """A short run; the long one is ``python tests/fuzz/weightfiles.py``."""
    fuzz = ROOT / "tests" / "fuzz" / "weightfiles.py"
    done = subprocess.run([sys.executable, fuzz, "--count", "150"], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stdout + done.stderr
    assert "150 weight files" in done.stdout


# Network

GUARD = """
import json, os, sys
asked = []

def guard(event, arguments):
    if event in ("socket.connect", "socket.sendto") and not isinstance(arguments[1], str | bytes):
        asked.append(repr(arguments[1]))
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        asked.append(repr(arguments[:2]))
    else:
        return
    raise ConnectionError("no network in this test")

sys.addaudithook(guard)
"""

EXTRACTORS = """
import numpy as np
import asd.plugin
from pathlib import Path
from asd.contract.create import create, load_class, parameters
from asd.contract.installed import registry
from asd.errors import AsdError

said = {}
for component in registry().of_kind("extractor"):
    if component.plugin.distribution != sys.argv[1] or component.problem:
        continue
    name, known = component.qualified_name, {p.name for p in parameters(component)}
    given = {"weights": "random"} if "weights" in known else load_class(component).example_parameters(Path(sys.argv[2]))
    trials = {"local": given, "default": {}, **json.loads(sys.argv[3])}
    for trial, given in trials.items():
        try:
            extractor = create("extractor", name, given)
            taken = extractor.consumes
            shape = [length or (96000 if taken.kind == "waveform" else 64) for length in taken.shape]
            extractor.weight_hashes()
            said[f"{name} {trial}"] = list(extractor.embed(np.zeros((1, *shape), np.float32)).shape)
        except AsdError as error:
            said[f"{name} {trial}"] = str(error)
print(json.dumps({"asked": asked, "said": said}))
"""


def guarded(script: str, *arguments: str, **environment: str) -> dict[str, Any]:
    """Run a script in a process that may not connect to anything, and return what it says."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", GUARD + script, *arguments],
        capture_output=True, text=True, check=False, env={**os.environ, **environment},
    )  # fmt: skip
    assert not done.returncode, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


@pytest.mark.slow
@pytest.mark.parametrize(
    "distribution", sorted({c.plugin.distribution for c in registry().of_kind("extractor") if not c.problem})
)
def test_extractors_ask_nobody(distribution: str, tmp_path: Path) -> None:
    more: dict[str, Any] = {}
    if distribution == "asd-transformers":
        more = {"hub": {"model": "owner/name"}, "code": {"model": "owner/name", "trust_remote_code": True}}
    environment = {"ASD_OFFLINE": "1", "ASD_CACHE": str(tmp_path / "cache"), "HF_HOME": str(tmp_path / "hf")}
    answer = guarded(EXTRACTORS, distribution, str(tmp_path), json.dumps(more), **environment)
    assert answer["asked"] == []
    assert answer["said"]
    for trial, said in answer["said"].items():
        if trial.endswith(" local"):
            assert isinstance(said, list), said
        elif isinstance(said, str):
            assert "\n" not in said
            assert "network is forbidden" in said or "needs --extractor." in said, said


COMMANDS = """
import contextlib, io
from asd.cli.main import cli
from asd.errors import AsdError
from click.exceptions import ClickException

ended = {}
for arguments in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            end = cli.main(arguments, standalone_mode=False) or 0
        except (AsdError, ClickException) as error:
            end = str(error)
        except SystemExit as error:
            end = error.code or 0
    ended[" ".join(arguments)] = end
print(json.dumps({"asked": asked, "ended": ended}))
"""


def test_commands_ask_nobody(tmp_path: Path, sounds: Path) -> None:
    model = str(tmp_path / "m.asd")
    healthy, faulty = str(CLIPS / "healthy.flac"), str(CLIPS / "faulty.flac")
    commands = [
        ["--help"],
        ["plugins"],
        ["fit", str(sounds), "-o", model, *QUICK],
        ["score", model, healthy],
        ["evaluate", model, "--normal", healthy, "--anomalous", faulty],
        ["weights", "list"],
        ["weights", "verify"],
        ["weights", "fetch", "yamnet.h5"],
        ["cache"],
        ["data", "list"],
        ["data", "fetch", "dcase2020", str(tmp_path / "data")],
        ["bench", "--help"],
        ["new-plugin", str(tmp_path / "asd-own")],
    ]
    answer = guarded(COMMANDS, json.dumps(commands), ASD_OFFLINE="1", ASD_CACHE=str(tmp_path / "cache"))
    assert answer["asked"] == []
    ended = answer["ended"]
    assert "network is forbidden" in ended["weights fetch yamnet.h5"]
    assert ended[" ".join(commands[3])] in (0, 1)
    assert [ended[" ".join(command)] for command in commands[:6]] == [0, 0, 0, ended[" ".join(commands[3])], 0, 0]


# Privacy


def test_a_model_file_holds_no_sound_and_no_folders(tmp_path: Path, sounds: Path) -> None:
    path = tmp_path / "m.asd"
    asd.fit(sounds, frontend="mel-stack", extractor="identity", detector="knn", false_alarms_per_hour=500.0).save(path)
    manifest, arrays = modelfile.read(path)
    assert str(sounds) not in json.dumps(manifest)
    assert {entry["name"] for entry in manifest["training"]} == {file.name for file in sounds.iterdir()}
    assert all(set(entry) == {"name", "sha256"} for entry in manifest["training"])
    assert all(re.match(r"(calibration|reference)\.|\d\.(transform|detector)\.", name) for name in arrays)
    for file in sounds.iterdir():
        for dtype in ("int16", "float32", "float64"):
            samples, _ = soundfile.read(file, dtype=dtype)
            assert samples[1000:1100].tobytes() not in path.read_bytes()


def test_levels_in_a_model_file_do_not_tell_when(tmp_path: Path, sounds: Path) -> None:
    path = tmp_path / "m.asd"
    asd.fit(sounds, frontend="mel-stack", extractor="identity", detector="knn", false_alarms_per_hour=500.0).save(path)
    _, arrays = modelfile.read(path)
    shapes = {name: array.shape for name, array in arrays.items() if name.startswith("reference.")}
    bands = len(arrays["reference.edges"]) - 1
    by_clip = {
        "content": (6, 32),
        "place": (6, 2),
        "mean": (6, bands),
        "extremes": (6, 2, 3, bands),
        "strengths": (6, 2),
    }
    of_all = {"edges": (bands + 1,), "usual": (2, 3, bands)}
    assert shapes == {f"reference.{name}": shape for name, shape in (by_clip | of_all).items()}
    assert bands < 60


def test_groups_in_a_model_file_are_ends_of_paths(tmp_path: Path) -> None:
    for name in ("plant/a", "plant/b"):
        (tmp_path / name).mkdir(parents=True)
        for i in range(4):
            samples = np.random.default_rng(i + 10 * (name == "plant/b")).normal(0, 0.1, 2 * 16000)
            soundfile.write(tmp_path / name / f"{i}.wav", samples, 16000)
    how: dict[str, Any] = {"frontend": "mel-stack", "extractor": "identity", "detector": "knn", "group": "folder"}
    asd.fit(tmp_path / "plant", false_alarms_per_hour=900.0, **how).save(tmp_path / "m.asd")
    manifest, _ = modelfile.read(tmp_path / "m.asd")
    assert {group for entry in manifest["training"] for group in entry["groups"]} == {"a", "b"}
    assert "plant" not in json.dumps(manifest)
