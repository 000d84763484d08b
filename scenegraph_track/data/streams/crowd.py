"""The agents of a scene step by step: goals, groups, stops, contact, and their coming and going."""

from __future__ import annotations

import numpy as np

from scenegraph_track.data.streams.camera import CameraPath
from scenegraph_track.data.streams.parameters import MotionParameters
from scenegraph_track.data.streams.view import View

KINDS = ("walk", "stand", "athlete", "dancer", "vehicle", "cyclist")
WALK, STAND, ATHLETE, DANCER, VEHICLE, CYCLIST = range(6)
_GROUND_STEP = 1.0  # metres between the places tried on the way back out of the view


def field_size(camera_middle: float, half_width: float) -> float:
    """Return the half extent in metres of a field that is somewhat wider than the view at the middle depth."""
    return 1.1 * camera_middle * half_width


class Crowd:
    """The state of all slots, advanced step by step."""

    def __init__(
        self,
        p: MotionParameters,
        rng: np.random.Generator,
        camera: CameraPath,
        play: np.ndarray,
        step: float,
        view: View,
    ) -> None:
        self.p, self.rng, self.camera, self.play, self.step, self.view = p, rng, camera, play, step, view
        weights = np.array([getattr(p, f"{name}_weight") for name in KINDS])
        self.weights = weights / weights.sum()
        self.slots = n = max(1, round(p.objects))
        self.pos, self.vel, self.way, self.facing = (np.zeros((n, 2)) for _ in range(4))
        self.offset, self.course, self.home = (np.zeros((n, 2)) for _ in range(3))
        self.speed, self.relax, self.gain, self.agility = (np.ones(n) for _ in range(4))
        self.timer, self.wake, self.since = np.full(n, np.inf), np.zeros(n), np.zeros(n)
        self.life, self.kind, self.lead = np.full(n, -1), np.zeros(n, int), np.full(n, -1)
        self.active, self.go, self.door = np.zeros(n, bool), np.ones(n, bool), np.zeros(n, bool)
        self.kinds: list[int] = []
        self.stays = bool(self.weights[ATHLETE] + self.weights[DANCER] > 0.5)
        self.centre = view.eye + view.ahead * camera.middle_depth
        self.field = field_size(camera.middle_depth, float(np.median(camera.half_width)))
        self.nearest = camera.middle_depth * p.near_factor
        self.clusters = view.places(rng, max(1, n // 6), self.nearest, 0.15)
        self.formation = rng.standard_normal((n, 2))
        self.next_formation = 0.0
        full = self.rng.random(n) < 0.8 if not self.stays else np.ones(n, bool)
        full[0] = True
        self._spawn(np.flatnonzero(full), 0.0, inside=True)
        self.wake[~full] = self.rng.exponential(p.wait_time, (~full).sum())

    def advance(self, now: float, view: View, play: np.ndarray, noise: np.ndarray, veer: np.ndarray) -> None:
        """Advance everything by one step, to the present view and centre of play."""
        p, active, kind = self.p, self.active, self.kind
        self.view, self.play = view, play
        born = ~active & (self.wake <= now)
        if born.any():
            self._spawn(np.flatnonzero(born), now, inside=False)
        if self.weights[DANCER] > 0 and now >= self.next_formation:
            self._new_formation(now)
        due = active & (self.timer <= now)
        if due.any():
            self._change(np.flatnonzero(due), now)
        follows = self.lead >= 0
        if follows.any():
            lead = self.lead[follows]
            self.way[follows] = self.pos[lead] + self.offset[follows] + self.vel[lead] * self.relax[lead, None]
            self.go[follows] |= self.go[lead]
        to = self.way - self.pos
        distance = np.hypot(to[:, 0], to[:, 1])
        pace = self.speed * self.go * np.minimum(1, distance / (1.2 * self.speed * self.relax + 0.05))
        apart = self.pos[:, None] - self.pos[None]
        gap = np.hypot(apart[..., 0], apart[..., 1])
        gap[:, ~active] = 1e6
        np.fill_diagonal(gap, 1e6)
        if self.weights[VEHICLE] > 0:
            pace = np.minimum(pace, self._free_road(apart, gap))
        unit = to / np.maximum(distance, 1e-6)[:, None]
        veer = veer * ((kind == WALK) | (kind == CYCLIST))
        unit = unit + np.stack([-unit[:, 1], unit[:, 0]], -1) * veer[:, None]
        push = np.exp((0.45 - gap) * (1 / p.repulsion_range)) / np.maximum(gap, 0.05)
        push *= p.repulsion * (kind != VEHICLE)[:, None]
        acceleration = (unit * pace[:, None] - self.vel) * self.gain[:, None]
        acceleration += push.sum(1)[:, None] * self.pos - push @ self.pos
        acceleration += noise * (self.go & (kind != VEHICLE) & (kind != STAND))[:, None]
        size = np.hypot(acceleration[:, 0], acceleration[:, 1])
        acceleration *= np.minimum(1, self.agility / np.maximum(size, 1e-6))[:, None]
        self.vel += acceleration * self.step
        self.vel[~active] = 0
        self.pos += self.vel * self.step
        self.facing += self.vel * (2 * self.step)
        self.facing /= np.maximum(np.hypot(self.facing[:, 0], self.facing[:, 1]), 1e-6)[:, None]
        if not self.stays:
            self._leave(now, distance)

    def _spawn(self, who: np.ndarray, now: float, inside: bool) -> None:
        p, rng, n = self.p, self.rng, len(who)
        kind = rng.choice(len(KINDS), n, p=self.weights)
        self.kind[who] = kind
        self.life[who] = len(self.kinds) + np.arange(n)
        self.kinds += kind.tolist()
        self.active[who], self.go[who], self.lead[who] = True, True, -1
        self.since[who] = now
        spread = np.exp(p.speed_spread * rng.standard_normal(n))
        speed = np.select(
            [kind == VEHICLE, kind == CYCLIST, kind == ATHLETE, kind == DANCER],
            [p.vehicle_speed, 3.5 * p.walk_speed, 0.5 * p.sprint_speed, 2.0],
            p.walk_speed,
        )
        self.speed[who] = speed * spread
        self.relax[who] = np.where(
            kind == VEHICLE, 1.5, np.where((kind == ATHLETE) | (kind == DANCER), 0.4, 1.0) * p.relax_time
        )
        self.gain[who] = -np.expm1(-self.step / self.relax[who]) / self.step
        self.agility[who] = np.select([kind == VEHICLE, (kind == ATHLETE) | (kind == DANCER)], [3.5, p.agility], 4.0)
        self.home[who] = through = self.view.places(rng, n, self.nearest)
        lumped = (kind == STAND) & (rng.random(n) < p.cluster)
        heap = self.clusters[rng.integers(len(self.clusters), size=n)] + rng.standard_normal((n, 2)) * 0.8
        through[lumped] = heap[lumped]
        self.home[who] = through
        along = rng.random(n) < p.flow_order
        angle = np.where(along, p.flow_angle, rng.uniform(-np.pi, np.pi, n))
        angle += np.where(along & (rng.random(n) > p.flow_balance), np.pi, 0)
        angle += np.where(along, rng.standard_normal(n) * p.flow_spread, 0)
        course = np.cos(angle)[:, None] * self.view.right + np.sin(angle)[:, None] * self.view.ahead
        self.course[who] = course
        self.door[who] = rng.random(n) < p.door_share
        start = through
        if not inside:
            start = np.where(self.door[who, None], through, self._way_in(through, course, self.speed[who], kind))
        self.pos[who] = start
        still = (kind == STAND) & (inside | self.door[who])
        self.vel[who] = course * self.speed[who, None] * ~still[:, None]
        facing = np.where(still[:, None], rng.standard_normal((n, 2)), course)
        self.facing[who] = facing / np.maximum(np.hypot(facing[:, 0], facing[:, 1]), 1e-6)[:, None]
        self.way[who] = np.where((kind == STAND)[:, None], through, through + course * 200)
        reach = rng.uniform(0.3, 1.5, n) * self.camera.middle_depth
        ends = self.door[who] & (kind == WALK) & (rng.random(n) < 0.5)
        self.way[who[ends]] = (through + course * reach[:, None])[ends]
        self.timer[who] = now + rng.exponential(1 / p.stop_rate, n)
        playing = (kind == ATHLETE) | (kind == DANCER)
        if playing.any():
            self._cast(who[playing], now)
        self._join(who[kind == WALK], now, inside)

    def _way_in(self, through: np.ndarray, course: np.ndarray, speed: np.ndarray, kind: np.ndarray) -> np.ndarray:
        """Go back from a place in the view, against the motion relative to the camera, until out of the view."""
        relative = course * speed[:, None] - self.view.velocity
        pace = np.maximum(np.hypot(relative[:, 0], relative[:, 1]), 1e-6)
        tries = np.arange(1, 1 + int(2.5 * self.view.far / _GROUND_STEP)) * _GROUND_STEP
        places = through[:, None] - (relative / pace[:, None])[:, None] * tries[:, None]
        margin = np.where(kind == VEHICLE, 4.0, 0.8)[:, None]
        first = self.view.outside(places, margin).argmax(1)
        return places[np.arange(len(through)), first]

    def _join(self, who: np.ndarray, now: float, inside: bool) -> None:
        """Let some newcomers walk with an agent that came shortly before."""
        p, rng = self.p, self.rng
        for i in who[rng.random(len(who)) < p.group_share]:
            near = self.active & (self.lead < 0) & (self.kind == WALK) & (now - self.since < 3)
            near &= self.life < self.life[i]
            if inside:
                near &= np.arange(self.slots) > i - 4
            if not near.any():
                continue
            leader = rng.choice(np.flatnonzero(near))
            angle = rng.uniform(0, 2 * np.pi)
            self.lead[i] = leader
            self.offset[i] = rng.uniform(0.5, 1.1) * np.array([np.cos(angle), np.sin(angle)])
            self.pos[i] = self.pos[leader] + self.offset[i]
            self.vel[i], self.facing[i], self.course[i] = self.vel[leader], self.facing[leader], self.course[leader]
            self.speed[i] = 1.3 * self.speed[leader]
            self.way[i], self.door[i] = self.way[leader], self.door[leader]

    def _cast(self, who: np.ndarray, now: float) -> None:
        """Give athletes and dancers their places."""
        p, rng, n = self.p, self.rng, len(who)
        self.home[who] = rng.standard_normal((n, 2)) * np.array([0.45, 0.35]) * self.field
        self.timer[who] = now
        athletes = who[self.kind[who] == ATHLETE]
        others = np.flatnonzero(self.kind == ATHLETE)
        self.pos[who] = self.centre + self.home[who]
        if len(others) > 1:
            for i in athletes[rng.random(len(athletes)) < p.marking]:
                leader = rng.choice(others)
                if leader != i and self.lead[leader] < 0:
                    self.lead[i] = leader
                    self.offset[i] = rng.standard_normal(2) * 0.7

    def _new_formation(self, now: float) -> None:
        p, rng, n = self.p, self.rng, self.slots
        order = rng.permutation(n)
        shape = rng.integers(4)
        if shape == 0:
            rows = max(1, round(np.sqrt(n / 2)))
            places = np.stack([order // rows, order % rows], -1) * p.dance_spacing
        elif shape == 1:
            angle = 2 * np.pi * order / n
            places = np.stack([np.cos(angle), np.sin(angle)], -1) * p.dance_spacing * n / (2 * np.pi)
        elif shape == 2:
            places = np.stack([order, np.abs(order - n / 2)], -1) * p.dance_spacing * 0.8
        else:
            places = rng.standard_normal((n, 2)) * p.dance_spacing * np.sqrt(n) * 0.5
        self.formation = places - places.mean(0)
        self.next_formation = now + p.dance_change * rng.uniform(0.6, 1.6)
        dancers = self.kind == DANCER
        self.timer[dancers] = now + rng.uniform(0, 0.5, dancers.sum())

    def _change(self, who: np.ndarray, now: float) -> None:
        """Let agents whose timer has run out change what they do."""
        p, rng = self.p, self.rng
        for kind in np.unique(self.kind[who]):
            some = who[self.kind[who] == kind]
            n = len(some)
            if kind == ATHLETE:
                drawn = self.home[some] + self.play + rng.standard_normal((n, 2)) * 0.12 * self.field
                self.way[some] = self.centre + drawn
                self.speed[some] = p.sprint_speed * rng.choice([0.15, 0.3, 0.6, 1.0], n)
                self.timer[some] = now + rng.exponential(p.change_time, n)
                stray = rng.random(n) < 0.05
                self.home[some[stray]] = rng.standard_normal((stray.sum(), 2)) * 0.4 * self.field
            elif kind == DANCER:
                place = self.formation[some] + rng.standard_normal((n, 2)) * p.dance_step
                self.way[some] = self.centre + place
                self.speed[some] = rng.uniform(0.6, 3.0, n)
                self.timer[some] = now + rng.uniform(0.3, 1.2, n)
            elif kind == STAND:
                shift = rng.standard_normal((n, 2)) * 0.25
                leaves = rng.random(n) < 0.08
                self.way[some] = np.where(leaves[:, None], self.course[some] * 200, 0) + self.home[some] + shift
                self.timer[some] = now + rng.exponential(4.0 * p.stop_time, n)
            else:
                self._stop_or_turn(some, now)

    def _stop_or_turn(self, some: np.ndarray, now: float) -> None:
        p, rng, n = self.p, self.rng, len(some)
        stops = self.go[some] & (rng.random(n) < 0.8)
        turns = self.go[some] & ~stops & ((self.kind[some] != VEHICLE) | (rng.random(n) < p.turn_share))
        self.go[some] = ~stops
        angle = np.where(turns, rng.normal(0, 1, n) + np.where(rng.random(n) < 0.1, np.pi, 0), 0)
        course = self.course[some]
        turned = np.stack(
            [
                course[:, 0] * np.cos(angle) - course[:, 1] * np.sin(angle),
                course[:, 0] * np.sin(angle) + course[:, 1] * np.cos(angle),
            ],
            -1,
        )
        self.course[some] = turned
        self.way[some[turns]] = (self.pos[some] + turned * 200)[turns]
        wait = np.where(stops, rng.exponential(p.stop_time, n), rng.exponential(1 / p.stop_rate, n))
        self.timer[some] = now + wait

    def _free_road(self, apart: np.ndarray, gap: np.ndarray) -> np.ndarray:
        """Return the speed at which each vehicle can still stop behind what is ahead of it, metres per second."""
        ahead = -(apart * self.facing[:, None]).sum(-1)
        beside = np.sqrt(np.maximum(gap**2 - ahead**2, 0))
        clear = np.where((ahead > 0) & (beside < 1.8), ahead, 1e6).min(1)
        return np.where(self.kind == VEHICLE, np.maximum(clear - 6, 0) / 1.5, np.inf)

    def _leave(self, now: float, distance: np.ndarray) -> None:
        margin = np.where(self.kind == VEHICLE, 6.0, 1.6)
        gone = self.view.outside(self.pos, margin) & (now - self.since > 1)
        gone |= self.door & (self.kind == WALK) & (distance < 0.5) & (self.lead < 0)
        gone &= self.active
        if gone.any():
            self.active[gone] = False
            self.wake[gone] = now + self.step + self.rng.exponential(self.p.wait_time, gone.sum())
            self.lead[gone | np.isin(self.lead, np.flatnonzero(gone))] = -1
