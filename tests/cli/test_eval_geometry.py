"""Geometry judged from the command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from geometry.depth_net import DepthNet
from geometry.flow_net import FlowNet
from geometry.pose_net import PoseNet
from geometry.trajectory import Trajectory, write_tum
from scenegraph_track.cli.app import run
from scenegraph_track.data.worlds import render, sample_scene
from scenegraph_track.evaluation import clips
from scenegraph_track.training.weights import save_weights

WORLDS = ["--sequences", "2", "--size", "48x48", "--frames", "6"]
FAST = [*WORLDS, "--flow", "dis_fast"]
MODELS = {"depth_net": {"channels": [4, 4, 4, 4, 4], "decoder": [4, 4, 4, 4]}, "pose_net": {"channels": [4, 4]}}


@pytest.fixture(autouse=True)
def few_worlds_behind_the_mean_map(monkeypatch: pytest.MonkeyPatch) -> None:
    original = clips.mean_depth_map
    monkeypatch.setattr(clips, "mean_depth_map", lambda preset, size, worlds: original(preset, size, 2))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Untrained networks of all kinds in one file."""
    torch.manual_seed(0)
    nets = {"flow": FlowNet(), "depth": DepthNet(**MODELS["depth_net"]), "pose": PoseNet(**MODELS["pose_net"])}
    file = tmp_path_factory.mktemp("weights") / "all.safetensors"
    values = {f"{part}.{name}": value for part, net in nets.items() for name, value in net.state_dict().items()}
    save_weights(file, values, {"recipe": MODELS})
    return str(file)


def figures(arguments: list[str], tmp_path: Path) -> dict[str, Any]:
    assert run(["eval", *arguments, "--json", str(tmp_path / "f.json"), "--overwrite"]) == 0
    return json.loads((tmp_path / "f.json").read_text(), parse_constant=lambda name: pytest.fail(f"{name} in JSON"))


def untimed(values: Any) -> Any:
    if isinstance(values, dict):
        return {name: untimed(value) for name, value in values.items() if not name.startswith("ms")}
    return values


def rows(file: Path) -> list[str]:
    with file.open(newline="") as opened:
        return [row["sequence"] for row in csv.DictReader(opened)]


NAMES = ["standard_test_0000", "standard_test_0001", "COMBINED"]


