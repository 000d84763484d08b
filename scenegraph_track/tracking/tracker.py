"""The public tracker: one explicit state in, one frame in; the next state and its scene graph out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from geometry.video import VideoGeometry
from scenegraph_track.config import Config, load_config
from scenegraph_track.errors import UserError
from scenegraph_track.language.reading import Reader
from scenegraph_track.language.steering import Guide
from scenegraph_track.structures import Detections, Frame, ObjectState, SceneGraph, TrackerState, Tracks
from scenegraph_track.tracking import camera, motion
from scenegraph_track.tracking.edges import spatial_edges, temporal_edges
from scenegraph_track.tracking.emission import covers
from scenegraph_track.tracking.learned import LearnedCost
from scenegraph_track.tracking.matching import box_iou
from scenegraph_track.tracking.placement import object_depths, positions
from scenegraph_track.tracking.prediction import shown_chance
from scenegraph_track.tracking.proposing import Proposer, proposer
from scenegraph_track.tracking.reference import Association, associate, start_state
from scenegraph_track.tracking.scene_model import SceneModel, box_std, learned_scene, named_hiders, with_scene
from scenegraph_track.tracking.situation import prepare
from scenegraph_track.tracking.space import (
    SLACK,
    Space,
    rotation_dominates,
    space_of,
    surer,
    track_maps,
    video_geometry,
)
from scenegraph_track.tracking.targets import SeenTargets, TargetFollower, checked_box, seen_targets

if TYPE_CHECKING:
    from scenegraph_track.tracking.visible_parts import VisibleTracks


@dataclass(frozen=True)
class Tracker:
    """Keeps the identities of a video's objects; holds settings only, so that one tracker serves any number of videos.

    Example::

        tracker = Tracker.from_config("reference")
        state = tracker.start()
        for frame, detections in stream:
            state, scene = tracker.step(state, frame, detections)

    Args:
        config: Settings.
        geometry: What finds depth and camera motion where frames bring none; None: as the settings say.
    """

    config: Config
    geometry: VideoGeometry | None = None

    @classmethod
    def from_config(cls, name: str | Path = "reference", overrides: Iterable[str] = ()) -> Tracker:
        """A tracker of a named configuration or a YAML file; ``overrides`` as ``tracker.life.hidden_seconds=2``."""
        return cls(load_config(name, overrides))

    @classmethod
    def from_pretrained(cls, name: str | Path = "embedded", overrides: Iterable[str] = (), **options: Any) -> Tracker:
        """A tracker with its weights, all loaded, so that what is missing or does not fit is said at once.

        Args:
            name: "embedded", what ships with the package; a folder that :meth:`save_pretrained` wrote; or the id of one
                on the Hugging Face hub.
            overrides: As ``tracker.life.hidden_seconds=2``.
            options: Of the hub: ``revision``, ``token``, ``cache_dir``, ``local_files_only``, ``force_download``.

        Raises:
            UserError: There is no such tracker, or weights are missing or do not fit.
        """
        from scenegraph_track.tracking import release

        return release.load(name, overrides, options)

    def save_pretrained(self, folder: str | Path, overwrite: bool = False) -> None:
        """Write the settings, every file of weights that they name, and a model card; the folder is whole or absent.

        Args:
            folder: New or empty.
            overwrite: Replace what the folder holds, all of it.

        Raises:
            UserError: The folder holds something, or weights are missing.
        """
        from scenegraph_track.tracking import release

        release.save(self, folder, overwrite)

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """What :meth:`save_pretrained` writes, as a commit on the Hugging Face hub.

        Args:
            repo_id: As owner/name; it is made if need be.
            options: ``private``, ``token``, ``commit_message``, ``branch``, ``create_pr``.

        Returns:
            The address of the commit.

        Raises:
            UserError: Weights are missing, or the hub takes nothing.
        """
        from scenegraph_track.tracking import release

        return release.push(self, repo_id, options)

    def loaded(self) -> Tracker:
        """The same; every network that the settings name is loaded now rather than when it is first used.

        Raises:
            UserError: Weights are missing or do not fit.
        """
        _ = self._video, self._proposer, self._looks, self._learned
        _ = self._scene_model, self._visible_tracks, self._guide
        if self.config.target.weights != "none":
            _ = self._targets
        return self

    @cached_property
    def _video(self) -> VideoGeometry | None:
        return self.geometry or video_geometry(self.config.geometry)

    @cached_property
    def _proposer(self) -> Proposer | None:
        return proposer(self.config.detector)

    @cached_property
    def _looks(self) -> Callable[[Tensor, np.ndarray], np.ndarray] | None:
        if self.config.tracker.appearance.kind == "none":
            return None
        from scenegraph_track.tracking.looks import looks

        return looks(self.config.tracker.appearance)

    @cached_property
    def _learned(self) -> LearnedCost | None:
        if self.config.tracker.graph.weights == "none":
            return None
        from scenegraph_track.tracking.correction import learned_cost

        return learned_cost(self.config.tracker.graph)

    @cached_property
    def _scene_model(self) -> SceneModel | None:
        return learned_scene(self.config.tracker.scene)

    @cached_property
    def _visible_tracks(self) -> VisibleTracks | None:
        if self.config.tracker.occlusion.weights == "none":
            return None
        from scenegraph_track.tracking.visible_parts import VisibleTracks

        return VisibleTracks.load(self.config.tracker.occlusion)

    @cached_property
    def _targets(self) -> TargetFollower:
        if self.config.target.weights == "none":
            raise UserError("this configuration follows no targets: set target.weights (embedded, or a file)")
        return TargetFollower.load(self.config.target)

    @cached_property
    def _guide(self) -> Guide | None:
        settings = self.config.language
        if not settings.text:
            return None
        if settings.weights == "none":
            raise UserError("this configuration reads no sentences: set language.weights (embedded, or a file)")
        reader = Reader.load(settings.weights, settings.working_size)
        return Guide(reader, settings.text, settings.sure, settings.doubt, settings.every)

    def start(self) -> TrackerState:
        """The state before the first frame."""
        return start_state()

    def add_target(self, state: TrackerState, frame: Frame, box: ArrayLike) -> tuple[TrackerState, int]:
        """Follow what a box holds, from this frame on.

        Give the frame to :meth:`step` afterwards, and it will show the target in this box; or before, and the next one
        will.  A track that is there already (IoU of ``target.overlap``) becomes the target, with its identity.

        Args:
            state: What the last step returned, or :meth:`start`.
            frame: With its image; not before the last one.
            box: (4,) xyxy pixels.

        Returns:
            The next state, and the identity of the target.

        Raises:
            UserError: The settings name no target models, the frame is an earlier one or has no image, or the box lies
                outside it.
        """
        follower, inside = self._targets, checked_box(box, frame)
        if frame.timestamp < state.timestamp:
            raise UserError(f"frame {frame.index}: its time {frame.timestamp} s is before {state.timestamp} s")
        tracks, identity, next_id = state.tracks, state.next_id, state.next_id + 1
        overlaps = np.where(tracks.ids > 0, box_iou(inside[None], tracks.last_box)[0], 0.0)
        if overlaps.max(initial=0.0) >= max(self.config.target.overlap, 1e-9):
            identity, next_id = int(tracks.ids[overlaps.argmax()]), state.next_id
            tracks = tracks[tracks.ids != identity]
        targets = follower.added(state.targets, frame, inside, identity)
        return replace(state, tracks=tracks, next_id=next_id, targets=targets), identity

    def step(
        self, state: TrackerState, frame: Frame, detections: Detections | None = None
    ) -> tuple[TrackerState, SceneGraph]:
        """Take in one frame; a pure function of its arguments.

        Measured depth and poses of a frame, or those that the settings of ``geometry`` let find, give objects a depth
        (unless the detections bring theirs), positions in space, and the relations front and behind.  Positions are in
        the world where the frame's pose is known, else in the axes of its camera; in metres where the depth is.
        Intrinsics that are not given are guessed.  With poses, tracks are moved by where their points in space go
        rather than by a similarity of the image, as long as that explains the background about as well (`space.surer`);
        where only poses are known, as if all were far away, as long as the camera mostly turns.  Detections without
        embeddings get those that the settings of ``tracker.appearance`` name, where the frame has an image.  What the
        sentence of ``language.text`` means becomes a target in the first frame in which it is found, unless one was
        given before.

        Args:
            state: What the last step returned, or :meth:`start`.
            frame: The frame; its timestamp has to be later than the last one's.
            detections: Objects found in it; None: the detector of the settings finds them, or nothing does where the
                settings name target models.

        Returns:
            The next state, and the graph of all live tracks: seen, hidden, and those that left in this frame.  A
            learned scene graph (settings of ``tracker.scene``, where the size of the image is known) may say of a track
            that it has left while it can still come back under its identity.

        Raises:
            UserError: Time does not advance, or there are no detections to track.
        """
        if detections is None and self._proposer is None and self.config.target.weights == "none":
            raise UserError(
                "this configuration has no detector: give detections with every frame, or set detector.kind"
            )
        if not np.isnan(state.timestamp) and frame.timestamp <= state.timestamp:
            raise UserError(f"frame {frame.index}: its time {frame.timestamp} s is not after {state.timestamp} s")
        settings = self.config.tracker
        space, video = space_of(frame, self._video, state.geometry)
        if video is not None and state.geometry is not None and bool(video.metric) != bool(state.geometry.metric):
            unknown = replace(state.tracks, depth=np.full(len(state.tracks), np.nan))  # lengths have another unit now
            state = replace(state, tracks=unknown, world_from_camera=np.zeros((0, 0)))
        if detections is None:
            detections = Detections.empty() if self._proposer is None else self._proposer(frame, space)
        if detections.embeddings is None and frame.image is not None and self._looks is not None:
            seen = self._looks(frame.image, _numpy(detections.boxes))
            detections = replace(detections, embeddings=torch.from_numpy(seen).float())
        if self._guide is not None and state.targets is None and frame.image is not None:
            place = self._guide.first(frame.image, _numpy(detections.boxes))
            state = state if place is None else self.add_target(state, frame, place.box)[0]
        given, own = detections, None
        if state.targets is not None:
            targets = self._targets.followed(state.targets, frame, self._guide)
            own = seen_targets(state.targets, targets, frame.timestamp, _numpy(given.boxes), self.config.target)
            state, detections = replace(state, targets=targets), given[torch.from_numpy(own.free)]
        depths = _depths(detections, frame, space)
        background = camera.small_grey(frame) if settings.motion.camera else state.background
        state, warp = self._followed(state, frame, space, background)
        situation = prepare(
            state,
            settings,
            frame.timestamp,
            _numpy(detections.boxes),
            _numpy(detections.scores),
            None if detections.classes is None else detections.classes.cpu().numpy(),
            warp,
            frame.size,
            depths,
            None if detections.embeddings is None else _numpy(detections.embeddings),
        )
        after, decided = associate(situation, self._learned)
        nothing = np.zeros((0, 0))
        pose = None if space is None else space.world_from_camera
        after = replace(
            after,
            background=background,
            intrinsics=nothing if space is None or pose is None else space.intrinsics,
            world_from_camera=nothing if pose is None else pose,
            geometry=video,
        )
        return self._scene(after, decided, frame, given, space, own)

    def _followed(
        self, state: TrackerState, frame: Frame, space: Space | None, background: np.ndarray
    ) -> tuple[TrackerState, np.ndarray | None]:
        """The camera's motion in pixels, (2, 3) or (N, 2, 3) for the tracks, and the state with their new depths."""
        tracks, both = state.tracks, bool(background.size and state.background.size)
        watches = self.config.tracker.motion.camera and both
        if space is None or space.world_from_camera is None or not state.world_from_camera.size or not len(tracks):
            if not watches:
                return state, None
            return state, camera.measured_motion(state.background, background, state.last_boxes, frame.size[0])
        motion_ = space.current_from_previous
        if motion_ is None:
            motion_ = np.linalg.inv(space.world_from_camera) @ state.world_from_camera
        corners = similarity = None
        scale = background.shape[1] / frame.size[0] if watches else 1.0
        if watches:
            small = camera.followed_corners(state.background, background, state.last_boxes, frame.size[0])
            if small is not None:
                similarity = camera.similarity_of(small, scale)
                corners = small[0] / scale, small[1] / scale
        depths = tracks.depth
        if not np.isfinite(depths).any():
            if not (space.metric and rotation_dominates(motion_)):
                return state, similarity
            depths = np.full(len(tracks), np.inf)
        size = frame.size or (0, 0)
        back = np.linalg.inv(motion_)
        if not surer(corners, similarity, space, back, state.intrinsics, size, SLACK / scale):
            return state, similarity
        middle = tracks.centre[:, motion.chosen_filter(state.filter_errors)]
        maps, ahead = track_maps(middle, depths, motion_, state.intrinsics, space.intrinsics, similarity)
        ahead = np.where(np.isfinite(tracks.depth), ahead, np.nan)
        return replace(state, tracks=replace(tracks, depth=ahead)), maps

    def _scene(
        self,
        state: TrackerState,
        decided: Association,
        frame: Frame,
        detections: Detections,
        space: Space | None,
        own: SeenTargets | None,
    ) -> tuple[TrackerState, SceneGraph]:
        """What is told of the frame, and the state that remembers it."""
        tracks, depths, detected = decided.tracks, decided.tracks.depth, _numpy(detections.boxes)
        seen = decided.detection >= 0
        chance = shown_chance(state, decided, frame.size)
        states = np.where(seen, ObjectState.VISIBLE, np.where(decided.left, ObjectState.LEFT, ObjectState.HIDDEN))
        nodes = {
            "track_id": tracks.ids,
            "box": decided.boxes,
            "box_std": box_std(decided, state),
            "state": states,
            "hidden_for": np.where(seen, 0.0, frame.timestamp - tracks.seen),
            "shown": seen | (~decided.left & (chance >= self.config.tracker.show.predicted)),
            "score": np.where(seen, tracks.scores, chance),
            "class_id": tracks.classes,
            "detection": decided.detection,
        }
        kept = detected.copy()  # a caller may go on writing into its boxes
        becomes = partial(temporal_edges, decided, kept, frame.timestamp, self.config.tracker.association.gate, own)
        if own is not None:
            nodes["detection"] = np.append(own.free, -1)[decided.detection]
            nodes = own.joined_nodes(nodes)
            depths = np.concatenate([depths, _target_depths(own, detections, frame, space)])
        boxes, seen = nodes["box"], nodes["state"] == ObjectState.VISIBLE
        covered, _ = covers(boxes, boxes[seen], np.arange(len(boxes))[:, None] == np.flatnonzero(seen)[None])
        nodes["visibility"] = np.where(seen, 1 - covered, 0.0)
        if self._visible_tracks is not None and frame.image is not None:
            carried, parts = self._visible_tracks.step(state.visible_parts, frame, nodes)
            nodes["visibility"] = np.where(np.isfinite(parts), parts, nodes["visibility"])
            state = replace(state, visible_parts=carried)
        depths, relates = depths if np.isfinite(depths).any() else None, None
        intrinsics = None if space is None else space.intrinsics
        if self._scene_model is None or frame.size is None:
            nodes["hidden_by"] = named_hiders(nodes)
        else:
            given = nodes, decided, state, frame.size, depths, intrinsics
            nodes, relates, state = with_scene(self._scene_model, *given)
        boxes, stay = nodes["box"], nodes["state"] != ObjectState.LEFT
        if depths is not None and space is not None:
            nodes["position"] = positions(boxes, depths, space.intrinsics, space.world_from_camera)
        if detections.embeddings is not None:
            nodes["embedding"] = _of_detection(_numpy(detections.embeddings), nodes["detection"], 0.0)
        if relates is None:
            relates = partial(spatial_edges, boxes, stay, depths)
        return state, SceneGraph.build(frame.index, frame.timestamp, nodes, relates, becomes)


