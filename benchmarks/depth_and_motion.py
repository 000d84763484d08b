"""Flow, camera motion and video depth without learning, on held-out worlds and on real RGB-D frames.

``python benchmarks/depth_and_motion.py --json out.json --preset standard --split test --sequences 40 [--data FOLDER]``

- Flow: mean end-point error in pixels over pixels visible in both frames: objects, a band of 2 px on either side of
  their outlines, all the rest; CPU time of one flow.
- Camera motion between neighbouring frames: median of rotation error over true rotation (pairs that turn), median angle
  between true and estimated direction of translation (pairs that move, where one was found) and how often it was.
  "identity" has ratio 1 and no direction; "straight ahead" is the direction along the optical axis.
- Depth of the middle frame, median scaled: triangulation where its confidence is over 0.5, with its coverage, and
  "video", triangulation fused with the mean depth map of training worlds; beside constant depth, that map, and the map
  averaged along rows.  "moving" counts clips whose camera translates.
- Residual: mean of |flow - camera flow| on the visible surroundings, neighbouring frames.
- Real: the same on the frames of ``FOLDER/rgbd/seven_scenes_60`` (every second frame of the recording).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from geometry import ego_motion_from_essential, fit_ego_motion, fuse, optical_flow, rigid_flow, scale_to_depth
from geometry.flow import METHODS
from geometry.triangulation import video_depth
from scenegraph_track.data.worlds import iter_frames, render, sample_scene
from scenegraph_track.evaluation.geometry import depth_figures, mean_figures, rotation_angle

ESTIMATES = {"direct": fit_ego_motion, "essential": ego_motion_from_essential}
MAP_ERROR = 0.6
"""Relative error of the mean depth map that the fusion reckons with."""


def tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def mean_depth_map(preset: str, worlds: int, size: tuple[int, int]) -> np.ndarray:
    """Median over training worlds of the depth over its image's median."""
    maps = []
    for seed in range(worlds):
        depth = next(iter_frames(sample_scene(preset, "train", seed=70_000 + seed, frames=1, size=size))).depth
        maps.append(depth / np.median(depth))
    return np.median(maps, 0).astype(np.float32)


def homography_flow(flow: torch.Tensor, mask: torch.Tensor) -> np.ndarray:
    """Flow (2, H, W) of the homography that RANSAC finds in the trusted flow."""
    height, width = mask.shape
    grid = np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), -1)
    ends = grid + flow.permute(1, 2, 0).numpy()
    chosen = mask.numpy()
    found, _ = cv2.findHomography(grid[chosen], ends[chosen], cv2.RANSAC, 1.0)
    found = np.eye(3) if found is None else found
    return (cv2.perspectiveTransform(grid.reshape(1, -1, 2), found).reshape(height, width, 2) - grid).transpose(2, 0, 1)


class Tally:
    """Lists of numbers by name."""

    def __init__(self) -> None:
        self.lists: dict[str, list] = {}

    def add(self, name: str, values) -> None:
        self.lists.setdefault(name, []).extend(np.atleast_1d(values).tolist())

    def figure(self, name: str, reduce=np.mean) -> float:
        values = np.array(self.lists.get(name, []), float)
        return float(reduce(values)) if values.size else float("nan")


