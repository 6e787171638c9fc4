"""One flipped bit in a checkpoint is noticed before anything is resumed or explained with it."""

import numpy as np
import pytest

from labelnoise.errors import InputError
from labelnoise.images.data import load_data
from labelnoise.images.networks import build_model
from labelnoise.training.checkpoints import FOLDER, STATE, read_state, read_weights
from labelnoise.training.config import TrainConfig
from labelnoise.training.loop import fit


def test_a_flipped_bit_in_a_state_or_in_weights_is_noticed(tmp_path):
    data = load_data("digits", classes=(3, 8), per_class=20)
    model = build_model("mlp", n_classes=2, in_channels=1, image_size=(8, 8))
    fit(model, data, TrainConfig(epochs=1, device="cpu"), folder=tmp_path)
    rng = np.random.default_rng(0)
    for file, read in ((STATE, read_state), ("epoch-0001.pt", lambda folder: read_weights(folder, 1))):
        path = tmp_path / FOLDER / file
        whole = path.read_bytes()
        for position in rng.choice(len(whole), 20, replace=False):  # nearly all of it is numbers
            flipped = bytearray(whole)
            flipped[position] ^= 1 << int(rng.integers(8))
            path.write_bytes(bytes(flipped))
            with pytest.raises(InputError, match="is damaged or no checkpoint"):
                read(tmp_path)
        path.write_bytes(whole)
        assert read(tmp_path)
