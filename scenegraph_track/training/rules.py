"""Train the three small rules of ``tracking.emission`` on simulated detection streams.

``python -m scenegraph_track.training.rules`` makes the file that ships in the package: about ten minutes on one core.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save
from scipy.optimize import linear_sum_assignment

from scenegraph_track.config import TrackerSettings, load_config
from scenegraph_track.data.streams import PRESETS, Stream, simulate
from scenegraph_track.errors import UserError
from scenegraph_track.files import atomic_write, same_bytes
from scenegraph_track.structures import Tracks
from scenegraph_track.tracking.emission import RULES, Rule, weights_path
from scenegraph_track.tracking.interpolation import interpolate
from scenegraph_track.tracking.linking import Ends, link_candidates
from scenegraph_track.tracking.matching import box_iou
from scenegraph_track.tracking.prediction import predicted_features
from scenegraph_track.tracking.reference import associate, start_state
from scenegraph_track.tracking.situation import prepare

Samples = dict[str, tuple[np.ndarray, np.ndarray]]


def samples_of(stream: Stream, settings: TrackerSettings, annotates_hidden: bool) -> Samples:
    """Features and outcomes of every decision that the reference tracker meets in a stream.

    Args:
        stream: A simulated sequence.
        settings: Of the tracker.
        annotates_hidden: Whether a fully hidden object counts as present, as in some benchmarks and not in others.
    """
    size = stream.image_size
    state = start_state()
    predicted: list[tuple[np.ndarray, np.ndarray]] = []
    seen: dict[str, list[np.ndarray]] = {"frames": [], "ids": [], "boxes": [], "scores": [], "truth": []}
    for frame in range(stream.frames):
        boxes, scores, _ = stream.detections(frame)
        state, decided = associate(prepare(state, settings, frame / stream.frame_rate, boxes, scores, image_size=size))
        truth_ids, truth_boxes, visibility, _ = stream.truth(frame)
        present = np.ones(len(truth_ids), dtype=bool) if annotates_hidden else visibility > 0.1
        found = decided.detection >= 0
        owner = _owners(decided.boxes[found], truth_boxes[present])
        seen["frames"].append(np.full(found.sum(), frame))
        seen["ids"].append(decided.tracks.ids[found])
        seen["boxes"].append(decided.boxes[found])
        seen["scores"].append(decided.tracks.scores[found])
        seen["truth"].append(np.where(owner >= 0, truth_ids[present][owner] if present.any() else 0, 0))
        hidden = np.flatnonzero(~found & ~decided.left)
        if len(hidden):
            free = np.setdiff1d(np.arange(present.sum()), owner)
            hit = _owners(decided.boxes[hidden], truth_boxes[present][free]) >= 0
            predicted.append((predicted_features(state, decided, size, hidden), hit))
    columns = {name: np.concatenate(values) for name, values in seen.items()}
    truth = columns.pop("truth")
    samples: Samples = {}
    if predicted:
        samples["predicted"] = tuple(np.concatenate(part) for part in zip(*predicted, strict=True))
    if len(truth) == 0:
        return samples
    tracks = Tracks.from_arrays(**columns)
    order = np.lexsort((columns["ids"], columns["frames"]))
    samples |= _offline_samples(tracks, truth[order], stream, settings, annotates_hidden)
    return samples


def _offline_samples(
    tracks: Tracks, truth: np.ndarray, stream: Stream, settings: TrackerSettings, annotates_hidden: bool
) -> Samples:
    samples: Samples = {}
    ends = Ends.of(tracks, tracks.ids.numpy(), stream.frame_rate, stream.image_size)
    first, second, features = link_candidates(ends, settings.offline.gap_seconds)
    head, tail = _identity_at_ends(tracks, truth, ends.ids)
    known = (tail[first] > 0) | (head[second] > 0)
    if known.any():
        samples["link"] = features[known], (tail[first] == head[second])[known]
    # gaps as they are after perfect linking, together with those inside tracks
    names = ends.ids.copy()
    for i, j in zip(first, second):
        if (
            tail[i] > 0
            and tail[i] == head[j]
            and not ((first == i) & (ends.start[second] < ends.start[j]) & (head[second] == tail[i])).any()
        ):
            names[names == names[j]] = names[i]
    ids = names[np.searchsorted(ends.ids, tracks.ids.numpy())]
    key = tracks.frames.numpy() * (ids.max() + 1) + ids
    _, once = np.unique(key, return_index=True)
    linked = Tracks.from_arrays(tracks.frames[once], ids[once], tracks.boxes[once], tracks.scores[once])
    filled, features = interpolate(linked, stream.frame_rate, stream.image_size, settings.offline.gap_seconds)
    if len(filled) == 0:
        return samples
    hit = np.zeros(len(filled), dtype=bool)
    when = filled.frames.numpy()
    boxes = filled.boxes.numpy()
    shown, shown_truth = tracks.frames.numpy(), truth
    for frame in np.unique(when):
        rows = np.flatnonzero(when == frame)
        ids_, truth_boxes, visibility, _ = stream.truth(int(frame))
        a, b = np.searchsorted(shown, [frame, frame + 1])
        free = ~np.isin(ids_, shown_truth[a:b]) & (annotates_hidden | (visibility > 0.1))
        hit[rows] = _owners(boxes[rows], truth_boxes[free]) >= 0
    samples["interpolated"] = features, hit
    return samples


def _owners(boxes: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(N,) row of the true box that each box is matched to at IoU > 0.5, or -1."""
    owner = np.full(len(boxes), -1)
    if len(boxes) and len(truth):
        overlap = box_iou(boxes, truth)
        rows, columns = linear_sum_assignment(-np.where(overlap > 0.5, overlap, 0))
        kept = overlap[rows, columns] > 0.5
        owner[rows[kept]] = columns[kept]
    return owner


