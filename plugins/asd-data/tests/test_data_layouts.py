"""The layouts of the data sets, on small trees with the true names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from asd.errors import ConfigError, DataError
from asd.plugin import Recording, create


def plant(folder: Path, *names: str) -> Path:
    """Create files; each has content of its own."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return folder


def machine(home: str, *, section: str = "00", attributes: str = "_car_A1_spd_28V") -> list[str]:
    """Return the names of a machine's clips as they are since 2022."""
    return [
        *(f"{home}/train/section_{section}_{d}_train_normal_000{i}{attributes}.wav" for d in DOMAINS for i in range(2)),
        *(
            f"{home}/test/section_{section}_{domain}_test_{label}_000{i}{attributes}.wav"
            for domain in DOMAINS
            for label in ("normal", "anomaly")
            for i in range(2)
        ),
    ]


DOMAINS = ("source", "target")


def read(name: str, folder: Path, **parameters: object) -> list[Recording]:
    return list(create("dataset", name, parameters).recordings(folder))


def count(recordings: Iterable[Recording]) -> Counter[tuple[object, ...]]:
    return Counter((r.machine, r.section, r.split, r.anomalous, r.domain) for r in recordings)


def test_dcase2020(tmp_path: Path) -> None:
    plant(
        tmp_path / "dev_data",
        *(f"fan/train/normal_id_0{i}_0000000{n}.wav" for i in (0, 2, 4, 6) for n in range(2)),
        *(f"fan/test/{label}_id_0{i}_00000000.wav" for i in (0, 2, 4, 6) for label in ("normal", "anomaly")),
    )
    plant(
        tmp_path / "eval_data",
        *(f"fan/train/normal_id_0{i}_00000000.wav" for i in (1, 3, 5)),
        *(f"fan/test/id_0{i}_0000000{n}.wav" for i in (1, 3, 5) for n in range(2)),
    )
    found = read("dcase2020", tmp_path)
    assert count(found) == {
        ("fan", f"0{i}", *rest): n
        for i in (0, 2, 4, 6)
        for rest, n in (
            (("train", False, None), 2),
            (("test", False, None), 1),
            (("test", True, None), 1),
        )
    }
    assert [r.path for r in found] == sorted(r.path for r in found)
    evaluation = read("dcase2020", tmp_path, subset="evaluation")
    assert {(r.section, r.anomalous) for r in evaluation if r.split == "test"} == {(f"0{i}", None) for i in (1, 3, 5)}
    plant(tmp_path, "labels/eval_data_list.csv").joinpath("labels/eval_data_list.csv").write_text(
        "fan\nid_01_00000000.wav,normal_id_01_00000000.wav,0\nid_01_00000001.wav,anomaly_id_01_00000000.wav,1\n"
    )
    labelled = read("dcase2020", tmp_path, subset="evaluation", machines=("fan",))
    assert [r.anomalous for r in labelled if r.section == "01" and r.split == "test"] == [False, True]


@pytest.mark.parametrize("name", ["dcase2021", "mimii-due"])
def test_2021_has_a_folder_for_each_domain(name: str, tmp_path: Path) -> None:
    plant(
        tmp_path,
        *(f"fan/train/section_0{s}_source_train_normal_0000_strength_1_ambient.wav" for s in range(3)),
        *(
            f"fan/{domain}_test/section_0{s}_{domain}_test_{label}_0000.wav"
            for s in range(3)
            for domain in DOMAINS
            for label in ("normal", "anomaly")
        ),
    )
    found = read(name, tmp_path)
    assert len(found) == 3 * (1 + 4)
    assert count(found)["fan", "01", "test", True, "target"] == 1
    assert {r.attributes.get("attributes") for r in found if r.split == "train"} == {"strength_1_ambient"}


@pytest.mark.parametrize("name", ["dcase2022", "mimii-dg"])
def test_2022_has_sections_and_attributes_in_pairs(name: str, tmp_path: Path) -> None:
    for section in ("00", "01", "02"):
        plant(tmp_path / "raw", *machine("bearing", section=section, attributes="_vel_8_loc_B"))
    found = read(name, tmp_path)
    assert len(found) == 3 * 12
    assert found[0].attributes == {"vel": "8", "loc": "B"}
    assert create("dataset", name).expected_clips()["bearing", "02", "train"] == 1000