def measure_motion(tally: Tally, name: str, estimate: np.ndarray, truth: np.ndarray) -> None:
    """Errors of one motion (4, 4) of unit or zero translation."""
    turn = rotation_angle(truth[:3, :3])
    if turn > 0.02:
        tally.add(f"{name} rotation", rotation_angle(estimate[:3, :3].T @ truth[:3, :3]) / turn)
    length = np.linalg.norm(truth[:3, 3])
    if length > 1e-4:
        found = bool(estimate[:3, 3].any())
        tally.add(f"{name} found", found)
        if found:
            cosine = estimate[:3, 3] @ truth[:3, 3] / length / np.linalg.norm(estimate[:3, 3])
            tally.add(f"{name} direction", np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def measure_depths(depths: dict, estimates: dict, truth: np.ndarray, groups: tuple[str, ...]) -> None:
    for name, estimate in estimates.items():
        for group in groups:
            depths.setdefault((group, name), []).append(depth_figures(estimate, truth))


def camera_residual(flow, depth, confidence, motion, intrinsics) -> np.ndarray:
    """|flow - camera flow| (H, W) with the pairwise motion scaled to the video depth."""
    transform = scale_to_depth(motion, flow, depth, intrinsics, confidence if confidence.any() else None)
    camera = rigid_flow(depth[None, None].double(), transform[None], intrinsics[None].double())[0]
    return torch.linalg.vector_norm(flow - camera, dim=0).numpy()


def video_estimates(images, reference: int, intrinsics, prior: torch.Tensor) -> tuple[dict, torch.Tensor, torch.Tensor]:
    """Depth maps by name, and the fused one with the confidence of the triangulated one."""
    found = video_depth(images, reference, intrinsics)
    fused = fuse(found.depth, found.confidence, prior, MAP_ERROR)
    sure = torch.where(found.confidence > 0.5, found.depth, torch.zeros_like(found.depth))
    row = prior.log().mean(1, keepdim=True).exp().expand_as(prior)
    flat = torch.ones_like(prior)
    maps = {"triangulated": sure, "video": fused, "mean map": prior, "depth from row": row, "constant": flat}
    return {name: values.numpy() for name, values in maps.items()}, fused, found.confidence


def worlds(options: argparse.Namespace, size: tuple[int, int] = (128, 128)) -> dict:
    tally, depths = Tally(), {}
    prior = torch.from_numpy(mean_depth_map(options.preset, 150, size))
    for sequence in range(options.sequences):
        scene = sample_scene(options.preset, options.split, seed=sequence, size=size)
        frames = render(scene).frames
        images = [tensor(frame.image) for frame in frames]
        intrinsics = torch.from_numpy(scene.camera.intrinsics).float()
        middle = len(frames) // 2
        estimates, fused, confidence = video_estimates(images, middle, intrinsics, prior)
        for index in (middle // 2, middle):
            frame, after = frames[index], frames[index + 1]
            mobile = (frame.instance > 0) & (frame.instance <= len(scene.objects))
            band = np.ones((5, 5), np.uint8)
            outline = cv2.dilate(frame.instance, band) != cv2.erode(frame.instance, band)
            seen = ~frame.occluded_forward
            regions = {"moving": mobile & seen, "border": outline & seen, "background": ~mobile & ~outline & seen}
            for method in METHODS:
                start = time.process_time()
                flow = optical_flow(images[index], images[index + 1], method)
                tally.add(f"{method} ms", (time.process_time() - start) * 500)
                error = np.linalg.norm(flow.flow.permute(1, 2, 0).numpy() - frame.flow_forward, axis=-1)
                for region, mask in regions.items():
                    tally.add(f"{method} {region}", error[mask])
            truth = np.linalg.inv(after.world_from_camera) @ frame.world_from_camera
            motions = {}
            for name, estimate in ESTIMATES.items():
                start = time.process_time()
                motions[name] = estimate(flow.flow, intrinsics, flow.consistent)
                tally.add(f"{name} ms", (time.process_time() - start) * 1000)
                measure_motion(tally, name, motions[name].target_from_source.numpy(), truth)
            ahead = np.eye(4)
            ahead[2, 3] = -1
            measure_motion(tally, "straight ahead", ahead, truth)
            if index == middle:
                static = (frame.instance == 0) & seen
                for name in ESTIMATES:
                    residual = camera_residual(flow.flow, fused, confidence, motions[name], intrinsics)
                    tally.add(f"residual {name}", residual[static])
                plane = np.linalg.norm(flow.flow.numpy() - homography_flow(flow.flow, flow.consistent), axis=0)
                tally.add("residual homography", plane[static])
                exact = rigid_flow(
                    torch.from_numpy(frame.depth)[None, None].double(),
                    torch.from_numpy(truth)[None],
                    intrinsics[None].double(),
                )[0]
                tally.add("residual exact", np.linalg.norm((flow.flow - exact).numpy(), axis=0)[static])
        moves = scene.camera.motion not in ("still", "pan")
        measure_depths(depths, estimates, frames[middle].depth, ("all", "moving") if moves else ("all",))
    return {
        "flow": {
            m: {k: tally.figure(f"{m} {k}") for k in ("moving", "border", "background", "ms")} for m in METHODS
        },
        "motion": motion_table(tally),
        "residual_px": {n: tally.figure(f"residual {n}") for n in (*ESTIMATES, "homography", "exact")},
        "depth": depth_table(depths),
    }  # fmt: skip


def motion_table(tally: Tally) -> dict:
    table = {"identity": {"rotation_ratio": 1.0, "translation_deg": float("nan"), "found": 0.0, "ms": 0.0}}
    for name in (*ESTIMATES, "straight ahead"):
        table[name] = {
            "rotation_ratio": tally.figure(f"{name} rotation", np.median),
            "translation_deg": tally.figure(f"{name} direction", np.median),
            "found": tally.figure(f"{name} found"),
            "ms": tally.figure(f"{name} ms", np.median),
        }
    return table


def depth_table(depths: dict) -> dict:
    table: dict = {}
    for (group, name), figures in depths.items():
        mean = mean_figures(figures)
        table.setdefault(group, {})[name] = {
            "abs_rel": mean.abs_rel, "delta1": mean.delta1, "rmse_log": mean.rmse_log, "coverage": mean.coverage
        }  # fmt: skip
    return table


def real(folder: Path, preset: str, every: int = 6) -> dict:
    from geometry.trajectory import read_tum

    folder = folder / "rgbd" / "seven_scenes_60"
    poses = read_tum(folder / "poses" / "poses.txt").world_from_camera
    intrinsics = torch.from_numpy(np.loadtxt(folder / "intrinsics" / "K.txt")).float()
    paths = sorted((folder / "rgb_registered").iterdir())
    images = [tensor(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)) for path in paths]
    depth_paths = sorted((folder / "depth").iterdir())
    prior = torch.from_numpy(mean_depth_map(preset, 60, (160, 120)))
    prior = torch.from_numpy(cv2.resize(prior.numpy(), (images[0].shape[2], images[0].shape[1])))
    tally, depths = Tally(), {}
    for index in range(2, len(images) - 1, every):
        truth_depth = cv2.imread(str(depth_paths[index]), cv2.IMREAD_UNCHANGED) / 1000
        flow = optical_flow(images[index], images[index + 1], "dis_fine")
        truth = np.linalg.inv(poses[index + 1]) @ poses[index]
        estimates, fused, confidence = video_estimates(images, index, intrinsics, prior)
        measure_depths(depths, estimates, truth_depth, ("all",))
        known = truth_depth > 0
        for name, estimate in ESTIMATES.items():
            start = time.process_time()
            motion = estimate(flow.flow, intrinsics, flow.consistent)
            tally.add(f"{name} ms", (time.process_time() - start) * 1000)
            measure_motion(tally, name, motion.target_from_source.numpy(), truth)
            tally.add(f"residual {name}", camera_residual(flow.flow, fused, confidence, motion, intrinsics)[known])
        ahead = np.eye(4)
        ahead[2, 3] = -1
        measure_motion(tally, "straight ahead", ahead, truth)
        plane = np.linalg.norm(flow.flow.numpy() - homography_flow(flow.flow, flow.consistent), axis=0)
        tally.add("residual homography", plane[known])
        exact = rigid_flow(
            torch.from_numpy(truth_depth)[None, None], torch.from_numpy(truth)[None], intrinsics[None].double()
        )[0]
        tally.add("residual exact", np.linalg.norm((flow.flow - exact).numpy(), axis=0)[known])
    return {
        "motion": motion_table(tally),
        "residual_px": {n: tally.figure(f"residual {n}") for n in (*ESTIMATES, "homography", "exact")},
        "depth": depth_table(depths),
    }


def show(title: str, table: dict[str, dict[str, float]]) -> None:
    columns = list(next(iter(table.values())))
    print(f"\n{title:24s}" + "".join(f"{column:>16s}" for column in columns))
    for name, row in table.items():
        print(f"{name:24s}" + "".join(f"{row[column]:16.3f}" for column in columns))


def show_all(title: str, figures: dict) -> None:
    for name in ("flow", "motion"):
        if name in figures:
            show(f"{title}: {name}", figures[name])
    show(f"{title}: residual", {"pixels": figures["residual_px"]})
    for group, table in figures["depth"].items():
        show(f"{title}: depth ({group})", table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--preset", default="standard", help="kind of world")
    parser.add_argument("--split", default="test", choices=("train", "val", "test"))
    parser.add_argument("--sequences", type=int, default=40, help="number of worlds")
    parser.add_argument("--data", type=Path, help="folder of real evaluation data")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    figures = {"worlds": worlds(options)}
    show_all(options.preset, figures["worlds"])
    if options.data:
        figures["real"] = real(options.data, options.preset)
        show_all("seven scenes", figures["real"])
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
