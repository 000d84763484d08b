"""What is recorded of a tracker on a clip."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch

from scenegraph_track.graph.graph_tracker import GraphTracker
from scenegraph_track.tracking.correction import GraphCost
from scenegraph_track.training.graph_data import FALSE, Clip, GraphData, make_clip
from scenegraph_track.training.graph_rollouts import LAG, Step, clip_batches, joined, roll_out
from scenegraph_track.training.graph_targets import ALONE, UNKNOWN

DATA = GraphData(
    presets={"street": 1.0}, clips=2, repeats=2, frames=4, burn_in=1, warm_up=6, workers=0, disturbed=0, by_reference=0
)


def clip_of(seed: int, **more: object) -> tuple[Clip, GraphData]:
    data = DATA.model_copy(update=more)
    return make_clip(np.random.default_rng(seed), data), data


def steps_of(seed: int, policy: GraphCost | None = None, **more: object) -> list[Step]:
    return roll_out(*clip_of(seed, **more), policy, np.random.default_rng(0))


def test_targets_name_the_edge_to_the_objects_detection() -> None:
    clip, data = clip_of(1, warm_up=20)
    steps = roll_out(clip, data, None, np.random.default_rng(0))
    for moment, step in zip(clip.moments[clip.warm_up :], steps, strict=True):
        track, detection = step.features.edge_index
        assert (step.targets.edge_of_track >= 0).sum() > 1
        for row, edge in enumerate(step.targets.edge_of_track):
            if edge >= 0:
                assert track[edge] == row and moment.owner[detection[edge]] > FALSE
                assert step.targets.edge_of_detection[detection[edge]] == edge
            else:
                assert edge in (ALONE, UNKNOWN)
        assert (step.detection[track[step.targets.edge_of_track[step.targets.edge_of_track >= 0]]] >= -1).all()


def test_tracks_are_found_in_the_step_before() -> None:
    steps = steps_of(3, presets={"dance": 1.0}, frames=12)
    born = 0
    for before, now in pairwise(steps):
        count, found = len(before.features.tracks), len(before.features.detections)
        assert ((now.memory >= 0) & (now.memory < count + found)).all()
        assert len(np.unique(now.memory)) == len(now.memory)
        taken = before.detection[before.detection >= 0]
        started = now.memory[now.memory >= count] - count
        assert not np.isin(started, taken).any()  # a matched detection starts no track
        born += len(started)
    assert born > 0


def test_joined_steps_are_those_of_each_clip() -> None:
    rolls = [steps_of(seed, appearance=1.0) for seed in (1, 2)]
    frames = joined(rolls).frames(torch.device("cpu"))
    a, b = rolls[0][2], rolls[1][2]
    n, m, e = len(a.features.tracks), len(a.features.detections), len(a.features.base)
    frame = frames[2]
    assert torch.equal(frame["edge_index"][:, :e], torch.from_numpy(a.features.edge_index))
    assert torch.equal(frame["edge_index"][:, e:] - torch.tensor([[n], [m]]), torch.from_numpy(b.features.edge_index))
    wanted = torch.from_numpy(
        np.where(b.targets.edge_of_track >= 0, b.targets.edge_of_track + e, b.targets.edge_of_track)
    )
    assert torch.equal(frame["edge_of_track"][n:], wanted)
    assert torch.equal(frame["detection"][n:], torch.from_numpy(np.where(b.detection >= 0, b.detection + m, -1)))
    # the memory of the frame before: tracks of both clips, then detections of both
    old = [len(roll[1].features.tracks) for roll in rolls]
    found = len(rolls[0][1].features.detections)
    for row, number in enumerate(b.memory):
        want = old[0] + number if number < old[1] else sum(old) + found + number - old[1]
        assert frame["memory"][n + row] == want
    assert (frames[0]["memory"] == -1).all()


def test_each_clip_comes_back_after_some_batches() -> None:
    def bases(start: int, count: int) -> list[torch.Tensor]:
        batches = clip_batches(DATA, 0, 0, 1, start)
        return [next(batches).arrays["base"] for _ in range(count)]

    run = bases(0, LAG + 1)
    assert torch.equal(run[LAG], bases(LAG, 1)[0])  # also for a run that begins there
    early = set(np.round(run[0].numpy(), 6).tolist())
    assert len(early & set(np.round(run[LAG].numpy(), 6).tolist())) > 10


def test_an_untrained_policy_makes_the_tracks_of_the_reference_tracker() -> None:
    torch.manual_seed(0)
    policy = GraphCost(GraphTracker(width=8).eval().requires_grad_(False))
    for mine, theirs in zip(steps_of(4, policy, appearance=1.0), steps_of(4, appearance=1.0), strict=True):
        assert np.array_equal(mine.detection, theirs.detection) and np.array_equal(mine.memory, theirs.memory)
        np.testing.assert_array_equal(mine.features.edges, theirs.features.edges)
    disturbed = steps_of(4, None, disturbed=1.0, disturbance=2.0, presets={"dance": 1.0}, frames=12)
    plain = steps_of(4, None, presets={"dance": 1.0}, frames=12)
    assert any(not np.array_equal(a.detection, b.detection) for a, b in zip(disturbed, plain, strict=True))
