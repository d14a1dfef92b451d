"""Official scores and result files: by hand, against scikit-learn, and against the evaluators' published tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from asd.errors import DataError
from asd.plugin import Recording
from asd_bench.official import OfficialScores, PartScore, Protocol, harmonic_mean, official_scores, write_results


def clip(name: str, *, anomalous: bool | None, domain: str | None = None, machine: str = "fan") -> Recording:
    return Recording(Path(f"{name}.flac"), machine, "00", "test", anomalous, domain)  # type: ignore[arg-type]


# source normal, target normal, source anomaly, target anomaly
CLIPS = [
    *(clip(f"a{i}", anomalous=False, domain="source") for i in range(2)),
    *(clip(f"b{i}", anomalous=False, domain="target") for i in range(2)),
    clip("c", anomalous=True, domain="source"),
    clip("d", anomalous=True, domain="target"),
]
SCORES = [1.0, 2.0, 3.0, 5.0, 4.0, 6.0]


def test_from_2022_on_by_hand() -> None:
    found = official_scores(CLIPS, SCORES)
    measures = found.parts[0].measures
    assert measures["auc_source"] == 1.0  # 1, 2 below 4 and 6
    assert measures["auc_target"] == 0.75  # 3 below both; 5 below 6 alone
    assert measures["auc"] == 0.875
    # ROC: the highest score is an anomaly (tpr 1/2 at fpr 0); then a normal clip. Up to 0.1: area 0.05.
    expected = 0.5 * (1 + (0.05 - 0.005) / (0.1 - 0.005))
    assert measures["pauc"] == pytest.approx(expected)
    assert found.score == pytest.approx(3 / (1 / 1.0 + 1 / 0.75 + 1 / expected))


def test_2021_keeps_domains_apart_and_2020_knows_none() -> None:
    by_domain = official_scores(CLIPS, SCORES, "dcase2021").parts[0].measures
    assert (by_domain["auc_source"], by_domain["auc_target"]) == (1.0, 1.0)
    assert (by_domain["pauc_source"], by_domain["pauc_target"]) == (1.0, 1.0)
    plain = official_scores(CLIPS, SCORES, "dcase2020")
    assert set(plain.parts[0].measures) == {"auc", "pauc"}
    assert plain.score == 0.875


@pytest.mark.parity
@pytest.mark.parametrize("seed", range(4))
def test_equals_the_evaluators_formulas_with_scikit_learn(seed: int) -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(seed)
    truth, domain = rng.integers(0, 2, 120), rng.integers(0, 2, 120)
    scores = np.round(rng.normal(truth, 1.5), 1 if seed % 2 else 8)
    machines = np.repeat(["fan", "pump", "valve"], 40)
    clips = [
        clip(str(i), anomalous=bool(truth[i]), domain=("source", "target")[domain[i]], machine=machines[i])
        for i in rng.permutation(120)
    ]
    order = [int(c.path.stem) for c in clips]
    found = official_scores(clips, scores[order])
    all_values = []
    for part in found.parts:
        here = machines == part.machine
        y, s, d = truth[here], scores[here], domain[here]
        expected = {
            "auc": roc_auc_score(y, s),
            "pauc": roc_auc_score(y, s, max_fpr=0.1),
            **{
                f"auc_{name}": roc_auc_score(y[(d == i) | (y != 0)], s[(d == i) | (y != 0)])
                for i, name in enumerate(("source", "target"))
            },
        }
        assert dict(part.measures) == pytest.approx(expected, abs=1e-12)
        all_values += [expected["auc_source"], expected["auc_target"], expected["pauc"]]
    assert found.score == pytest.approx(len(all_values) / sum(1 / value for value in all_values), abs=1e-12)


def parts(*names: str, **rows: Sequence[float]) -> tuple[PartScore, ...]:
    return tuple(PartScore(machine, "00", dict(zip(names, row, strict=True))) for machine, row in rows.items())


# nttcslab/dcase2023_task2_evaluator, README: baseline_MAHALA on the evaluation set of 2023.
MAHALA = parts(
    *("auc_source", "auc_target", "pauc"),
    bandsaw=(0.836434267021059, 0.5885844748858448, 0.5753594967896497),
    grinder=(0.7409411378914575, 0.50682261208577, 0.5955291246149972),
    shaker=(0.8476602762317048, 0.6299533799533801, 0.6233307541280444),
    ToyDrone=(0.8130000000000001, 0.4622, 0.5142105263157895),
    ToyNscale=(0.6678000000000002, 0.409, 0.5089473684210526),
    ToyTank=(0.8011999999999999, 0.4532, 0.5384210526315789),
    Vacuum=(0.8383999999999999, 0.9006, 0.653157894736842),
)


@pytest.mark.parity
def test_harmonic_means_that_the_evaluators_publish() -> None:
    assert OfficialScores("dcase2022", MAHALA).score == pytest.approx(0.6105082186925268, abs=1e-12)
    assert harmonic_mean(p.measures["auc_target"] for p in MAHALA) == pytest.approx(0.53090862919051, abs=1e-12)
    # y-kawagu/dcase2021_task2_evaluator, README: fan
    fan = [0.6669, 0.7014, 0.5834, 0.5229, 0.5357, 0.448452380952381]
    assert harmonic_mean(fan) == pytest.approx(0.5634700058286667, abs=1e-12)
    # y-kawagu/dcase2020_task2_evaluator, README: each machine's averages over its ids
    pump = [PartScore("pump", i, {"auc": a, "pauc": p}) for i, a, p in PUMP]
    valve = [PartScore("valve", i, {"auc": a, "pauc": p}) for i, a, p in VALVE]
    found = OfficialScores("dcase2020", (*pump, *valve))
    assert found.by_machine("auc") == pytest.approx({"pump": 0.8300939096537941, "valve": 0.5571638888888889})
    assert found.by_machine("pauc") == pytest.approx({"pump": 0.6433591231714101, "valve": 0.506359649122807})
    assert found.score == pytest.approx((0.8300939096537941 + 0.5571638888888889) / 2)


PUMP = (
    ("01", 0.8455172413793103, 0.7014519056261344),
    ("03", 0.7973451327433627, 0.5891942244993014),
    ("05", 0.8474193548387097, 0.6394312393887945),
)
VALVE = (
    ("01", 0.57725, 0.5109649122807017),
    ("03", 0.5424166666666665, 0.5166666666666667),
    ("05", 0.551825, 0.49144736842105263),
)


def test_a_missing_class_is_said() -> None:
    found = official_scores(CLIPS[:4], SCORES[:4])
    assert math.isnan(found.score)
    assert "fan, section 00: no anomalous test clips: AUC undefined" in found.notes
    no_target = [c for c in CLIPS if c.domain == "source" or c.anomalous]
    found = official_scores(no_target, [1.0, 2.0, 4.0, 6.0])
    assert found.notes == ("fan, section 00: no normal test clips of the target domain: AUC undefined",)
    assert found.parts[0].measures["auc_source"] == 1.0
    assert math.isnan(found.parts[0].measures["auc_target"])


def test_unlabelled_clips_are_counted_and_left_out() -> None:
    found = official_scores([*CLIPS, clip("e", anomalous=None)], [*SCORES, 99.0])
    assert found.unlabelled == 1
    assert found.parts == official_scores(CLIPS, SCORES).parts
    assert math.isnan(official_scores([clip("e", anomalous=None)], [1.0]).score)


def test_harmonic_mean_of_zero_is_the_machine_epsilon() -> None:
    assert 0 < harmonic_mean([0.0, 1.0]) < 1e-15
    assert math.isnan(harmonic_mean([]))


@pytest.mark.parametrize(
    ("protocol", "names"),
    [
        ("dcase2020", ["anomaly_score_fan_id_00.csv"]),
        (
            "dcase2021",
            [
                f"{kind}_fan_section_00_{domain}_test.csv"
                for kind in ("anomaly_score", "decision_result")
                for domain in ("source", "target")
            ],
        ),
        ("dcase2022", ["anomaly_score_fan_section_00_test.csv", "decision_result_fan_section_00_test.csv"]),
    ],
)
def test_result_files(protocol: Protocol, names: list[str], tmp_path: Path) -> None:
    backwards = CLIPS[::-1]
    decisions = np.array([False, True, False, False, True, False])
    written = write_results(tmp_path / "new", backwards, SCORES[::-1], decisions, protocol)
    assert [path.name for path in written] == names
    text = written[0].read_text()
    if protocol != "dcase2021":
        assert text == "a0.wav,1.0\na1.wav,2.0\nb0.wav,3.0\nb1.wav,5.0\nc.wav,4.0\nd.wav,6.0\n"
    if protocol == "dcase2022":
        assert written[1].read_text() == "a0.wav,0\na1.wav,1\nb0.wav,0\nb1.wav,0\nc.wav,1\nd.wav,0\n"


def test_result_files_give_the_scores_back_exactly(tmp_path: Path) -> None:
    scores = np.random.default_rng(0).normal(size=6)
    (file,) = write_results(tmp_path, CLIPS, scores)
    rows = dict(line.split(",") for line in file.read_text().splitlines())
    assert [float(rows[f"{c.path.stem}.wav"]) for c in CLIPS] == scores.tolist()


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected a number for each of 6 clips, got an array of shape \(2,\)"):
        write_results(tmp_path, CLIPS, [1.0, 2.0])
    with pytest.raises(DataError, match=r"b0\.flac: its score is nan, expected a finite number"):
        write_results(tmp_path, CLIPS, [1.0, 2.0, np.nan, 3.0, 4.0, 5.0])
    with pytest.raises(DataError, match=r"another clip of this file is called a0\.wav, too"):
        write_results(tmp_path, [CLIPS[0], CLIPS[0]], [1.0, 2.0])
    with pytest.raises(DataError, match=r"e\.flac: the files of 2021 are kept by domain, and this clip's is not known"):
        write_results(tmp_path, [clip("e", anomalous=True)], [1.0], protocol="dcase2021")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"anomaly_score_fan_section_00_test\.csv: cannot write it \(File exists\)"):
        write_results(tmp_path / "file", CLIPS, SCORES)


def test_recordings_without_machine_and_section_get_a_file_too(tmp_path: Path) -> None:
    (file,) = write_results(tmp_path, [Recording(Path("a.wav"), "", anomalous=True)], [1.0])
    assert file.name == "anomaly_score_machine_section_00_test.csv"