def test_flow(weights: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # The network beside both DIS; what was measured is said.
    picture, table = tmp_path / "flow.jpg", tmp_path / "flow.csv"
    found = figures(["flow", *WORLDS, "--weights", weights, "--picture", str(picture), "--csv", str(table)], tmp_path)
    for name in ("epe_moving", "epe_border", "epe_background", "ms"):
        assert found[name] == found["methods"]["learned"][name] > 0
        assert found[f"{name}_dis"] == found["methods"][found["dis"]][name]
    assert found["epe_moving_dis"] == min(
        found["methods"][dis]["epe_moving"] for dis in ("dis_fast", "dis_sparse", "dis_fine")
    )
    said = capsys.readouterr().out
    assert "learned" in said and f"{found['epe_moving_dis']:.3f}" in said and "End-point error: mean distance" in said
    assert cv2.imread(str(picture)).shape[1] == 6 * (192 + 6) - 6
    assert rows(table) == NAMES


def test_depth(weights: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture, table = tmp_path / "depth.png", tmp_path / "depth.csv"
    given = ["--weights", weights, "--picture", str(picture), "--csv", str(table)]
    found = figures(["depth", *FAST, *given], tmp_path)
    for name in ("", "_network", "_mean_map", "_row", "_constant"):
        assert found[f"abs_rel{name}"] > 0 and 0 <= found[f"delta1{name}"] <= 1
    assert {"sq_rel", "rmse", "rmse_log", "delta2", "delta3", "scale", "coverage"} <= set(found["methods"]["video"])
    assert found["uses"] == {"flow": "dis_fast", "depth": weights, "pose": weights} and found["sequences"] == 2
    said = capsys.readouterr().out
    assert "median scaling" in said and "network" in said
    assert cv2.imread(str(picture)).shape[1] == 5 * (192 + 6) - 6
    assert rows(table) == NAMES


def test_pose(weights: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "pose.csv"
    given = ["--weights", weights, "--depth", "none", "--trajectories", "1", "--csv", str(table)]
    found = figures(["pose", *FAST, *given], tmp_path)
    names = ["rotation_ratio", "translation_deg_all", "found", "residual_px"]
    for row in (found, *(found[name] for name in ("identity", "direct", "essential", "network"))):
        assert all(row[name] is not None for name in names) and "translation_deg" in row
    assert found["found"] == 1 and found["translation_deg"] == found["translation_deg_all"]  # the network steps in
    assert found["homography"]["residual_px"] > 0 and found["exact"]["residual_px"] > 0
    assert {"ate_rmse", "rpe_translation", "rpe_rotation", "still"} <= set(found["trajectory"])
    assert "trajectories of 1 clip, Sim(3)" in capsys.readouterr().out
    assert rows(table) == NAMES


@pytest.mark.usefixtures("quick_workers")
def test_any_number_of_workers(weights: str, tmp_path: Path) -> None:
    # Two processes give the figures of one, to the last digit.
    arguments = ["pose", *FAST, "--weights", weights, "--trajectories", "0"]
    assert untimed(figures(arguments, tmp_path)) == untimed(figures([*arguments, "--workers", "2"], tmp_path))


def test_configuration(tmp_path: Path) -> None:
    # Its section geometry says what is not said on the command line.
    (tmp_path / "c.yaml").write_text("geometry: {flow: dis_fast, depth: none}\n")
    config = ["--config", str(tmp_path / "c.yaml")]
    given = ["depth", *WORLDS, "--sequences", "1", *config]
    assert figures(given, tmp_path)["uses"]["flow"] == "dis_fast"
    assert figures([*given, "--flow", "dis_fine"], tmp_path)["uses"]["flow"] == "dis_fine"


def test_a_model_by_its_name(tmp_path: Path) -> None:
    # A folder of transformers' in place of the network.
    transformers = pytest.importorskip("transformers")
    small = {"hidden_size": 8, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 8}
    config = transformers.DPTConfig(
        **small, image_size=32, patch_size=8, neck_hidden_sizes=[8] * 4, fusion_hidden_size=8,
        backbone_out_indices=[0, 1, 2, 3], reassemble_factors=[4, 2, 1, 0.5],
    )  # fmt: skip
    transformers.DPTForDepthEstimation(config).save_pretrained(tmp_path / "model")
    transformers.DPTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "model")
    (tmp_path / "c.yaml").write_text(f"geometry: {{flow: dis_fast, depth: {tmp_path / 'model'}}}\n")
    found = figures(["depth", *WORLDS, "--config", str(tmp_path / "c.yaml")], tmp_path)
    assert found["uses"]["depth"] == str(tmp_path / "model") and np.isfinite(found["abs_rel_network"])


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A still world of ten frames in the layout of an RGB-D camera."""
    clip = render(sample_scene("static", "test", seed=2, size=(64, 48), frames=10))
    folder = tmp_path / "recording"
    for name in ("rgb", "depth", "poses", "intrinsics"):
        (folder / name).mkdir(parents=True)
    for k, frame in enumerate(clip.frames):
        cv2.imwrite(str(folder / "rgb" / f"{k:03d}.png"), frame.image[..., ::-1])
        cv2.imwrite(str(folder / "depth" / f"{k:03d}.png"), np.minimum(1000 * frame.depth, 65535).astype(np.uint16))
    np.savetxt(folder / "intrinsics" / "K.txt", clip.scene.camera.intrinsics)
    write_tum(Trajectory(np.stack([f.world_from_camera for f in clip.frames])), folder / "poses" / "poses.txt")
    return folder


def test_recording(recording: Path, tmp_path: Path) -> None:
    # The same commands and names on frames of a camera; nothing is known of objects there.
    flow = figures(["flow", str(recording)], tmp_path)
    assert flow["epe_background_dis"] > 0 and flow["epe_moving_dis"] is None and flow["sequences"] == 2
    depth = figures(["depth", str(recording), "--flow", "dis_fast", "--depth", "none"], tmp_path)
    assert depth["abs_rel"] > 0 and depth["abs_rel_constant"] > 0 and depth["measured_on"] == "recording recording"
    given = ["--flow", "dis_fast", "--depth", "none", "--trajectories", "0"]
    pose = figures(["pose", str(recording), *given], tmp_path)
    assert pose["identity"]["rotation_ratio"] == pytest.approx(1) and pose["exact"]["residual_px"] > 0


def path_of(folder: Path, name: str, size: float) -> Path:
    t = np.linspace(0, 2, 20)
    poses = np.tile(np.eye(4), (20, 1, 1))
    poses[:, :3, :3] = Rotation.from_rotvec(np.stack([0 * t, t, 0 * t], -1)).as_matrix()
    poses[:, :3, 3] = size * np.stack([np.sin(t), t**2, t], -1)
    write_tum(Trajectory(poses), folder / name)
    return folder / name


def test_trajectory_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Half the size: right under Sim(3), wrong under SE(3).
    result, truth = path_of(tmp_path, "result.txt", 1), path_of(tmp_path, "truth.txt", 2)
    arguments = ["pose", str(result), "--truth", str(truth)]
    found = figures([*arguments, "--picture", str(tmp_path / "p.png")], tmp_path)
    assert found["ate_rmse"] < 1e-6 and found["scale"] == pytest.approx(2) and found["alignment"] == "Sim(3)"
    assert "aligned by Sim(3)" in capsys.readouterr().out and (tmp_path / "p.png").is_file()
    found = figures([*arguments, "--no-scale"], tmp_path)
    assert found["ate_rmse"] > 0.3 and found["alignment"] == "SE(3)"


def test_depth_files(recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = figures(["depth", str(recording), "--results", str(recording / "depth"), "--no-scale"], tmp_path)
    assert found["abs_rel"] == 0 and found["delta1"] == 1 and found["sequences"] == 10
    assert "no scaling" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["depth", "NOWHERE"], 2, "NOWHERE: no such folder"),
        (["pose", "."], 2, "expected a recording of an RGB-D camera, found no rgb_registered/ or rgb/"),
        (["flow", "--preset", "odd"], 2, "--preset odd: expected one of easy"),
        (["flow", "--split", "odd"], 2, "--split odd: expected one of train"),
        (["flow", "--size", "big"], 2, "--size big: expected WIDTHxHEIGHT"),
        (["flow", ".", "--size", "64x64"], 2, "--size: goes with worlds, not with a folder"),
        (["flow", "--picture", "a.gif"], 2, "--picture a.gif: expected a file ending in .jpg or .png"),
        (["depth", *WORLDS, "--flow", "odd"], 2, "flow odd: expected one of dis_fast"),
        (["depth", *WORLDS, "--depth", "./odd"], 2, "./odd: expected a folder, or a hub id"),
        (["depth", *WORLDS, "--weights", "odd"], 2, "odd: no such file of weights"),
        (["depth", *WORLDS, "--config", "odd"], 2, "odd: neither a named configuration"),
        (["depth", "--results", "."], 2, "--results: expected the folder with the truth too"),
        (["depth", ".", "--results", "odd"], 2, "odd: no such folder"),
        (["depth", "--no-scale"], 2, "--no-scale: video depth has no scale of its own"),
        (["pose", "--no-scale"], 2, "--no-scale: the motions of one camera have no scale of their own"),
        (["pose", "--truth", "a.txt"], 2, "expected a trajectory and --truth"),
        (["pose", "odd.txt", "--truth", "a.txt"], 2, "odd.txt: no such file"),
    ],
)
def test_one_sentence(
    arguments: list[str], code: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["eval", *arguments]) == code
    said = capsys.readouterr().err
    assert said.startswith(f"error: {message}") or message in said
    assert said.count("\n") == 1


def test_malformed_trajectory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_text("0 1 2 3 0 0 0 1\n1 2 3 four 0 0 0 1\n")
    assert run(["eval", "pose", str(tmp_path / "a.txt"), "--truth", str(tmp_path / "a.txt")]) == 1
    assert "a.txt:2: expected 8 numbers" in capsys.readouterr().err


def test_weights_of_something_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # No known network in the file; a network of another shape.
    save_weights(tmp_path / "a.safetensors", {"rules.x": torch.zeros(2)}, {})
    assert run(["eval", "flow", *WORLDS, "--weights", str(tmp_path / "a.safetensors")]) == 2
    assert "expected weights of a network for flow, depth or pose, found none" in capsys.readouterr().err
    save_weights(tmp_path / "b.safetensors", {"flow.x": torch.zeros(2)}, {})
    assert run(["eval", "flow", *WORLDS, "--weights", str(tmp_path / "b.safetensors")]) == 2
    assert "the weights of flow do not fit FlowNet" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--flow", "--depth"])
def test_network_that_does_not_ship(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Asked for by name it is an error; else the row is left out.
    from geometry import weights as shipped
    from scenegraph_track.evaluation.estimators import load_estimators

    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    load_estimators.cache_clear()
    assert run(["eval", "depth", *WORLDS, option, "embedded"]) == 2
    assert capsys.readouterr().err.startswith(f"error: no trained network for {option[2:]} ships with this version")
    found = figures(["depth", *WORLDS], tmp_path)
    assert "abs_rel_network" not in found and found["uses"] == {"flow": "dis_fine", "depth": "none", "pose": "none"}
    load_estimators.cache_clear()