@pytest.mark.parametrize(
    ("name", "machines", "unnamed"),
    [
        ("dcase2023", ("ToyCar", "gearbox"), ""),
        ("dcase2024", ("ToyCar", "gearbox"), "gearbox"),
        ("dcase2025", ("ToyCar", "bearing"), "bearing"),
        ("dcase2026", ("ToyCar", "ToyCarEmu", "bearingEmu"), "bearingEmu"),
    ],
)
def test_first_shot_years(name: str, machines: tuple[str, ...], unnamed: str, tmp_path: Path) -> None:
    for home in machines:
        plant(tmp_path / "dev_data", *machine(home, attributes="_noAttribute" if home == unnamed else "_speed_3"))
    plant(tmp_path / "dev_data", f"{machines[-1]}/supplemental/section_00_machine_0001_.wav")
    found = read(name, tmp_path)
    assert {r.machine for r in found} == set(machines)
    assert len(found) == 12 * len(machines)
    assert {dict(r.attributes) == {} for r in found if r.machine == unnamed} <= {True}
    assert {r.machine for r in read(name, tmp_path, machines=("ToyCar",))} == {"ToyCar"}
    assert read(name, tmp_path / "dev_data" / "ToyCar") == read(name, tmp_path, machines=("ToyCar",))


EVALUATION = {"dcase2023": "bandsaw", "dcase2024": "3DPrinter", "dcase2025": "AutoTrash", "dcase2026": "Sander"}


@pytest.mark.parametrize("name", EVALUATION)
def test_evaluation_sets_have_labels_only_where_they_are_published(name: str, tmp_path: Path) -> None:
    home = EVALUATION[name]
    plant(tmp_path, f"{home}/train/section_00_source_train_normal_0000_vel_13.wav")
    plant(tmp_path, *(f"{home}/test/section_00_000{i}.wav" for i in range(3)))
    unlabelled = read(name, tmp_path, subset="evaluation")
    assert [(r.split, r.anomalous, r.domain) for r in unlabelled if r.split == "test"] == [("test", None, None)] * 3

    labels = tmp_path / "evaluator"
    truth = f"ground_truth_{home}_section_00_test.csv"
    files = {
        f"ground_truth_data/{truth}": "section_00_0000.wav,1\nsection_00_0001.wav,0\n",
        f"ground_truth_domain/{truth}": "section_00_0000.wav,1\nsection_00_0001.wav,0\n",
        f"ground_truth_attributes/{truth}": "section_00_0000.wav,section_00_target_test_anomaly_0000_vel_15\n",
        "eval_data_list_2023.csv": f"{home}\nsection_00_0002.wav,section_00_source_test_anomaly_0002_vel_15.wav\n",
    }
    for file, text in files.items():
        plant(labels, file).joinpath(file).write_text(text)
    clips = [r for r in read(name, tmp_path, subset="evaluation") if r.split == "test"]
    assert [r.anomalous for r in clips] == [True, False, True]
    assert [r.domain for r in clips] == ["target", "source", "source"]
    assert clips[0].attributes == {"vel": "15"}


def test_every_evaluation_set_has_labels_to_fetch_and_every_file_an_address_of_its_publisher() -> None:
    for name in (*(f"dcase{year}" for year in range(2020, 2027)), "mimii", "mimii-dg", "mimii-due", "toyadmos"):
        evaluation = {"subset": "evaluation"} if name.startswith("dcase") else {}
        for parameters in ({}, evaluation):
            remotes = create("dataset", name, parameters).downloads()
            assert len({remote.url for remote in remotes}) == len(remotes) > 0
            archives = [remote for remote in remotes if remote.folder != "labels"]
            assert all(re.fullmatch(r"https://zenodo\.org/records/\d+/files/[^/?]+", r.url) for r in archives)
            assert len(archives) < len(remotes) or not parameters
            stated = [remote.checksum for remote in remotes if remote.checksum]
            assert len(set(stated)) == len(stated)
            assert all(re.fullmatch("md5:[0-9a-f]{32}", checksum) for checksum in stated)