def _identity_at_ends(tracks: Tracks, truth: np.ndarray, names: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The true identity that the first and the last ten boxes of each tracklet mostly lie on (0: none)."""
    ids = tracks.ids.numpy()
    order = np.argsort(ids, kind="stable")
    begin = np.searchsorted(ids[order], names)
    stop = np.searchsorted(ids[order], names, side="right")
    heads, tails = np.zeros(len(names), dtype=np.int64), np.zeros(len(names), dtype=np.int64)
    for k, (b, e) in enumerate(zip(begin, stop)):
        own = truth[order[b:e]]
        heads[k], tails[k] = np.bincount(own[:10]).argmax(), np.bincount(own[-10:]).argmax()
    return heads, tails


def collect(seeds: range, frames: int, settings: TrackerSettings, split: str) -> Iterator[tuple[str, Samples]]:
    """Samples of one stream of every preset and seed."""
    for seed in seeds:
        for preset in sorted(set(PRESETS) - {"mixed"}):
            stream = simulate(preset=preset, seed=seed, split=split, frames=frames)
            yield preset, samples_of(stream, settings, annotates_hidden=seed % 2 == 0)


def fit(features: np.ndarray, outcome: np.ndarray, seed: int, hidden: int = 24, epochs: int = 30) -> Rule:
    """Fit a perceptron by cross entropy (Adam, cosine schedule)."""
    centre, scale = features.mean(0), features.std(0) + 1e-3
    x = torch.from_numpy(np.clip((features - centre) / scale, -6, 6)).float()
    y = torch.from_numpy(outcome).float()
    width = features.shape[1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = torch.nn.Sequential(
            torch.nn.Linear(width, hidden),
            torch.nn.ReLU(),
            torch.nn.Linear(hidden, hidden),
            torch.nn.ReLU(),
            torch.nn.Linear(hidden, 1),
        )
    optimiser = torch.optim.AdamW(net.parameters(), 3e-3, weight_decay=1e-3)
    batch = 1024
    steps = epochs * (len(x) // batch + 1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        rows = torch.randint(len(x), (batch,), generator=generator)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(net(x[rows])[:, 0], y[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    layers = [layer for layer in net if isinstance(layer, torch.nn.Linear)]
    weights = tuple(layer.weight.detach().double().numpy().T.copy() for layer in layers)
    return Rule(centre, scale, weights, tuple(layer.bias.detach().double().numpy() for layer in layers))


def quality(rule: Rule, features: np.ndarray, outcome: np.ndarray, threshold: float) -> dict[str, float]:
    """Log loss beside that of the base rate; how often the rule is right when it says yes, and how often it does."""
    chance = np.clip(rule(features), 1e-6, 1 - 1e-6)
    base = np.clip(outcome.mean(), 1e-6, 1 - 1e-6)
    loss = -np.where(outcome, np.log(chance), np.log(1 - chance)).mean()
    base_loss = -(base * np.log(base) + (1 - base) * np.log(1 - base))
    yes = chance >= threshold
    return {
        "samples": len(outcome),
        "base_rate": round(float(base), 4),
        "log_loss": round(float(loss), 4),
        "log_loss_of_base_rate": round(float(base_loss), 4),
        "precision": round(float(outcome[yes].mean()) if yes.any() else 0.0, 4),
        "recall": round(float((outcome & yes).sum() / max(outcome.sum(), 1)), 4),
    }


def train(out: Path, sequences: int = 60, frames: int = 300, seed: int = 0) -> dict[str, dict[str, float]]:
    """Collect samples, fit the rules, write them with their held-out figures, and return those."""
    settings = load_config("reference").tracker
    pools: dict[str, dict[str, list[tuple[np.ndarray, np.ndarray]]]] = {
        s: {n: [] for n in RULES} for s in ("train", "val")
    }
    for split, seeds in (("train", range(seed, seed + sequences)), ("val", range(seed, seed + max(2, sequences // 8)))):
        for _, samples in collect(seeds, frames, settings, split):
            for name, pair in samples.items():
                pools[split][name].append(pair)
    tensors: dict[str, np.ndarray] = {}
    figures = {}
    limits = {
        "predicted": settings.show.predicted,
        "link": settings.offline.link,
        "interpolated": settings.show.interpolated,
    }
    for name in RULES:
        if not (pools["train"][name] and pools["val"][name]):
            raise UserError(f"rule {name}: expected samples, found none in {sequences} sequences of {frames} frames")
        features, outcome = (np.concatenate(part) for part in zip(*pools["train"][name], strict=True))
        rule = fit(features, outcome, seed)
        tensors |= rule.tensors(name)
        held_out = (np.concatenate(part) for part in zip(*pools["val"][name], strict=True))
        figures[name] = quality(rule, *held_out, limits[name])
    recipe = {"sequences": sequences, "frames": frames, "seed": seed, "presets": sorted(set(PRESETS) - {"mixed"})}
    metadata = {"format": "scenegraph-track rules 1", "recipe": json.dumps(recipe), "held_out": json.dumps(figures)}
    with atomic_write(out, "wb") as file:
        file.write(
            same_bytes(save({k: np.ascontiguousarray(v, dtype=np.float32) for k, v in tensors.items()}, metadata))
        )
    return figures


def main() -> None:
    """Train the rules from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--out", type=Path, default=weights_path(), help="file to write (default: the one in the package)"
    )
    parser.add_argument("--sequences", type=int, default=60, help="sequences of each preset")
    parser.add_argument("--frames", type=int, default=300, help="frames of each sequence")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    figures = train(arguments.out, arguments.sequences, arguments.frames, arguments.seed)
    for name, values in figures.items():
        print(name, json.dumps(values))  # noqa: T201 (the report of a training script)


if __name__ == "__main__":
    main()
