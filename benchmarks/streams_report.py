"""Statistics of simulated detection streams beside those of recorded sequences.

    python benchmarks/streams_report.py [--data DIR] [--json FILE] [--seeds N] [--split train]

DIR holds sets; a set holds sequences in MOTChallenge layout (``gt/gt.txt``, ``det/det.txt``, ``seqinfo.ini``).
The simulator is meant to cover the recorded ranges, not to match any one of them: the last table gives, for each
statistic, the share of recorded sequences that lie inside the central 90 % of the simulated ones, and those that lie
outside the whole simulated range.
"""

from __future__ import annotations

import argparse
import configparser
import itertools
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

from scenegraph_track.data.streams import PRESETS, SPLITS, simulate

SETS = ("mot15_frcnn", "mot20_01", "sportsmot_noisy")
COVER_BINS = (0.0, 0.1, 0.35, 0.65, 1.01)


@dataclass(frozen=True)
class Rows:
    """Truth and detections of a sequence: frames from 0, boxes xyxy; cover is the share hidden by nearer boxes."""

    frame_rate: float
    frames: int
    image_size: tuple[int, int]
    truth_frame: np.ndarray
    truth_id: np.ndarray
    truth_boxes: np.ndarray
    det_frame: np.ndarray
    det_boxes: np.ndarray
    det_scores: np.ndarray


def read(folder: Path) -> Rows:
    """Read a sequence; rows of the truth that are marked as ignored or are no pedestrians are left out."""
    info = configparser.ConfigParser()
    info.read(folder / "seqinfo.ini")
    section = info["Sequence"]
    truth = np.loadtxt(folder / "gt/gt.txt", delimiter=",", ndmin=2)
    detections = np.loadtxt(folder / "det/det.txt", delimiter=",", ndmin=2)
    truth = truth[truth[:, 6] > 0]
    if truth.shape[1] == 9 and truth[:, 7].min() >= 1:
        truth = truth[truth[:, 7] == 1]
    return Rows(
        float(section["frameRate"]),
        int(section["seqLength"]),
        (int(section["imWidth"]), int(section["imHeight"])),
        truth[:, 0].astype(int) - 1,
        truth[:, 1].astype(int),
        np.hstack([truth[:, 2:4], truth[:, 2:4] + truth[:, 4:6]]),
        detections[:, 0].astype(int) - 1,
        np.hstack([detections[:, 2:4], detections[:, 2:4] + detections[:, 4:6]]),
        detections[:, 6],
    )


def simulated(preset: str, seed: int, split: str) -> Rows:
    """Simulate a sequence."""
    s = simulate(preset, seed, split)
    return Rows(
        s.frame_rate, s.frames, s.image_size, s.truth_frame, s.truth_id, s.truth_boxes, s.det_frame, s.det_boxes,
        s.det_scores,
    )  # fmt: skip


