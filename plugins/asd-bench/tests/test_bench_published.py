"""Published results: the numbers of the papers, unchanged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asd.plugin import registry
from asd_bench.official import OfficialScores, PartScore
from asd_bench.published import published_tables


def test_image_transfer_is_the_papers_table(shared: Path) -> None:
    original = json.loads((shared / "reference/published/muller2020_image_transfer_table1.json").read_text())
    table = published_tables()["muller2020-image"]
    ours = {(r.system, f"{r.machine}/{r.section}"): r.measures["auc"] for r in table.results}
    assert len(ours) == len(table.results) == 22 * 16
    for row in original["rows"]:
        system = " + ".join(filter(None, (row["extractor"], row["detector"])))
        assert {key: ours[system, key] for key in row["auc"]} == pytest.approx(
            {k: v / 100 for k, v in row["auc"].items()}
        )
    assert table.source == original["paper"]


def test_feature_representations_are_the_papers_table(shared: Path) -> None:
    original = json.loads((shared / "reference/published/muller2020_feature_representations_table2.json").read_text())
    table = published_tables()["muller2020-features"]
    assert [
        (r.machine, r.section, r.attributes["snr"], r.system, round(r.measures["auc"] * 100, 1), r.deviation)
        for r in table.results
    ] == [
        (r["machine"], r["id"], r["snr"], r["representation"], r["auc"], pytest.approx(r["std"] / 100))
        for r in original["rows"]
    ]


def test_components_are_named_as_they_are_installed() -> None:
    installed = {component.spec.name for component in registry().of_kind()}
    for table in published_tables().values():
        assert table.dataset in installed
        for result in table.results:
            assert result.detector is None or result.detector in installed
            assert set(result.extractors) <= installed
    features = {r.system: (r.extractors, r.detector) for r in published_tables()["muller2020-features"].results}
    assert features["music"] == (("musicnn-mtt", "openl3-music"), "gmm")
    assert features["autoencoder"] == ((), "dense-ae")


def test_the_official_baseline_has_its_official_score() -> None:
    table = published_tables()["dcase2023-evaluation"]
    scores = {
        system: OfficialScores(
            "dcase2022",
            tuple(PartScore(r.machine, r.section, r.measures) for r in table.results if r.system == system),
        ).score
        for system in ("baseline_MAHALA", "baseline_MSE")
    }
    assert scores == pytest.approx({"baseline_MAHALA": 0.6105082186925268, "baseline_MSE": 0.5925469043549957})
