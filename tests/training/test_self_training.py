"""A second round of labels: new objects are added, unsure outlines become unknown."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from detectors.slot_detector import Slots
from scenegraph_track.training.object_labels import UNKNOWN
from scenegraph_track.training.self_training import added_objects


class Sees:
    """A detector that sees squares of 16 pixels, given by their corners (x, y) and presence."""

    def __init__(self, *squares: tuple[int, int, float]) -> None:
        self.squares = squares

    def detect(self, image, residual) -> Slots:
        masks = torch.zeros(len(self.squares), 32, 32)
        for mask, (x, y, _) in zip(masks, self.squares):
            mask[y // 2 : y // 2 + 8, x // 2 : x // 2 + 8] = 1
        count = len(self.squares)
        presence = torch.tensor([p for _, _, p in self.squares])
        return Slots(masks, presence, torch.zeros(count, 2), torch.zeros(count, 3))


@pytest.fixture
def labels() -> np.ndarray:
    found = np.zeros((64, 64), np.uint8)
    found[8:24, 8:24] = 1
    return found


def seen(labels: np.ndarray, *squares: tuple[int, int, float]) -> np.ndarray:
    return added_objects(Sees(*squares), np.zeros((3, 64, 64), np.uint8), np.zeros((2, 64, 64)), labels)


def test_a_new_object_is_added(labels: np.ndarray) -> None:
    found = seen(labels, (40, 40, 0.9))
    assert (found[42:54, 42:54] == 2).all() and np.array_equal(found[:32], labels[:32])
    assert not seen(labels, (40, 40, 0.4))[32:].any(), "what the detector is not sure of is not"


def test_where_label_and_slot_differ_nobody_knows(labels: np.ndarray) -> None:
    found = seen(labels, (12, 8, 0.9))
    assert (found[8:24, 8:11] == UNKNOWN).all() and (found[10:22, 25:27] == UNKNOWN).all()
    assert (found[10:22, 14:22] == 1).all() and set(np.unique(found)) == {0, 1, UNKNOWN}


def test_what_lies_half_on_a_label_changes_nothing(labels: np.ndarray) -> None:
    assert np.array_equal(seen(labels, (14, 12, 0.9)), labels)


def test_nothing_seen_changes_nothing(labels: np.ndarray) -> None:
    found = seen(labels)
    assert np.array_equal(found, labels) and found is not labels
