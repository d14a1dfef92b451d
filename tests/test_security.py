"""What SECURITY.md says, sentence by sentence, has a test."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODELS, NETWORK, WEIGHTS = "tests/test_security_models.py", "tests/test_security_network.py", "tests/weights"
LISTEN = "plugins/asd-listen/tests"
REMOTE = "tests/test_remote"
SERVE = "plugins/asd-serve/tests/test_serve"
SENTENCES = {
    "A model file holds numbers and text": [f"{MODELS}::test_a_pickle_is_no_model_and_is_not_run"],
    "It names components by their registered names": [f"{MODELS}::test_a_component_that_is_not_installed_is_an_error"],
    "For a model file nothing is fetched, opened or run": [
        f"{MODELS}::test_a_model_file_may_not_choose",
        f"{MODELS}::test_every_component_refuses_addresses_and_paths",
        "tests/test_modelfile.py::test_a_model_file_names_no_file_and_no_address",
    ],
    "This holds for components that other components create": [
        f"{MODELS}::test_members_of_an_ensemble_are_no_way_round"
    ],
    "A plugin declares which of its parameters": [
        f"{MODELS}::test_a_stranger_plugin_that_declares_nothing_is_safe",
        f"{MODELS}::test_former_names_of_parameters_are_no_way_round",
    ],
    "A class that no plugin offers": [
        "tests/test_objects.py::test_a_model_that_imports_a_class_needs_consent_elsewhere",
        "tests/test_objects.py::test_nothing_is_imported_without_consent",
    ],
    "Who loads the file may consent to more": [f"{MODELS}::test_consent_is_for_the_content"],
    "A model that you fitted on this machine": [f"{MODELS}::test_what_was_fitted_here_needs_no_consent"],
    "The weights that a model was fitted with are verified": [f"{MODELS}::test_other_weights_are_not_read"],
    "What a model file says is shown escaped": [f"{MODELS}::test_a_model_file_cannot_write_to_the_terminal"],
    "The digest in the file protects against damage": [
        "tests/test_modelfile.py::test_a_changed_manifest_is_noticed",
        f"{MODELS}::test_who_can_write_the_file_can_write_the_digest",
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
        f"{NETWORK}::test_nothing_of_ours_unpickles",
    ],
    "Processes of a work engine": [
        f"{NETWORK}::test_nothing_of_ours_unpickles",
        "plugins/asd-dask/tests/test_dask_commands.py::test_a_scheduler_that_is_not_there_is_one_line",  # TLS, too
    ],
    "Downloads are verified by SHA-256": [f"{WEIGHTS}/test_weights.py::test_a_wrong_file_is_not_kept"],
    "For an address that you give, all 64 digits": [
        f"{WEIGHTS}/test_resolve.py::test_what_cannot_name_weights_is_refused"
    ],
    "Fewer digits are accepted of files that a plugin publishes": [
        f"{NETWORK}::test_published_files_come_by_https_or_inside_the_plugin"
    ],
    "A name in the weight store belongs to one content": [
        f"{WEIGHTS}/test_resolve.py::test_a_users_file_never_takes_the_place_of_a_published_one",
        f"{MODELS}::test_a_known_name_in_a_models_address_poisons_nothing",
    ],
    "asd's own plugins read weights as arrays": [
        f"{NETWORK}::test_nothing_of_ours_unpickles",
        "plugins/asd-torch/tests/test_torch_files.py::test_code_in_a_file_does_not_run",
    ],
    "A damaged or forged weight file ends in one line": [f"{NETWORK}::test_damaged_weight_files_end_in_one_line"],
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
        f"{NETWORK}::test_commands_ask_nobody",
        f"{NETWORK}::test_extractors_ask_nobody",
    ],
    "`ASD_OFFLINE=1` or `--offline` forbids it": [
        f"{NETWORK}::test_extractors_ask_nobody",
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
    "A model file holds what a detector learned": [f"{NETWORK}::test_a_model_file_holds_no_sound_and_no_folders"],
    "For explanations it holds how loud": [f"{NETWORK}::test_levels_in_a_model_file_do_not_tell_when"],
    "With `--group` it holds the names of the groups": [f"{NETWORK}::test_groups_in_a_model_file_are_ends_of_paths"],
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
