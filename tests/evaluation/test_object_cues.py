"""Depth and motion of every frame of a clip."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from geometry.video import VideoGeometry
from scenegraph_track.data.worlds import render, sample_scene
from scenegraph_track.evaluation.object_cues import clip_cues

WORLD = render(sample_scene("standard", "test", seed=1, size=(64, 48), frames=3))
IMAGES = [torch.from_numpy(np.ascontiguousarray(frame.image.transpose(2, 0, 1))) for frame in WORLD.frames]
K = torch.from_numpy(WORLD.scene.camera.intrinsics).float()


class Oracle:
    """The true flow between neighbouring frames at any smaller size."""

    def __call__(self, image_a: Tensor, image_b: Tensor) -> Tensor:
        a, b = (
            int(np.argmin([(torch.nn.functional.interpolate(i[None].float(), x.shape[1:], mode="area") - x).abs().mean()
                           for i in IMAGES]))
            for x in (image_a.float(), image_b.float())
        )  # fmt: skip
        flow = WORLD.frames[a].flow_forward if b == a + 1 else WORLD.frames[a].flow_backward
        if abs(a - b) != 1:
            return torch.zeros(2, *image_a.shape[1:])
        factor = image_a.shape[2] / flow.shape[1]
        whole = torch.from_numpy(flow.transpose(2, 0, 1))[None] * factor
        return torch.nn.functional.interpolate(whole, image_a.shape[1:], mode="nearest")[0]


def test_frames_are_those_of_video_geometry() -> None:
    # From the second on; the first has the flow to the second in place of none.
    found = clip_cues(IMAGES, K, "dis_fast")
    geometry = VideoGeometry("dis_fast")
    state = geometry.start()
    for index, image in enumerate(IMAGES):
        state, frame = geometry.step(state, image, K)
        torch.testing.assert_close(found[index].depth, frame.depth)
        if index:
            torch.testing.assert_close(found[index].residual, frame.residual, equal_nan=True)
        else:
            assert frame.flow is None
    for one in found:
        assert one.flow.shape == one.residual.shape == (2, 48, 64) and one.moving.shape == (48, 64)


def test_first_frame_looks_ahead() -> None:
    # Its flow is that to the second frame, those of the others go back.
    found = clip_cues(IMAGES, K, Oracle())
    for one, flow in zip(
        found, (WORLD.frames[0].flow_forward, WORLD.frames[1].flow_backward, WORLD.frames[2].flow_backward)
    ):
        np.testing.assert_allclose(one.flow.permute(1, 2, 0), flow, atol=1e-5)


def test_large_images_get_maps_of_their_size() -> None:
    # Geometry at half the size: the flow is in pixels of the whole image, and so are the intrinsics.
    whole, half = clip_cues(IMAGES, K, Oracle()), clip_cues(IMAGES, K, Oracle(), working_size=32)
    for a, b in zip(whole, half):
        assert a.depth.shape == b.depth.shape == b.confidence.shape == b.moving.shape == (48, 64)
        assert b.residual.shape == (2, 48, 64)
        torch.testing.assert_close(a.intrinsics, b.intrinsics)
        assert float((a.flow - b.flow).abs().median()) < 0.2 * float(a.flow.abs().median()) + 0.02
        assert bool((b.depth > 0).all())


def test_a_single_frame_has_no_motion() -> None:
    (found,) = clip_cues(IMAGES[:1], K)
    assert not found.flow.any() and bool(found.residual.isnan().all()) and not found.moving.any()
