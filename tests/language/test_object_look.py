"""Objects looked at by themselves."""

from __future__ import annotations

import torch

from scenegraph_track.language.object_look import PIECE, ObjectLook, pieces


def test_a_piece_shows_what_its_box_holds_at_one_scale() -> None:
    images = torch.zeros(2, 3, 64, 96)
    images[1, 0, 10:34, 20:68] = 1
    cut = pieces(images, torch.tensor([[20.0, 10, 68, 34], [20.0, 10, 68, 34]]), torch.tensor([0, 1]))
    assert cut.shape == (2, 3, PIECE, PIECE)
    assert cut[0].abs().max() == 0
    assert cut[1, 0, 4:-4, 4:-4].min() > 0.99 and cut[1, 1:].abs().max() == 0
    assert cut[1, 0, 0].max() < 0.5  # a tenth round the box is seen too


def test_boxes_without_area_have_no_features() -> None:
    torch.manual_seed(0)
    look = ObjectLook(6, (4, 4, 4)).eval()
    found = look(torch.rand(1, 7, 32, 32), torch.tensor([[[2.0, 2, 20, 20], [0, 0, 0, 0]]]))
    assert found.shape == (1, 2, 6)
    assert found[0, 0].abs().max() > 0 and found[0, 1].abs().max() == 0