def test_renamed_test_clips_of_the_official_baseline_are_preferred(tmp_path: Path) -> None:
    plant(
        tmp_path / "bandsaw",
        "train/section_00_source_train_normal_0000_vel_13.wav",
        "test/section_00_0000.wav",
        "test_rename/section_00_source_test_anomaly_0000_vel_15.wav",
    )
    clips = [r for r in read("dcase2023", tmp_path, subset="evaluation") if r.split == "test"]
    assert [(r.anomalous, r.domain) for r in clips] == [(True, "source")]


def test_toycar_of_dcase2023(shared: Path) -> None:
    found = read("dcase2023", shared / "data" / "toycar")
    assert {(r.machine, r.section) for r in found} == {("ToyCar", "00")}
    assert Counter((r.split, r.anomalous, r.domain) for r in found) == {
        ("train", False, "source"): 198,
        ("train", False, "target"): 10,
        **{("test", label, domain): 25 for label in (False, True) for domain in DOMAINS},
    }
    assert found[0].attributes == {"car": "B1", "spd": "31V", "mic": "1"}


def test_mimii(tmp_path: Path) -> None:
    for level in ("-6_dB", "0_dB", "min6dB/again"):
        for label in ("normal", "abnormal"):
            plant(tmp_path / level, f"fan/id_00/{label}/00000000.wav")
    found = read("mimii", tmp_path, snr=-6)
    assert count(found) == {("fan", "id_00", None, False, None): 2, ("fan", "id_00", None, True, None): 2}
    assert {r.attributes["snr"] for r in found} == {"-6dB"}
    assert [r.attributes["snr"] for r in read("mimii", tmp_path, snr=0)] == ["0dB", "0dB"]
    assert read("mimii", tmp_path / "0_dB" / "fan" / "id_00") == read("mimii", tmp_path / "0_dB")
    with pytest.raises(DataError, match=r"holds mimii at -6dB, 0dB; choose one by --dataset.snr"):
        read("mimii", tmp_path)
    assert create("dataset", "mimii").channel == 1
    assert create("dataset", "mimii", {"channel": "5"}).channel == 5


def test_mimii_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such folder; 'asd data fetch mimii .*nowhere' brings it there"):
        read("mimii", tmp_path / "nowhere")
    plant(tmp_path / "6_dB", "fan/id_00/normal/00000000.wav")
    with pytest.raises(DataError, match="mimii is incomplete: fan, id_00: found normal and no abnormal clips"):
        read("mimii", tmp_path)
    with pytest.raises(DataError, match="no pump recordings of mimii: found mimii at 6dB; expected <machine>/id_<NN>"):
        read("mimii", tmp_path, machines=("pump",))
    with pytest.raises(ConfigError, match="mimii has the channels 1 to 8, got 9"):
        create("dataset", "mimii", {"channel": 9})
    with pytest.raises(ConfigError, match="mimii has no machine 'bearing'; known: fan, pump, slider, valve"):
        create("dataset", "mimii", {"machines": "bearing"})


def test_toyadmos(tmp_path: Path) -> None:
    plant(
        tmp_path / "ToyCar" / "case1",
        *(f"NormalSound_IND/1{c}00010001_ToyCar_case1_normal_IND_ch{c}_0001.wav" for c in (1, 2)),
        *(f"AnomalousSound_IND/1{c}01010001_ToyCar_case1_ab03_IND_ch{c}_0001.wav" for c in (1, 2)),
        "NormalSound_CNT/1100110001_ToyCar_case1_normal_CNT_ch1_0001.wav",
    )
    found = read("toyadmos", tmp_path, microphone=2)
    assert [(r.machine, r.section, r.anomalous, dict(r.attributes)) for r in found] == [
        ("ToyCar", "case1", True, {"anomaly": "ab03"}),
        ("ToyCar", "case1", False, {}),
    ]
    assert all("_ch2_" in r.path.name for r in found)
    with pytest.raises(
        DataError, match=r"no recordings of toyadmos by microphone 4: found ToyCar; expected <machine>/"
    ):
        read("toyadmos", tmp_path, microphone=4)
    plant(tmp_path, "ToyCar/case1/NormalSound_IND/1201010002_ToyCar_case1_ab03_IND_ch2_0002.wav")
    with pytest.raises(DataError, match="its name says ab03, its folder NormalSound_IND"):
        read("toyadmos", tmp_path, microphone=2)


