"""The steps are torch's, to the last bit, and do not wait for its compiler."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from asd_autoencoder.adam import Adam


@pytest.mark.parametrize("weight_decay", [0.0, 1e-3])
def test_steps_equal_those_of_the_optimiser_class(weight_decay: float):
    torch.manual_seed(0)
    windows = torch.randn(64, 10)
    ours, theirs = (nn.Sequential(nn.Linear(10, 6), nn.ReLU(), nn.Linear(6, 10)) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    adam = Adam(ours.parameters(), 1e-3, weight_decay)
    reference = torch.optim.Adam(theirs.parameters(), lr=1e-3, weight_decay=weight_decay)
    for _ in range(20):
        adam.step((ours(windows) - windows).square().mean())
        reference.zero_grad()
        (theirs(windows) - windows).square().mean().backward()
        reference.step()
    for left, right in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(left, right)


def test_a_training_does_not_import_the_compiler():
    program = (
        "import sys, numpy as np; from asd.plugin import create\n"
        "detector = create('detector', 'dense-ae', {'epochs': 1, 'train_batch': 8})\n"
        "features = np.random.default_rng(0).normal(size=(40, 640)).astype('float32')\n"
        "detector.fit(features).score(features); print('torch._dynamo' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout == "False\n"
