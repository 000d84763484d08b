"""Photometric self-supervision: its loss against exact worlds, phases that freeze what they should, and collapse."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor

from geometry.losses import minimum_over_sources
from geometry.pose import target_from_source
from scenegraph_track.errors import UserError
from scenegraph_track.training.collapse import CollapseLimits, CollapseWatch, collapse_signs
from scenegraph_track.training.loop import TrainingFailed
from scenegraph_track.training.optimiser import learning_rate
from scenegraph_track.training.photometric import (
    PhotometricLoss,
    PhotometricStage,
    any_way_up,
    flow_distance,
    flow_of_camera,
    motion_distance,
    motion_errors,
    phase_of,
    unwarped_errors,
    warped_errors,
    weight_of_still,
    window_loss,
)
from scenegraph_track.training.run import run_training
from scenegraph_track.training.settings import load_recipe, named_recipes
from scenegraph_track.training.weights import save_weights
from scenegraph_track.training.windows import WindowData, held_window, make_window, mirrored

SMALL = [
    "data.worlds=2",
    "data.parallax=0",
    "data.size=32",
    "data.windows=1",
    "data.validation_windows=1",
    "train.accelerator=cpu",
]
DATA = WindowData(size=64, worlds=4)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def windows(count: int = 2) -> dict[str, Tensor]:
    """Some rendered windows with their truth."""
    found = [held_window(DATA, "train", number) for number in range(count)]
    return {name: torch.stack([window[name] for window in found]) for name in found[0]}


def weights(out: Path, step: int) -> dict[str, Tensor]:
    return load_file(out / "checkpoints" / f"step-{step:08d}" / "weights.safetensors")


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)).double()


# --- the loss ---------------------------------------------------------------------------------------------------------


def tiny() -> tuple[Tensor, Tensor, Tensor]:
    """Images (1, 3, 3, 6, 6), intrinsics and twists (1, 2, 6) in double precision."""
    intrinsics = torch.tensor([[[9.0, 0.0, 3.0], [0.0, 9.0, 3.0], [0.0, 0.0, 1.0]]]).double()
    return rand(1, 3, 3, 6, 6), intrinsics, 0.1 * (rand(1, 2, 6, seed=1) - 0.5)


@pytest.mark.parametrize("alpha", [0.0, 0.85])
def test_gradients_of_the_photometric_loss(alpha: float) -> None:
    images, intrinsics, twists = tiny()
    disparities = [(0.5 + rand(1, 1, 6 // 2**k, 6 // 2**k, seed=2 + k)).requires_grad_() for k in range(2)]
    settings = PhotometricLoss(alpha=alpha, auto_mask=False, smoothness=0.1)

    def loss(*inputs: Tensor) -> Tensor:
        motions = target_from_source(inputs[0][..., :3], inputs[0][..., 3:])
        return window_loss(inputs[1:], motions, images, intrinsics, settings, rand(1, 1, 6, 6, seed=9))[0]

    assert torch.autograd.gradcheck(loss, (twists.requires_grad_(), *disparities))


def test_gradients_of_the_other_losses() -> None:
    _, intrinsics, twists = tiny()
    depth, flow = 1 + rand(1, 1, 6, 6, seed=2), rand(1, 2, 2, 6, 6, seed=3)
    trusted = rand(1, 2, 1, 6, 6, seed=4) > 0.3
    teacher = target_from_source(*(0.1 * rand(1, 2, 6, seed=5)).split(3, -1))

    def losses(twists: Tensor, depth: Tensor) -> Tensor:
        motions = target_from_source(twists[..., :3], twists[..., 3:])
        rigid = flow_of_camera(depth, motions, intrinsics)
        by_flow = flow_distance(flow, trusted, rigid, weight_of_still(flow, trusted, rigid, 1.0))
        return by_flow + motion_distance(motions, teacher, torch.ones(1, 2).double(), intrinsics, depth.mean())

    assert torch.autograd.gradcheck(losses, (twists.requires_grad_(), depth.requires_grad_()))


def test_truth_explains_more_than_a_plane_and_a_still_camera() -> None:
    # On every rendered world; also than the right depth with the motions of the two sources exchanged.
    batch = windows()
    for k in range(2):
        images, intrinsics = batch["images"][k : k + 1], batch["intrinsics"][k : k + 1]
        depth, truth = batch["depth"][k : k + 1], batch["truth"][k : k + 1]
        plane, still = torch.full_like(depth, 3.0), torch.eye(4).expand(1, 2, 4, 4)
        settings = PhotometricLoss(auto_mask=False)
        exact, constant, wrong = (
            float(window_loss([1 / d], motions, images, intrinsics, settings)[0])
            for d, motions in ((depth, truth), (plane, still), (depth, truth.flip(1)))
        )
        assert exact < 0.8 * constant < wrong


def test_the_finest_error_is_that_of_the_formula() -> None:
    # The minimum over sources of mixed SSIM and L1 with the exact warp; pixels that leave an image gain nothing.
    batch = windows(1)
    unwarped = unwarped_errors(batch["images"], 0.85)
    errors = warped_errors(batch["depth"], batch["truth"], batch["images"], batch["intrinsics"], 0.85, unwarped)
    _, first = window_loss(
        [1 / batch["depth"]], batch["truth"], batch["images"], batch["intrinsics"], PhotometricLoss(auto_mask=True)
    )
    assert float(first) == pytest.approx(float(minimum_over_sources(errors.unbind(1)).mean()))
    away = batch["truth"].clone()
    away[..., 2, 3] = -1e4  # behind the camera everywhere
    gone = warped_errors(batch["depth"], away, batch["images"], batch["intrinsics"], 0.85, unwarped)
    assert torch.equal(gone, unwarped)


def test_auto_mask_leaves_a_still_image_alone() -> None:
    # Where both sources equal the target, a wrong motion costs nothing.
    images = rand(1, 1, 3, 8, 8).float().expand(1, 3, 3, 8, 8)
    disparity = torch.full((1, 1, 8, 8), 0.5, requires_grad=True)
    motions = target_from_source(torch.zeros(1, 2, 3), torch.full((1, 2, 3), 0.2))
    settings = PhotometricLoss(smoothness=0.0)
    loss, first = window_loss([disparity], motions, images, tiny()[1].float(), settings)
    assert loss.item() < 1e-6 < first.item()
    settings = PhotometricLoss(smoothness=0.0, auto_mask=False)
    unmasked, _ = window_loss([disparity], motions, images, tiny()[1].float(), settings)
    assert unmasked.item() == pytest.approx(first.item())


def test_what_moves_by_itself_weighs_little() -> None:
    rigid = torch.zeros(1, 2, 2, 4, 4)
    flow, trusted = rigid.clone(), torch.ones(1, 2, 1, 4, 4, dtype=torch.bool)
    flow[:, 1, 0, 1, 2] = 3.0  # one pixel of one source
    flow[:, 0, 0, 3, 3] = 3.0
    trusted[:, 0, :, 3, 3] = False
    weight = weight_of_still(flow, trusted, rigid, 1.5)
    assert float(weight[0, 0, 1, 2]) == pytest.approx(1 / 5)
    assert float(weight.sum()) == pytest.approx(15 + 1 / 5)
    assert float(flow_distance(flow, trusted, rigid)) == pytest.approx(3 / 31, rel=0.02)


def test_distance_of_motions_is_in_pixels() -> None:
    # A turn of 0.02 and a shift of a tenth of the depth, seen with a focal length of 9 pixels.
    intrinsics = tiny()[1].float()
    still, sure = torch.eye(4).expand(1, 2, 4, 4), torch.tensor([[1.0, 0.0]])
    turned = target_from_source(torch.tensor([0.0, 0.02, 0.0]), torch.zeros(3)).expand(1, 2, 4, 4)
    shifted = target_from_source(torch.zeros(3), torch.tensor([0.3, 0.0, 0.0])).expand(1, 2, 4, 4)
    depth = torch.tensor(3.0)
    assert float(motion_distance(turned, still, sure, intrinsics, depth)) == pytest.approx(9 * 0.02, rel=0.02)
    assert float(motion_distance(shifted, still, sure, intrinsics, depth)) == pytest.approx(9 * 0.1, rel=0.02)
    assert float(motion_distance(still, still, sure, intrinsics, depth)) < 0.01


# --- the data ---------------------------------------------------------------------------------------------------------


def test_windows_agree_with_their_truth() -> None:
    # Exact depth and motion give the classical flow; the classical motion points where the true one does.
    batch = windows()
    rigid = flow_of_camera(batch["depth"], batch["truth"], batch["intrinsics"])
    signs = collapse_signs(batch["depth"], batch["truth"], rigid, batch["flow"], batch["trusted"])
    assert float(signs["pose_agreement"]) < 0.25
    assert float(signs["depth_variation"]) > 0.1
    assert float(signs["translation"]) > 0.005
    for k in range(2):
        window = {name: value[k] for name, value in batch.items()}
        turn, true, direction = motion_errors(window["motion"].double().numpy(), window)
        assert turn.max() < max(0.5 * true.max(), 0.5)
        assert direction.size and direction.max() < 30


def test_the_same_number_is_the_same_window() -> None:
    data = WindowData(size=32, parallax=0.0)
    one, two, other = (make_window(data, "train", number) for number in (1, 1, 2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["images"], other["images"])


@pytest.mark.parametrize("number", range(8))
def test_mirrors_turn_everything_together(number: int) -> None:
    # In each of the eight mirrors the truth still explains images and flow.
    batch = windows(1)
    axes = torch.diag(torch.tensor([1.0 - 2 * (number & 1), 1.0 - (number & 2), 1.0]))
    turned = mirrored(batch, axes[[1, 0, 2]] if number & 4 else axes)
    rigid = flow_of_camera(turned["depth"], turned["truth"], turned["intrinsics"])
    plain = flow_of_camera(batch["depth"], batch["truth"], batch["intrinsics"])
    distance, before = (
        flow_distance(turned["flow"], turned["trusted"], rigid),
        flow_distance(batch["flow"], batch["trusted"], plain),
    )
    torch.testing.assert_close(distance, before, rtol=1e-3, atol=1e-4)
    loss, settings = [], PhotometricLoss(auto_mask=False, smoothness=0.0)
    for b in (batch, turned):
        loss.append(window_loss([1 / b["depth"]], b["truth"], b["images"], b["intrinsics"], settings)[0])
    torch.testing.assert_close(loss[1], loss[0], rtol=1e-3, atol=1e-5)
    if number:
        assert not torch.equal(turned["images"], batch["images"])


def test_any_way_up_draws_by_torchs_generator() -> None:
    batch = windows()
    torch.manual_seed(3)
    one = any_way_up(batch)
    torch.manual_seed(3)
    assert torch.equal(one["images"], any_way_up(batch)["images"])
    assert not torch.equal(one["images"], batch["images"])


# --- phases -----------------------------------------------------------------------------------------------------------


def test_phases_freeze_what_they_should(tmp_path: Path) -> None:
    # Three steps of the cure: motion, depth, both.  Bits, so neither decay nor moments of the optimiser moved anything.
    torch.manual_seed(0)
    steps = ["train.steps=3", "train.checkpoint_every=1", "train.keep_last=3", "train.warmup_steps=0"]
    options = [*SMALL, *steps, "phases.pose=1", "phases.depth=1", "train.seed=4"]
    run_training("geometry", options, tmp_path / "run")
    torch.manual_seed(4)
    stage = load_recipe("geometry", options).create_stage()
    before = {f"{m}.{name}": value for m, part in stage.modules().items() for name, value in part.state_dict().items()}
    moved = []
    for step in (1, 2, 3):
        after = weights(tmp_path / "run", step)
        moved.append({name.split(".")[0] for name in after if not torch.equal(after[name], before[name])})
        before = after
    assert moved == [{"pose"}, {"depth"}, {"depth", "pose"}]


def test_regimes_and_their_phases() -> None:
    settings = PhotometricStage.Settings.model_validate({"phases": {"pose": 10, "depth": 5}})
    found = [phase_of(settings, step) for step in (0, 9, 10, 14, 15, 20)]
    assert [(p.depth, p.pose) for p in found] == [(False, True)] * 2 + [(True, False)] * 2 + [(True, True)] * 2
    assert [(p.depth_steps, p.pose_steps) for p in found] == [(0, 1), (0, 10), (1, 10), (5, 10), (6, 11), (11, 16)]
    assert [p.loss.alpha for p in found] == [0.0, 0.0, 0.85, 0.85, 0.85, 0.85]
    assert [p.loss.auto_mask for p in found] == [False] * 4 + [True] * 2
    for regime, alpha in (("ssim_l1_joint", 0.85), ("l1_joint", 0.0)):
        phase = phase_of(settings.model_copy(update={"regime": regime}), 0)
        assert (phase.depth, phase.pose, phase.loss.alpha, phase.loss.auto_mask) == (True, True, alpha, True)


def test_the_shipped_recipe() -> None:
    # It is the default, complete, and joint training has about a tenth of the learning rate.
    recipe = load_recipe("geometry")
    assert recipe.sections == PhotometricStage.Settings()
    written = yaml.safe_load(named_recipes()["geometry"].read_text())
    assert {key: written[key] for key in written if key != "train"} == {
        key: value for key, value in recipe.values().items() if key != "train"
    }
    joint = recipe.sections.phases.pose + recipe.sections.phases.depth
    assert joint < recipe.train.steps
    assert learning_rate(joint, recipe.train) < 0.12 * recipe.train.learning_rate


@pytest.mark.parametrize(
    "settings",
    [
        ["regime=ssim_l1_joint", "loss.motion_scale=1.0", "loss.flow=0.1"],
        ["regime=l1_joint", "pose_net.flow=true"],
        ["pose_teacher=photometric"],
        ["phases.pose=1", "phases.depth=1"],
        [],
    ],
)
def test_two_steps(settings: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_training("geometry", [*SMALL, *settings], tmp_path / "run", dry_run=True)
    said = capsys.readouterr().err
    assert "step 2/2  val/abs_rel" in said
    assert "nan" not in said


def test_it_begins_with_given_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    first = load_recipe("geometry", SMALL).create_stage()
    both = {f"{m}.{name}": value for m, part in first.modules().items() for name, value in part.state_dict().items()}
    path = tmp_path / "both.safetensors"
    save_weights(path, both, {})
    second = load_recipe("geometry", [*SMALL, f"start.depth={path}"]).create_stage()
    assert all(torch.equal(a, b) for a, b in zip(first.depth.parameters(), second.depth.parameters()))
    assert not all(torch.equal(a, b) for a, b in zip(first.pose.parameters(), second.pose.parameters()))
    with pytest.raises(UserError, match="the weights of pose do not fit PoseNet"):
        load_recipe("geometry", [*SMALL, f"start.pose={path}", "pose_net.flow=true"]).create_stage()


def test_the_classical_teacher_teaches(tmp_path: Path) -> None:
    # A few dozen steps on one window bring the motion nearer to the one that its flow tells.
    options = [*SMALL, "data.worlds=1", "data.size=64", "phases.pose=1000", "phases.depth=0", "train.warmup_steps=0"]
    torch.manual_seed(0)
    stage = load_recipe("geometry", options).create_stage()
    optimiser = torch.optim.AdamW(stage.pose.parameters(), 2e-3)
    batch = next(stage.batches(0, 1, 0))
    losses = []
    for step in range(60):
        torch.manual_seed(0)  # always the same mirror
        loss, _ = stage.loss(batch, step)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]
    assert all(weight.grad is None for weight in stage.depth.parameters())


# --- collapse ---------------------------------------------------------------------------------------------------------

GOOD = {"depth_variation": 0.4, "translation": 0.02, "pose_agreement": 0.6}


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        ({"depth_variation": 0.02}, "depth is constant: std/mean 0.02 < 0.05"),
        ({"translation": 0.0003}, "camera does not move: |t|/depth 0.0003 < 0.001"),
        ({"pose_agreement": 1.02}, "camera motion explains no flow: what is left of it 1 > 0.95"),
        (
            {"depth_variation": 0.02, "translation": 0.0},
            "depth is constant: std/mean 0.02 < 0.05 and camera does not move: |t|/depth 0 < 0.001",
        ),
        ({}, None),
    ],
)
def test_collapse_is_named(bad: dict[str, float], sentence: str | None) -> None:
    watch = CollapseWatch(CollapseLimits(patience=1, warmup=10))
    assert watch.see(20, GOOD | bad, 20, 20) == sentence
    assert watch.collapsed == (None if sentence is None else (20, sentence))


def test_collapse_needs_patience_and_training() -> None:
    watch = CollapseWatch(CollapseLimits(patience=2, warmup=10))
    bad = GOOD | {"depth_variation": 0.0}
    assert watch.see(10, bad, 10, 10) is None  # not trained for long enough
    assert watch.see(20, bad, 0, 20) is None  # not trained at all
    assert watch.see(30, bad, 20, 20) is None  # the first
    assert watch.see(40, bad, 30, 30) is not None
    assert watch.collapsed is not None and watch.collapsed[0] == 30
    assert watch.see(50, GOOD, 40, 40) is None and watch.collapsed is None  # recovered
    assert watch.see(60, bad, 50, 50) is None  # begins anew


def test_signs_of_a_collapse() -> None:
    intrinsics = tiny()[1].float()
    depth = torch.full((1, 1, 8, 8), 2.0)
    moved = target_from_source(torch.zeros(1, 2, 3), torch.tensor([0.2, 0.0, 0.0]).expand(1, 2, 3))
    flow = flow_of_camera(depth, moved, intrinsics)
    still = torch.eye(4).expand(1, 2, 4, 4)
    trusted = torch.ones(1, 2, 1, 8, 8, dtype=torch.bool)
    right = collapse_signs(depth, moved, flow, flow, trusted)
    assert {name: round(float(value), 4) for name, value in right.items()} == {
        "depth_variation": 0.0,
        "translation": 0.1,
        "pose_agreement": 0.0,
    }
    wrong = collapse_signs(depth, still, torch.zeros_like(flow), flow, trusted)
    assert float(wrong["pose_agreement"]) == 1
    assert math.isfinite(float(collapse_signs(depth, still, flow, flow, ~trusted)["pose_agreement"]))


def test_a_collapse_stops_the_run_or_is_reported(tmp_path: Path) -> None:
    options = [*SMALL, "regime=ssim_l1_joint", "train.steps=3", "train.log_every=1", "train.warmup_steps=0"]
    options += ["collapse.depth_variation=99", "collapse.warmup=0", "collapse.patience=2", "collapse.translation=0"]
    options += ["collapse.pose_agreement=1e9"]
    with pytest.raises(TrainingFailed, match=r"step 2: collapse: depth is constant: std/mean .* < 99"):
        run_training("geometry", options, tmp_path / "stop")
    assert run_training("geometry", [*options, "collapse.on_collapse=report"], tmp_path / "report").is_file()