def tracks_of(scenes: Iterable[SceneGraph]) -> Tracks:
    """The shown boxes of consecutive frames as tracks."""
    frames: list[np.ndarray] = []
    parts: dict[str, list[np.ndarray]] = {"track_id": [], "box": [], "score": [], "class_id": [], "visibility": []}
    observed = []
    for scene in scenes:
        shown = scene.shown
        nodes = scene.nodes
        frames.append(np.full(int(shown.sum()), scene.frame_index))
        for name, values in parts.items():
            values.append(nodes[name][shown].numpy())
        observed.append((nodes["state"][shown] == int(ObjectState.VISIBLE)).numpy())
    if not frames:
        return Tracks.empty()
    joined = {name: np.concatenate(values) for name, values in parts.items()}
    return Tracks.from_arrays(
        np.concatenate(frames),
        joined["track_id"],
        joined["box"],
        joined["score"],
        classes=joined["class_id"],
        visibility=joined["visibility"].astype(np.float64),
        observed=np.concatenate(observed),
    )


def _depths(detections: Detections, frame: Frame, space: Space | None) -> np.ndarray | None:
    """(M,) depths of the detections: their own, else those of the depth map; None where there are neither."""
    if detections.depths is not None:
        return _numpy(detections.depths)
    if space is None or space.depth is None:
        return None
    size = frame.size or (space.depth.shape[1], space.depth.shape[0])
    masks = None if detections.masks is None else _numpy(detections.masks)
    return object_depths(space.depth, _numpy(detections.boxes), size, space.confidence, masks).depth


def _target_depths(own: SeenTargets, given: Detections, frame: Frame, space: Space | None) -> np.ndarray:
    """(K,) depths of the targets that are seen: those of their detections, else of the depth map; NaN where unknown."""
    if given.depths is not None:
        return _of_detection(_numpy(given.depths), own.detection)
    depths = _depths(Detections.from_arrays(own.table.boxes), frame, space)
    return np.where(own.states == ObjectState.VISIBLE, np.nan if depths is None else depths, np.nan)


def _numpy(values: Tensor) -> np.ndarray:
    return values.detach().double().cpu().numpy()


def _of_detection(values: np.ndarray, detection: np.ndarray, blank: float = np.nan) -> np.ndarray:
    """Values of the matched detections, ``blank`` where there is none."""
    if len(values) == 0:
        return np.full((len(detection), *values.shape[1:]), blank)
    rows = values[np.maximum(detection, 0)]
    rows[detection < 0] = blank
    return rows
