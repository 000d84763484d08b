"""OccuSolver: what it sums up, whom gradients reach, and that objects do not disturb one another."""

from __future__ import annotations

import torch

from scenegraph_track.occlusion.occu_solver import OccuSolver, OccuSolverSettings, apart
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


def everywhere(objects: int = 3, points: int = 4, frames: int = WINDOW) -> tuple[torch.Tensor, ...]:
    known = torch.ones(objects, points, frames, dtype=torch.bool)
    places = 32 * torch.rand(3, points, 2, generator=torch.Generator().manual_seed(5))
    return known, known[:, :, 0], places[-objects:]


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
    made(found, *everywhere(), torch.rand(3, 8, 8), torch.tensor([True, True, False])).fraction.sum().backward()
    for name, weight in made.named_parameters():
        assert weight.grad is not None and weight.grad.abs().sum() > 0, name
    assert all(part.grad is None for one in found for part in one if part is not None)


def test_objects_share_a_pass_without_seeing_each_other() -> None:
    """One object alone gives what it gives among others."""
    made, found = solver(), supposed()
    together = made(found, *everywhere())
    alone = made([Supposed(*(None if p is None else p[2:] for p in one)) for one in found], *everywhere(1))
    torch.testing.assert_close(together.fraction[2:], alone.fraction)
    torch.testing.assert_close(together.member_logits[2:], alone.member_logits)


def test_order_of_points_does_not_matter() -> None:
    made, found = solver(), supposed()
    order = torch.tensor([2, 0, 3, 1])
    mixed = [Supposed(*(None if p is None else p[:, order] for p in one)) for one in found]
    known, counted, places = everywhere()
    expected = made(found, known, counted, places).fraction
    torch.testing.assert_close(made(mixed, known, counted, places[:, order]).fraction, expected)


def test_points_that_fill_a_row_and_frames_before_the_first_do_not_count() -> None:
    made, found = solver(), supposed()
    known, counted, places = everywhere()
    counted = counted.clone()
    known[:, :, 0], counted[:, 3] = False, False
    before = made(found, known, counted, places).fraction[:, 1:]
    for one in found:
        for part in one:
            if part is not None:
                part[:, :, 0] = 7.0
                part[:, 3] = -7.0
    torch.testing.assert_close(made(found, known, counted, places).fraction[:, 1:], before)


def test_prior_is_read_of_its_object_alone() -> None:
    made, found = solver(), supposed()
    none = made(found, *everywhere()).fraction
    told = made(found, *everywhere(), torch.rand(3, 8, 8), torch.tensor([False, True, False])).fraction
    torch.testing.assert_close(told[[0, 2]], none[[0, 2]])
    assert (told[1] - none[1]).abs().max() > 1e-4


def test_points_that_move_alike_are_not_apart() -> None:
    """Three move by (3, 4), one stays; one that is not known does not count."""
    moved = torch.tensor([[3.0, 4], [3, 4], [3, 4], [0, 0], [90, 90]])[None, :, None]
    known = torch.tensor([True, True, True, True, False])[None, :, None]
    found = apart(moved, known)[0, :, 0].expm1() * 4
    torch.testing.assert_close(found[:, 0], torch.tensor([0.0, 0, 0, 5, 0]))
    torch.testing.assert_close(found[:, 1], torch.tensor([5.0, 5, 5, 5, 0]))