def test_folder(tmp_path: Path) -> None:
    plant(tmp_path / "plain", "normal/a.wav", "abnormal/b.flac", "notes.txt", "normal/.hidden.wav")
    assert [(r.anomalous, r.split) for r in read("folder", tmp_path / "plain")] == [(True, None), (False, None)]
    plant(tmp_path / "full", "fan/id_00/train/a.wav", "fan/id_00/test/normal/b.wav", "fan/id_00/test/Anomaly/c.wav")
    assert [(r.machine, r.section, r.split, r.anomalous) for r in read("folder", tmp_path / "full")] == [
        ("fan", "id_00", "test", True),
        ("fan", "id_00", "test", False),
        ("fan", "id_00", "train", False),
    ]
    with pytest.raises(DataError, match=r"found no recordings below a folder 'normal'.*expected normal/ and abnormal/"):
        read("folder", plant(tmp_path / "bad", "sounds/a.wav"))


def test_manifest(tmp_path: Path) -> None:
    plant(tmp_path, "sound/a.wav", "sound/b.wav")
    manifest = tmp_path / "manifest.csv"
    manifest.write_text(
        "path,label,split,machine,section,domain,load\n"
        "sound/b.wav,faulty,test,press,1,target,high\nsound/a.wav,ok,train,press,1,,\nsound/a.wav,ok,train,press,1,,\n"
    )
    found = read("manifest", tmp_path)
    assert found == read("manifest", manifest)
    assert [(r.path.name, r.split, r.anomalous, r.domain, dict(r.attributes)) for r in found] == [
        ("a.wav", "train", False, None, {}),
        ("b.wav", "test", True, "target", {"load": "high"}),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\na.wav,ok\n", r"found columns \['file', 'label'\], expected one called 'path'"),
        ("path,label\na.wav,perhaps\n", "line 2: label 'perhaps' is neither 'normal' nor 'anomalous'"),
        ("path,split\na.wav,dev\n", "line 2: split 'dev' is neither 'train' nor 'test'"),
        ("path,label\na.wav,ok\na.wav,bad\n", r"lines 2 and 3 disagree about a\.wav"),
        ("path,label\nabnormal/c.wav,ok\n", "the label is 'ok', but the recording lies in a folder 'abnormal'"),
        ("path\na.wav\nmissing.wav\n", r"1 of 2 recordings are missing, the first is .*missing\.wav"),
        ("path\n", "lists no recordings"),
        ("path,label\n,ok\n", "line 2: the path is empty"),
    ],
)
def test_manifest_says_what_is_wrong(text: str, message: str, tmp_path: Path) -> None:
    plant(tmp_path, "a.wav", "abnormal/c.wav").joinpath("manifest.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read("manifest", tmp_path)


def test_another_year_is_recognised(tmp_path: Path) -> None:
    plant(tmp_path / "2020", "fan/train/normal_id_00_00000000.wav", "fan/test/anomaly_id_00_00000000.wav")
    with pytest.raises(DataError, match=r"this is not dcase2023: found the name normal_id_00.*looks like dcase2020"):
        read("dcase2023", tmp_path / "2020")
    for section in ("00", "01", "02"):
        plant(tmp_path / "2022", *machine("fan", section=section))
    with pytest.raises(DataError, match=r"found fan with sections 00, 01, 02, expected 00"):
        read("dcase2023", tmp_path / "2022")
    plant(tmp_path / "2024", *machine("gearbox", attributes="_noAttribute"))
    with pytest.raises(DataError, match=r"found gearbox without attributes .* expected some; it looks like dcase2024$"):
        read("dcase2023", tmp_path / "2024")
    with pytest.raises(DataError, match=r"found gearbox without attributes .* expected some; it looks like dcase2024$"):
        read("dcase2025", tmp_path / "2024")
    plant(tmp_path / "2025", *machine("AutoTrash"))
    with pytest.raises(
        DataError, match=r"found machines AutoTrash; expected folders of the machines ToyCar,.*dcase2025$"
    ):
        read("dcase2023", tmp_path / "2025")
    plant(tmp_path / "other", "readme.txt")
    with pytest.raises(DataError, match=r"this is not dcase2023: found readme.txt; expected folders of the machines"):
        read("dcase2023", tmp_path / "other")


def test_an_incomplete_folder_says_what_is_missing(tmp_path: Path) -> None:
    plant(tmp_path, *(name for name in machine("fan") if "/train/" in name))
    with pytest.raises(
        DataError, match=r"found fan with train 00, but not with test 00; 'asd data fetch dcase2023 .*'"
    ):
        read("dcase2023", tmp_path)
    plant(tmp_path, *machine("fan"))
    with pytest.raises(
        DataError, match=r"found fan with train 00, test 00, but not with train 01 02, test 01 02; .*dcase2"
    ):
        read("dcase2022", tmp_path)
    with pytest.raises(DataError, match="expected valve of the development set of dcase2023, found none"):
        read("dcase2023", tmp_path, machines=("valve",))
    with pytest.raises(
        DataError, match=r"expected machines of the evaluation set of dcase2023, found none; .*evaluation'"
    ):
        read("dcase2023", tmp_path, subset="evaluation")
    with pytest.raises(
        ConfigError, match="development set of dcase2023 has no machine 'gearboxes'; did you mean gearbox"
    ):
        create("dataset", "dcase2023", {"machines": "gearboxes"})
    with pytest.raises(ConfigError, match="mimii-dg has no evaluation set, only development"):
        create("dataset", "mimii-dg", {"subset": "evaluation", "machines": "fan"})


def test_label_files_that_disagree_are_named_with_their_line(tmp_path: Path) -> None:
    plant(tmp_path, *machine("fan"))
    listed = tmp_path / "fan" / "attributes_00.csv"
    names = [name for name in machine("fan") if "/test/" in name]
    listed.write_text("file_name,d1p,d1v\n" + "".join(f"{name},car,A1\n" for name in names))
    assert len(read("dcase2023", tmp_path)) == 12
    wrong = tmp_path / names[0]
    wrong.rename(wrong.with_name(wrong.name.replace("normal_0000", "anomaly_0009")))
    listed.write_text(listed.read_text().replace("normal_0000_", "normal_0009_"))
    with pytest.raises(
        DataError, match=r"attributes_00\.csv, line 2: lists 'section_00_source_test_normal_0009.*disagree"
    ):
        read("dcase2023", tmp_path)
    listed.unlink()
    truth = tmp_path / "ground_truth_fan_section_00_test.csv"
    truth.write_text(f"{Path(names[1]).name},1\n")
    with pytest.raises(
        DataError, match=r"line 1: the label of .*normal_0001.* is 'anomaly' here and 'normal' by its name"
    ):
        read("dcase2023", tmp_path)
    truth.write_text("section_00_0000.wav,perhaps\n")
    with pytest.raises(DataError, match=r"line 1: 'perhaps' is neither 0 nor 1 nor a clip's name"):
        read("dcase2023", tmp_path)


def test_a_training_clip_in_the_test_folder_is_refused(tmp_path: Path) -> None:
    plant(tmp_path, *machine("fan"), "fan/test/section_00_source_train_normal_0007_m_W.wav")
    with pytest.raises(DataError, match="its name says train, its folder test"):
        read("dcase2023", tmp_path)


def test_a_clip_in_the_other_domains_folder_is_refused(tmp_path: Path) -> None:
    plant(tmp_path, "fan/train/section_00_source_train_normal_0000_a.wav")
    plant(tmp_path, "fan/source_test/section_00_target_test_normal_0000.wav")
    with pytest.raises(DataError, match="its name says target, its folder source_test"):
        read("dcase2021", tmp_path)
