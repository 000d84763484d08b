"""OccuSolver: what it sums up, whom gradients reach, and that objects do not disturb one another."""

from __future__ import annotations

import torch

from scenegraph_track.occlusion.occu_solver import OccuSolver, OccuSolverSettings
from scenegraph_track.occlusion.point_net import Supposed

DIM, WINDOW = 12, 5


def solver(trained: bool = True) -> OccuSolver:
    torch.manual_seed(0)
    made = OccuSolver(DIM, WINDOW, OccuSolverSettings(dim=8, layers=1, heads=2))
    if trained:  # the last layers are zero at first
        torch.nn.init.normal_(made.see.weight)
        torch.nn.init.normal_(made.whole.weight)
    return made


def supposed(objects: int = 3, points: int = 4, frames: int = WINDOW, seed: int = 0) -> list[Supposed]:
    make = torch.Generator().manual_seed(seed)
    shape = (objects, points, frames)
    return [
        Supposed(
            32 * torch.rand(*shape, 2, generator=make),
            torch.randn(shape, generator=make),
            torch.randn(shape, generator=make),
            torch.randn(*shape, DIM, generator=make),
        )
        for _ in range(2)
    ]


def everywhere(objects: int = 3, points: int = 4, frames: int = WINDOW) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.ones(objects, points, frames, dtype=torch.bool), torch.ones(objects, points, dtype=torch.bool)


def test_starts_at_the_point_tracker() -> None:
    """Untrained, points are seen as the point network says, and an object by the share of them, members first."""
    found = supposed()
    seen = solver(trained=False)(found, *everywhere())
    torch.testing.assert_close(seen.point_logits, found[-1].visible)
    weight = seen.member_logits.sigmoid()[..., None]
    share = (weight * found[-1].visible.sigmoid()).sum(1) / weight.expand(-1, -1, WINDOW).sum(1)
    torch.testing.assert_close(seen.fraction, share.clamp(0.01, 0.99))


def test_gradients_reach_both_side_networks_and_not_the_point_network() -> None:
    """The published wrapper cuts them by a threshold; here visibility is soft all the way."""
    made, found = solver(), supposed()
    for one in found:
        for part in one:
            if part is not None:
                part.requires_grad_()
    made(found, *everywhere(), torch.rand(3, 8, 8), torch.tensor([0, 2, -1])).fraction.sum().backward()
    for name, weight in made.named_parameters():
        assert weight.grad is not None and weight.grad.abs().sum() > 0, name
    assert all(part.grad is None for one in found for part in one if part is not None)


def test_objects_share_a_pass_without_seeing_each_other() -> None:
    """One object alone gives what it gives among others."""
    made, found = solver(), supposed()
    together = made(found, *everywhere())
    alone = made([Supposed(*(None if p is None else p[1:2] for p in one)) for one in found], *everywhere(1))
    torch.testing.assert_close(together.fraction[1:2], alone.fraction)
    torch.testing.assert_close(together.member_logits[1:2], alone.member_logits)


def test_order_of_points_does_not_matter() -> None:
    made, found = solver(), supposed()
    order = torch.tensor([2, 0, 3, 1])
    mixed = [Supposed(*(None if p is None else p[:, order] for p in one)) for one in found]
    torch.testing.assert_close(made(mixed, *everywhere()).fraction, made(found, *everywhere()).fraction)


def test_points_that_fill_a_row_and_frames_before_the_first_do_not_count() -> None:
    made, found = solver(), supposed()
    known, counted = everywhere()
    known[:, :, 0], counted[:, 3] = False, False
    before = made(found, known, counted).fraction[:, 1:]
    for one in found:
        for part in one:
            if part is not None:
                part[:, :, 0] = 7.0
                part[:, 3] = -7.0
    torch.testing.assert_close(made(found, known, counted).fraction[:, 1:], before)


def test_prior_is_read_where_the_points_are_in_its_frame() -> None:
    """A prior in another frame, or for another object, changes nothing of this one's first frame alone."""
    made, found = solver(), supposed()
    none = made(found, *everywhere()).fraction
    prior = torch.rand(3, 8, 8)
    told = made(found, *everywhere(), prior, torch.tensor([-1, 1, -1])).fraction
    torch.testing.assert_close(told[[0, 2]], none[[0, 2]])
    assert (told[1] - none[1]).abs().max() > 1e-4
