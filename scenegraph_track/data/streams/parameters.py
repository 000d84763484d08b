"""What is drawn per sequence, field by field, with the range of the training split."""

from __future__ import annotations

from dataclasses import dataclass

from scenegraph_track.data.streams.ranges import choice, ranged

SHARE = (0.0, 1.0)
POSITIVE = (0.0, float("inf"))


@dataclass(frozen=True)
class CameraParameters:
    """The pinhole camera and how it moves."""

    frame_rate: float = choice(5.0, 7.0, 7.5, 10.0, 12.5, 14.0, 15.0, 20.0, 25.0, 25.0, 30.0, 30.0, 50.0, 60.0,
                               held_out=(6.0, 8.0, 12.0, 24.0, 40.0, 48.0))  # fmt: skip
    image_size: tuple[int, int] = choice(
        (640, 480), (768, 576), (1242, 375), (1280, 720), (1920, 1080), (720, 1280), held_out=((960, 540), (1024, 768))
    )
    seconds: float = ranged(6, 60, log=True)  # length of the sequence
    field_of_view: float = ranged(35, 90, limits=(8, 100))  # across the wider side, degrees
    camera_height: float = ranged(0.8, 12, log=True, limits=(0.4, 30))  # metres above the ground
    person_share: float = ranged(0.08, 0.55, log=True, limits=(0.04, 0.7))  # of the image height, at the middle depth
    foot_row: float = ranged(0.5, 0.85, limits=(0.4, 0.95))  # where the feet of that person stand, of the image height
    motion: str = choice("static", held_out=("glide",))  # see camera.py
    travel_speed: float = ranged(0.5, 2.0, log=True)  # walk, drive, glide, metres per second
    turn_rate: float = ranged(0.03, 0.4, log=True)  # pan and steering, radians per second
    shake: float = ranged(0.0005, 0.012, log=True)  # standard deviation of the angles, radians
    shake_time: float = ranged(0.1, 0.6, log=True)  # seconds
    zoom: float = ranged(0.0, 0.25, limits=POSITIVE)  # standard deviation of the log focal length (broadcast)


@dataclass(frozen=True)
class MotionParameters:
    """Who is there and how they move; kinds are weighted by the ``*_weight`` fields."""

    objects: float = ranged(5, 25, log=True, limits=(2, 120))  # agents in or near the view at once
    walk_weight: float = ranged(1, 1)
    stand_weight: float = ranged(0, 0.4, limits=POSITIVE)
    athlete_weight: float = ranged(0, 0)
    dancer_weight: float = ranged(0, 0)
    vehicle_weight: float = ranged(0, 0)
    cyclist_weight: float = ranged(0, 0.1, limits=POSITIVE)
    near_factor: float = ranged(0.35, 0.7, log=True)  # nearest depth over the middle depth
    far_factor: float = ranged(1.2, 3.0, log=True, limits=(1.1, 4.0))  # farthest depth over the middle depth
    walk_speed: float = ranged(0.7, 1.7)  # mean, metres per second
    speed_spread: float = ranged(0.05, 0.4, log=True)  # of one agent's speed, relative
    relax_time: float = ranged(0.25, 1.0, log=True)  # seconds to reach the wanted velocity
    repulsion: float = ranged(0.5, 6, log=True)  # metres per second squared at contact
    repulsion_range: float = ranged(0.15, 0.5, log=True)  # metres
    restlessness: float = ranged(0.1, 1.0, log=True)  # noise of the acceleration, metres per second squared
    wander: float = ranged(0.02, 0.4, log=True)  # slow drift of the heading, radians
    group_share: float = ranged(0.0, 0.6, limits=SHARE)  # who walk with somebody
    stop_rate: float = ranged(0.003, 0.12, log=True)  # stops per second
    stop_time: float = ranged(0.7, 8, log=True)  # seconds
    flow_angle: float = ranged(-3.1416, 3.1416)  # main walking direction, radians from the camera's right
    flow_order: float = ranged(0.0, 1.0, limits=SHARE)  # share that follows it, in one of both directions
    flow_spread: float = ranged(0.05, 0.5, log=True)  # spread of the directions around it, radians
    flow_balance: float = ranged(0.5, 1.0, limits=SHARE)  # share of those who walk along rather than against
    door_share: float = ranged(0.0, 0.4, limits=SHARE)  # who appear and vanish inside the view
    wait_time: float = ranged(0.2, 5, log=True)  # mean seconds until another agent takes the place of one that left
    cluster: float = ranged(0.0, 0.8, limits=SHARE)  # share of standing people in clusters
    sprint_speed: float = ranged(1.8, 7.0, log=True)  # athletes, metres per second
    agility: float = ranged(3.5, 14, log=True)  # largest acceleration of athletes, dancers, metres per second squared
    change_time: float = ranged(0.25, 2.0, log=True)  # seconds between an athlete's changes of mind
    marking: float = ranged(0.0, 0.6, limits=SHARE)  # share of athletes that stick to another one
    dance_spacing: float = ranged(0.6, 1.6)  # metres between places of a formation
    dance_change: float = ranged(1.5, 7, log=True)  # seconds between formations
    dance_step: float = ranged(0.1, 0.6, log=True)  # metres of the steps within a formation
    vehicle_speed: float = ranged(3, 16, log=True)  # metres per second
    turn_share: float = ranged(0.0, 0.5, limits=SHARE)  # of vehicles that turn while in view
    pose_amplitude: float = ranged(0.3, 1.4, log=True)  # of arms, crouching, jumping
    pose_time: float = ranged(0.2, 1.0, log=True)  # seconds
    aspect: float = ranged(0.7, 1.25, log=True)  # how generously the annotators draw widths
    aspect_changes: float = ranged(0.25, 1.0, limits=SHARE)  # how far drawn widths follow steps and turns
    annotation_noise: float = ranged(0.0005, 0.015, log=True)  # of drawn boxes, of the box size
    annotation_time: float = ranged(0.1, 1.0, log=True)  # seconds
    returns: bool = choice(False)  # agents keep their id when they come back
    unannotated: float = ranged(-0.08, 0.12, limits=(0.0, 0.4))  # share of agents without truth (they are detected)
    annotated_share: float = ranged(
        0.03, 0.6, log=True, limits=(0.02, 0.7)
    )  # least share of an annotated box inside the image
    smallest: float = ranged(
        0.02, 0.06, log=True
    )  # height of the smallest annotated box, of the image height (if well below ``person_share``)
    poles: float = ranged(-1.0, 4, limits=POSITIVE)  # expected number of static occluders in view
    walls: float = ranged(-0.5, 1.5, limits=POSITIVE)
    parked: float = ranged(-0.5, 1.5, limits=POSITIVE)
    wall_width: float = ranged(1, 4, log=True)  # metres


