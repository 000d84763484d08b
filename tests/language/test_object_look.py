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


def test_distorted_pieces_show_the_same_and_each_in_its_own_way() -> None:
    torch.manual_seed(0)
    images = torch.zeros(1, 3, 64, 96)
    images[0, 0, 10:34, 20:44] = 1
    boxes, rows = torch.tensor([[20.0, 10, 44, 34]]).expand(3, -1), torch.zeros(3, dtype=torch.long)
    plain, other = pieces(images, boxes, rows), pieces(images, boxes, rows, warp=1.0)
    assert other.shape == plain.shape and (other[:, 1:] == 0).all()
    assert other[:, 0, 10:14, 10:14].min() > 0.9  # the middle stays the middle
    assert ((other[0] - other[1]).abs().max() > 0.3) and ((other[0] - plain[0]).abs().max() > 0.3)
