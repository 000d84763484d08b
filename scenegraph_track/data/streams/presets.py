"""The presets (ranges that replace those of parameters.py) and the splits."""

from __future__ import annotations

from collections.abc import Mapping

from scenegraph_track.data.streams.ranges import Choice, Span

# How far each split widens every range at both ends, in shares of its length. Train and validation differ in seeds;
# the held-out test split differs in seeds, in ranges (one draw of five lies outside the training range, so nearly
# every test sequence has parameters of motion, camera and detector that training never saw) and in kinds (frame
# rates, image sizes, the gliding camera, score curves and score scales that only the test split draws).
SPLITS: Mapping[str, float] = {"train": 0.0, "val": 0.0, "test": 0.12}

_SPORTS_RATES = Choice((25.0, 25.0, 30.0, 50.0, 60.0), held_out=(20.0, 24.0))
_NONE = Span(0, 0)

# One sequence in five has a detector that finds almost everything, also what is largely covered, down to low scores;
# independent draws of all detector parameters hardly ever give one.
STRONG_SHARE = 0.2
STRONG: Mapping[str, Span | Choice] = {
    "margin": Span(6, 12),
    "threshold": Span(-4.6, -2.0, limits=(-6.0, -1.5)),
    "cover_loss": Span(0.35, 3, log=True),
    "blind_below": Span(0.004, 0.05, log=True),
    "size_loss": Span(0.1, 0.6, log=True),
    "border_loss": Span(0, 1, limits=(0.0, 2.0)),
    "noise_level": Span(0.3, 0.8, log=True),
    "box_level": Span(0.22, 0.8, log=True),
    "cover_jitter": Span(-0.5, 0.7, limits=(0.0, 2.0)),
    "shrink": Span(-0.25, 0.35, limits=(0.0, 1.0)),
    "merges": Span(0.0002, 0.02, log=True),
    "splits": Span(0.0001, 0.01, log=True),
    "nms_overlap": Span(0.55, 0.9, limits=(0.5, 0.95)),
}

PRESETS: Mapping[str, Mapping[str, Span | Choice]] = {
    "street": {
        "objects": Span(3, 20, log=True, limits=(2, 60)),
        "camera_height": Span(0.8, 4, log=True),
        "motion": Choice(("static", "static", "shake"), held_out=("glide",)),
        "vehicle_weight": Span(0, 0.2, limits=(0.0, 1.0)),
        "parked": Span(0, 3, limits=(0.0, 8.0)),
    },
    "crowd": {
        "objects": Span(22, 90, log=True, limits=(5, 120)),
        "camera_height": Span(2.5, 12, log=True),
        "person_share": Span(0.08, 0.26, log=True),
        "motion": Choice(("static", "static", "static", "shake"), held_out=("glide",)),
        "walk_speed": Span(0.4, 1.5),
        "cyclist_weight": _NONE,
        "wait_time": Span(0.1, 1.5, log=True),
    },
    "crossing": {
        "objects": Span(10, 60, log=True, limits=(5, 120)),
        "camera_height": Span(4, 12, log=True),
        "person_share": Span(0.08, 0.25, log=True),
        "walk_speed": Span(0.3, 1.1),
        "flow_order": Span(0.75, 1.0, limits=(0.0, 1.0)),
        "flow_balance": Span(0.4, 0.8, limits=(0.0, 1.0)),
        "restlessness": Span(0.03, 0.3, log=True),
        "wander": Span(0.01, 0.1, log=True),
        "seconds": Span(15, 40, log=True),
        "cyclist_weight": _NONE,
    },
    "standing": {
        "objects": Span(8, 50, log=True, limits=(4, 120)),
        "camera_height": Span(1, 9, log=True),
        "walk_weight": Span(0.05, 0.3, limits=(0.0, 1.0)),
        "stand_weight": Span(1, 1),
        "person_share": Span(0.08, 0.35, log=True),
        "cluster": Span(0.4, 1.0, limits=(0.0, 1.0)),
        "cyclist_weight": _NONE,
        "motion": Choice(("static", "static", "static", "shake")),
        "seconds": Span(15, 40, log=True),
    },
    "dance": {
        "frame_rate": Choice((20.0, 20.0, 25.0, 30.0), held_out=(15.0, 24.0)),
        "objects": Span(4, 20, log=True, limits=(3, 40)),
        "camera_height": Span(0.8, 4, log=True),
        "person_share": Span(0.2, 0.6, log=True),
        "motion": Choice(("static", "static", "shake", "pan")),
        "walk_weight": _NONE,
        "stand_weight": _NONE,
        "cyclist_weight": _NONE,
        "dancer_weight": Span(1, 1),
        "unannotated": Span(-0.05, 0.1, limits=(0.0, 0.3)),
        "returns": Choice((True,)),
        "poles": _NONE,
        "walls": _NONE,
        "parked": _NONE,
    },
    "sports": {
        "frame_rate": _SPORTS_RATES,
        "image_size": Choice(((1280, 720), (1920, 1080)), held_out=((960, 540),)),
        "objects": Span(8, 24, log=True, limits=(4, 40)),
        "field_of_view": Span(15, 55, limits=(8, 100)),
        "camera_height": Span(3, 12, log=True),
        "person_share": Span(0.06, 0.28, log=True),
        "motion": Choice(("broadcast",)),
        "walk_weight": _NONE,
        "stand_weight": _NONE,
        "cyclist_weight": _NONE,
        "athlete_weight": Span(1, 1),
        "unannotated": Span(-0.05, 0.08, limits=(0.0, 0.3)),
        "returns": Choice((True, True, False)),
        "poles": _NONE,
        "walls": _NONE,
        "parked": _NONE,
    },
    "traffic": {
        "objects": Span(4, 22, log=True, limits=(3, 60)),
        "camera_height": Span(1.2, 12, log=True),
        "person_share": Span(0.06, 0.2, log=True),
        "motion": Choice(("static", "static", "drive", "shake"), held_out=("glide",)),
        "travel_speed": Span(2, 14, log=True),
        "walk_weight": Span(0, 0.5, limits=(0.0, 1.0)),
        "vehicle_weight": Span(1, 1),
        "cyclist_weight": Span(0, 0.4, limits=(0.0, 1.0)),
        "flow_order": Span(0.6, 1.0, limits=(0.0, 1.0)),
        "flow_spread": Span(0.02, 0.15, log=True),
        "stop_rate": Span(0.01, 0.1, log=True),
    },
    "moving_camera": {
        "camera_height": Span(0.8, 3, log=True),
        "motion": Choice(("walk", "walk", "drive", "pan", "shake"), held_out=("glide",)),
        "travel_speed": Span(0.4, 9, log=True),
        "cyclist_weight": Span(0, 0.2, limits=(0.0, 1.0)),
        "parked": Span(0, 3, limits=(0.0, 8.0)),
        "wait_time": Span(0.1, 2, log=True),
    },
    "long_occlusion": {
        "objects": Span(4, 18, log=True, limits=(3, 60)),
        "camera_height": Span(0.8, 3, log=True),
        "motion": Choice(("static", "static", "shake", "pan")),
        "turn_rate": Span(0.02, 0.1, log=True),
        "flow_angle": Span(-0.4, 0.4),
        "flow_order": Span(0.7, 1.0, limits=(0.0, 1.0)),
        "flow_balance": Span(0.4, 0.7, limits=(0.0, 1.0)),
        "walls": Span(0.8, 2.2, limits=(0.5, 6.0)),
        "wall_width": Span(1.5, 5, log=True),
        "seconds": Span(15, 40, log=True),
    },
    "mixed": {},
}