@dataclass(frozen=True)
class DetectorParameters:
    """The detector: which boxes it finds, where it puts them, and how it scores them.

    A detection has a quality in logits; it is reported if the quality exceeds ``threshold``, and scored by a monotone
    curve of it.
    """

    # mean quality of a visible large object above ``threshold``, logits
    margin: float = ranged(0.8, 11, limits=(0.3, 14))
    threshold: float = ranged(-4.6, 0.5, limits=(-6.0, 1.0))  # least reported quality, logits
    cover_loss: float = ranged(0.35, 9, log=True)  # logits lost by a fully covered object
    cover_power: float = ranged(0.5, 2.2, log=True)  # 1: loss in proportion; larger: only heavy cover hurts
    blind_below: float = ranged(0.004, 0.3, log=True, limits=(0.002, 0.4))  # never found with a smaller visible share
    size_loss: float = ranged(0.2, 3, log=True)  # logits lost per halving below ``small``
    small: float = ranged(0.04, 0.25, log=True)  # height, of the image height
    border_loss: float = ranged(0, 2, limits=POSITIVE)  # logits lost by the share outside the image
    object_spread: float = ranged(0.15, 1.6, log=True)  # lasting differences between objects, logits
    luck_spread: float = ranged(0.3, 2.2, log=True)  # bad luck that lasts several frames, logits
    luck_time: float = ranged(0.05, 2.0, log=True)  # seconds
    frame_noise: float = ranged(0.2, 1.4, log=True)  # independent in each frame, logits
    noise_level: float = ranged(0.3, 2.4, log=True, limits=(0.2, 2.8))  # common factor of the three above
    jitter: float = ranged(0.012, 0.07, log=True)  # independent error of centre and size, of the box size
    jitter_width: float = ranged(1.0, 2.8, log=True)  # how much worse horizontal errors are
    drift: float = ranged(0.008, 0.06, log=True)  # slow error, of the box size
    drift_time: float = ranged(0.2, 2.5, log=True)  # seconds
    box_level: float = ranged(0.22, 2.0, log=True, limits=(0.15, 2.3))  # common factor of jitter and drift
    centre_share: float = ranged(0.45, 1.0, log=True)  # error of the centre over the error of the size
    cover_jitter: float = ranged(-0.5, 2, limits=POSITIVE)  # growth of the errors under cover
    gait: float = ranged(0.003, 0.25, log=True)  # width that swings with the steps and that annotators smooth
    width_bias: float = ranged(-0.15, 0.25)  # log of the mean width error
    height_bias: float = ranged(-0.07, 0.05)  # log of the mean height error
    shrink: float = ranged(-0.25, 0.9, limits=SHARE)  # how often a covered box shrinks to its visible part
    part_loss: float = ranged(0, 5, limits=POSITIVE)  # logits lost by a box that misses all of the object
    shrink_time: float = ranged(0.05, 1.5, log=True)  # seconds between changes of that
    clip: float = ranged(0.0, 1.0, limits=SHARE)  # share of the truncated boxes that end at the image border
    duplicates: float = ranged(0.0005, 0.1, log=True)  # objects with a second box, per object and frame
    splits: float = ranged(0.0003, 0.05, log=True)  # objects found as a part only
    merges: float = ranged(0.0005, 0.25, log=True)  # strongly overlapping pairs found as one box
    nms_overlap: float = ranged(
        0.3, 0.9, limits=(0.2, 0.95)
    )  # a box that overlaps a better one more is suppressed (IoU)
    clutter_places: float = ranged(-1.5, 5, limits=POSITIVE)  # static things in view that look like an object
    clutter_quality: float = ranged(-5.0, 0.0)  # their mean quality above ``threshold``, logits
    random_rate: float = ranged(0.0005, 1.0, log=True, limits=(0.0, 1.8))  # others that start per frame, at threshold 0
    random_time: float = ranged(0.02, 0.5, log=True)  # how long they last, seconds
    random_tail: float = ranged(0.15, 1.4, log=True)  # mean quality of them above ``threshold``, logits
    temperature: float = ranged(0.7, 2.5, log=True)  # quality per logit of the score
    curve: str = choice("power", "saturating", "plateau", held_out=("staircase",))  # see calibration.py
    curve_shape: float = ranged(0.4, 2.5, log=True)
    scale: str = choice("unit", "unit", "unit", "raw", "logit", held_out=("percent",))
    digits: int = choice(0, 1, 2, 2)  # decimals of the reported boxes