def overlaps(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return IoU (A, B) and the share of each box of ``a`` inside each box of ``b``."""
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(-1)
    area_a, area_b = (a[:, 2:] - a[:, :2]).prod(-1), (b[:, 2:] - b[:, :2]).prod(-1)
    return shared / (area_a[:, None] + area_b - shared), shared / area_a[:, None]


def statistics(r: Rows) -> dict[str, float]:
    """Measure one sequence.

    Occlusion is measured the same way for every source: a box is covered by another of the truth if that one's lower
    edge lies lower in the image.
    """
    matched = np.full(len(r.truth_frame), -1)
    cover, crowded = np.zeros(len(r.truth_frame)), np.zeros(len(r.truth_frame), bool)
    true_positive = np.zeros(len(r.det_frame), bool)
    for frame in range(r.frames):
        t, d = np.flatnonzero(r.truth_frame == frame), np.flatnonzero(r.det_frame == frame)
        if len(t) == 0:
            continue
        boxes = r.truth_boxes[t]
        iou, share = overlaps(boxes, boxes)
        np.fill_diagonal(iou, 0)
        crowded[t] = iou.max(1) > 0.3
        nearer = boxes[None, :, 3] > boxes[:, None, 3]
        cover[t] = np.max(share * nearer, axis=1)
        if len(d) == 0:
            continue
        iou = overlaps(boxes, r.det_boxes[d])[0]
        rows, columns = linear_sum_assignment(-np.where(iou >= 0.5, 1 + iou, 0))
        good = iou[rows, columns] >= 0.5
        matched[t[rows[good]]] = d[columns[good]]
        true_positive[d[columns[good]]] = True
    out = {
        "frame_rate": r.frame_rate,
        "objects/frame": len(r.truth_frame) / r.frames,
        "dets/frame": len(r.det_frame) / r.frames,
        "recall": float((matched >= 0).mean()),
        "precision": float(true_positive.mean()) if len(true_positive) else np.nan,
        "overlapped": float(crowded.mean()),
    }
    for low, high in itertools.pairwise(COVER_BINS):
        bin_ = (cover >= low) & (cover < high)
        out[f"miss|cover {low:g}-{min(high, 1):g}"] = float((matched[bin_] < 0).mean()) if bin_.sum() >= 30 else np.nan
    size = r.truth_boxes[:, 2:] - r.truth_boxes[:, :2]
    centre = (r.truth_boxes[:, 2:] + r.truth_boxes[:, :2]) / 2
    out["height/image"] = float(np.median(size[:, 1])) / r.image_size[1]
    aspect = size[:, 0] / size[:, 1]
    out["aspect"], out["aspect p95/p5"] = float(np.median(aspect)), float(np.divide(*np.quantile(aspect, [0.95, 0.05])))
    order = np.lexsort((r.truth_frame, r.truth_id))
    frame, identity, centre, height = r.truth_frame[order], r.truth_id[order], centre[order], size[order, 1]
    # over a fifth of a second, so that rounded annotations do not count as motion
    lag = max(1, round(r.frame_rate / 5))
    velocity, follows = np.zeros_like(centre), np.zeros(len(frame), bool)
    follows[lag:] = (identity[lag:] == identity[:-lag]) & (frame[lag:] == frame[:-lag] + lag)
    velocity[lag:] = (centre[lag:] - centre[:-lag]) / height[lag:, None] * r.frame_rate / lag
    speed = np.hypot(*velocity[follows].T)
    twice = follows.copy()
    twice[lag:] &= follows[:-lag]
    twice[:lag] = False
    change = np.zeros_like(velocity)
    change[lag:] = (velocity[lag:] - velocity[:-lag]) * r.frame_rate / lag
    acceleration = np.hypot(*change[twice].T)
    for key, values in (("speed", speed), ("accel", acceleration)):
        for q, label in ((0.5, "median"), (0.9, "p90")):
            out[f"{key} {label}"] = float(np.quantile(values, q)) if len(values) else np.nan
    hit = matched[order] >= 0
    where, who = frame[hit], identity[hit]
    gaps = np.diff(where)[(np.diff(who) == 0) & (np.diff(where) > 1)] - 1
    gaps = gaps / r.frame_rate
    for q, label in ((0.5, "median"), (0.9, "p90"), (0.99, "p99")):
        out[f"gap {label} s"] = float(np.quantile(gaps, q)) if len(gaps) >= 10 else np.nan
    out["gaps/object/s"] = len(gaps) / (len(frame) / r.frame_rate)
    out["track median s"] = float(np.median(np.unique(identity, return_counts=True)[1])) / r.frame_rate
    out |= box_errors(r.truth_boxes[matched >= 0], r.det_boxes[matched[matched >= 0]])
    out["score AUC"] = auc(r.det_scores, true_positive)
    low, middle, high = np.quantile(r.det_scores, [0, 0.5, 1]) if len(r.det_scores) else (np.nan,) * 3
    out["score min"], out["score median"], out["score max"] = float(low), float(middle), float(high)
    fifth = np.clip((r.det_scores - low) / (high - low + 1e-9) * 5, 0, 4).astype(int)
    histogram = np.bincount(fifth, minlength=5) / max(1, len(fifth))
    for k, share in enumerate(histogram):
        out[f"score fifth {k + 1}"] = float(share)
    return out


def box_errors(true: np.ndarray, found: np.ndarray) -> dict[str, float]:
    """Compare matched boxes (N, 4): errors of centre and size in units of the true size."""
    true_size, found_size = true[:, 2:] - true[:, :2], found[:, 2:] - found[:, :2]
    off = np.abs((found[:, 2:] + found[:, :2] - true[:, 2:] - true[:, :2]) / 2) / true_size
    ratio = np.log(found_size / true_size)
    if len(true) == 0:
        nothing = np.full(2, np.nan)
        centre, bias, deviation = nothing, nothing, nothing
    else:
        centre, bias, deviation = np.median(off, axis=0), np.median(ratio, axis=0), ratio.std(0)
    return {
        "centre err x": float(centre[0]),
        "centre err y": float(centre[1]),
        "width bias": float(bias[0]),
        "height bias": float(bias[1]),
        "width err std": float(deviation[0]),
        "height err std": float(deviation[1]),
    }


def auc(scores: np.ndarray, true: np.ndarray) -> float:
    """Return the chance that a true positive scores higher than a false one."""
    if true.all() or not true.any():
        return float("nan")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    rank = np.cumsum(counts) - (counts - 1) / 2
    positives = true.sum()
    return float((rank[inverse][true].sum() - positives * (positives + 1) / 2) / positives / (~true).sum())


def spread(values: list[float]) -> str:
    """Return 5 %, median and 95 % as text."""
    values = [v for v in values if np.isfinite(v)]
    if not values:
        return "-"
    low, mid, high = np.quantile(values, [0.05, 0.5, 0.95])
    return f"{mid:.3g} [{low:.3g}, {high:.3g}]" if len(values) > 1 else f"{mid:.3g}"


def frames_per_second(seeds: int = 40) -> float:
    """Measure the simulator at 20 objects in frames per second of CPU time."""
    start = time.process_time()
    frames = sum(simulate("mixed", seed, frames=400, objects=20).frames for seed in range(1000, 1000 + seeds))
    return frames / (time.process_time() - start)


def print_table(title: str, columns: dict[str, dict[str, list[float]]], width: int = 22) -> None:
    """Print one row per statistic and one column per source."""
    print(f"\n{title}\n{'':20s}" + "".join(f"{name:>{width}s}" for name in columns))
    for key in next(iter(columns.values())):
        print(f"{key:20s}" + "".join(f"{spread(values[key]):>{width}s}" for values in columns.values()))


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of recorded sets")
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    parser.add_argument("--seeds", type=int, default=12, help="sequences per preset")
    parser.add_argument("--split", default="train", choices=list(SPLITS))
    args = parser.parse_args()
    names = [name for name in PRESETS if name != "mixed"]
    measured: dict[str, list[dict[str, float]]] = {
        name: [statistics(simulated(name, seed, args.split)) for seed in range(args.seeds)] for name in names
    }
    simulation = [one for name in names for one in measured[name]]
    real: dict[str, dict[str, float]] = {}
    for set_name in SETS if args.data else ():
        for folder in sorted((args.data / set_name).iterdir()):
            if (folder / "gt/gt.txt").exists() and (folder / "det/det.txt").exists():
                real[f"{set_name}/{folder.name}"] = statistics(read(folder))
    keys = list(simulation[0])

    def column(rows: list[dict[str, float]]) -> dict[str, list[float]]:
        return {key: [row[key] for row in rows] for key in keys}

    sources = {"all simulated": column(simulation)}
    for set_name in SETS:
        rows = [row for name, row in real.items() if name.startswith(set_name)]
        if rows:
            sources[set_name] = column(rows)
    print("median [5 %, 95 %] over sequences; speeds in box heights per second, box errors in units of the true size")
    print_table("simulated beside recorded", sources, 28)
    print_table("presets", {name: column(measured[name]) for name in names})
    result: dict[str, object] = {"streams_fps": frames_per_second(), "simulated": measured, "recorded": real}
    if real:
        coverage = {}
        print(f"\n{'coverage':20s}{'inside 5-95 %':>15s}  outside the simulated range")
        for key in keys:
            values = np.array([row[key] for row in simulation])
            values = values[np.isfinite(values)]
            low, high = np.quantile(values, [0.05, 0.95])
            known = {name: row[key] for name, row in real.items() if np.isfinite(row[key])}
            inside = float(np.mean([low <= v <= high for v in known.values()]))
            beyond = [f"{n.split('/')[1]} {v:.3g}" for n, v in known.items() if not values.min() <= v <= values.max()]
            coverage[key] = {"inside": inside, "outside": beyond}
            print(f"{key:20s}{inside:15.2f}  {', '.join(beyond)}")
        result["coverage"] = coverage
    print(f"\nstreams_fps {result['streams_fps']:.0f} (20 objects, one core, CPU time)")
    if args.json:
        args.json.write_text(json.dumps(result, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
