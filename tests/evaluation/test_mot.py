"""Figures of multi-object tracking: known values, parity with TrackEval's own file pipeline, errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scenegraph_track.errors import UserError
from scenegraph_track.evaluation.mot import evaluate, evaluate_sequence
from scenegraph_track.evaluation.preprocessing import Preprocessing
from scenegraph_track.evaluation.sources import ResultSource, TruthSource


def track(identity: int, frames: range, left: float = 0.0, width: float = 10.0, more: tuple = ()) -> np.ndarray:
    """Rows of an object that stands still."""
    return np.array([[f, identity, left, 0.0, width, 10.0, *more] for f in frames], float)


def random_truth(rng: np.random.Generator, frames: int = 40, objects: int = 12) -> np.ndarray:
    """Walkers of all classes, some not considered, with gaps."""
    start, speed = rng.uniform(0, 300, (objects, 2)), rng.normal(0, 3, (objects, 2))
    size, label = rng.uniform(30, 80, (objects, 2)), rng.choice([1, 1, 1, 2, 6, 7, 8, 11, 12, 13], objects)
    frame, who = (a.ravel() for a in np.meshgrid(np.arange(frames), np.arange(objects), indexing="ij"))
    here = rng.random(len(frame)) > 0.1
    frame, who = frame[here], who[here]
    place = start[who] + speed[who] * frame[:, None]
    flag = (rng.random(len(who)) > 0.1) & (label[who] == 1)
    return np.c_[frame + 1, who * 3, place, size[who], flag, label[who], rng.random(len(who))]


def perturbed(truth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What a tracker could make of it: jitter, misses, false boxes, identities that change and swap."""
    rows = truth[rng.random(len(truth)) > 0.15].copy()
    rows[:, 2:6] += rng.normal(0, 0.06, (len(rows), 4)) * np.c_[rows[:, 4:6], rows[:, 4:6]]
    rows[:, 1] += 1000 * (rows[:, 0] // rng.integers(10, 30))
    false = rows[rng.random(len(rows)) > 0.9].copy()
    false[:, 1] += 100_000
    false[:, 2:4] += 15
    rows = np.r_[rows, false][:, :7]
    rows[:, 6] = 1
    return np.c_[rows, -np.ones((len(rows), 3))]


def by_files(root: Path, sets: dict[str, tuple], preproc: bool, benchmark: str) -> dict[str, dict[str, dict]]:
    """Raw results of TrackEval's own pipeline, from text files."""
    import trackeval

    (root / "tracks" / "ours" / "data").mkdir(parents=True)
    for name, (truth, result, _) in sets.items():
        (root / "truth" / name / "gt").mkdir(parents=True)
        np.savetxt(root / "truth" / name / "gt" / "gt.txt", truth, fmt="%.17g", delimiter=",")
        np.savetxt(root / "tracks" / "ours" / "data" / f"{name}.txt", result, fmt="%.17g", delimiter=",")
    config = {
        "GT_FOLDER": str(root / "truth"),
        "TRACKERS_FOLDER": str(root / "tracks"),
        "SEQ_INFO": {name: frames for name, (_, _, frames) in sets.items()},
        "SKIP_SPLIT_FOL": True,
        "DO_PREPROC": preproc,
        "BENCHMARK": benchmark,
        "PRINT_CONFIG": False,
    }
    off = ("PRINT_RESULTS", "PRINT_CONFIG", "TIME_PROGRESS", "OUTPUT_SUMMARY", "OUTPUT_DETAILED", "PLOT_CURVES")
    quiet = {"PRINT_CONFIG": False}
    metrics = [trackeval.metrics.HOTA(), trackeval.metrics.CLEAR(quiet), trackeval.metrics.Identity(quiet)]
    evaluator = trackeval.Evaluator({**dict.fromkeys(off, False), "LOG_ON_ERROR": None})
    results, _ = evaluator.evaluate([trackeval.datasets.MotChallenge2DBox(config)], metrics)
    sequences = results["MotChallenge2DBox"]["ours"]
    return {name: result["pedestrian"] for name, result in sequences.items()}


def assert_parity(root: Path, sets: dict[str, tuple], preproc: bool, benchmark: str) -> None:
    theirs = by_files(root, sets, preproc, benchmark)
    ours = evaluate(
        {name: TruthSource(truth, frames=frames) for name, (truth, _, frames) in sets.items()},
        {name: result for name, (_, result, _) in sets.items()},
        benchmark=benchmark if preproc else "none",
    )
    for name, results in theirs.items():
        mine = ours.combined if name == "COMBINED_SEQ" else ours.sequences[name]
        for metric in ("HOTA", "CLEAR", "Identity", "Count"):
            for key, value in results[metric].items():
                if key in mine.raw[metric]:
                    np.testing.assert_allclose(mine.raw[metric][key], value, rtol=0, atol=1e-9, err_msg=f"{name} {key}")
        assert mine["HOTA"] == pytest.approx(100 * np.mean(results["HOTA"]["HOTA"]), abs=1e-9)
        assert mine["MOTA"] == pytest.approx(100 * results["CLEAR"]["MOTA"], abs=1e-9)
        assert mine["IDF1"] == pytest.approx(100 * results["Identity"]["IDF1"], abs=1e-9)
        assert mine["IDSW"] == results["CLEAR"]["IDSW"]


def swap(second: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Two objects over ten frames at IoU 0.9 whose result identities swap from a frame on."""
    truth = np.r_[track(1, range(1, 11)), track(2, range(1, 11), 100)]
    result = np.r_[
        track(1, range(1, second), 0, 9),
        track(2, range(second, 11), 0, 9),
        track(2, range(1, second), 100, 9),
        track(1, range(second, 11), 100, 9),
    ]
    return truth, result


def test_golden_vector() -> None:
    # The published definitions by hand: 18 of 19 thresholds are reached, each box shares a third of its track.
    found = evaluate_sequence(*swap(), 10)
    assert found["DetA"] == pytest.approx(100 * 18 / 19, abs=1e-9)
    assert found["AssA"] == pytest.approx(100 * 18 / 19 / 3, abs=1e-9)
    assert found["HOTA"] == pytest.approx(100 * 18 / 19 * np.sqrt(1 / 3), abs=1e-9)
    assert found["HOTA"] == pytest.approx(54.696, abs=5e-4)
    assert found["MOTA"] == pytest.approx(90.0, abs=1e-9)
    assert found["MOTP"] == pytest.approx(90.0, abs=1e-9)
    assert found["IDF1"] == pytest.approx(50.0, abs=1e-9)
    assert (found["IDSW"], found["TP"], found["FP"], found["FN"]) == (2, 20, 0, 0)
    assert (found["MT"], found["PT"], found["ML"], found["IDs"], found["GT_IDs"]) == (2, 0, 0, 2, 2)


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        # the truth itself: everything is 100
        (track(7, range(1, 11)), {"HOTA": 100, "MOTA": 100, "IDF1": 100, "LocA": 100, "IDSW": 0, "Frag": 0, "MT": 1}),
        # an identity that changes in the middle: association and IDF1 halve, detection does not
        (
            np.r_[track(1, range(1, 6)), track(2, range(6, 11))],
            {"DetA": 100, "AssA": 50, "HOTA": 100 * 0.5**0.5, "IDSW": 1, "MOTA": 90, "IDF1": 50, "IDs": 2},
        ),
        # a second box beside each true one: precision halves, one false positive a frame
        (
            np.r_[track(1, range(1, 11)), track(2, range(1, 11), 500)],
            {"DetA": 50, "DetRe": 100, "DetPr": 50, "Recall": 100, "Precision": 50, "MOTA": 0, "FP": 10, "FAF": 1},
        ),
        # the box astray for two frames with the identity kept: two misses, a fragment, no switch
        (
            np.r_[track(1, range(1, 5)), track(1, range(5, 7), 500), track(1, range(7, 11))],
            {"FN": 2, "FP": 2, "Frag": 1, "IDSW": 0, "MOTA": 60, "Recall": 80, "PT": 1, "MT": 0},
        ),
        # frames without any result box: misses, but TrackEval counts no fragment there
        (
            np.r_[track(1, range(1, 5)), track(1, range(7, 11))],
            {"FN": 2, "FP": 0, "Frag": 0, "IDSW": 0, "MOTA": 80, "Recall": 80},
        ),
        # boxes at IoU 0.4 count below that threshold in HOTA and never in CLEAR and Identity
        (track(1, range(1, 11), width=4), {"DetA": 100 * 8 / 19, "MOTA": -100, "IDF1": 0, "FP": 10, "FN": 10}),
        # nothing found: valid, zero
        (np.zeros((0, 10)), {"HOTA": 0, "MOTA": 0, "IDF1": 0, "FN": 10, "FP": 0, "ML": 1, "IDs": 0, "GT_Dets": 10}),
    ],
)
def test_one_object(result: np.ndarray, expected: dict[str, float]) -> None:
    found = evaluate_sequence(track(1, range(1, 11)), result, 10)
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("result", [np.zeros((0, 6)), track(1, range(1, 4))], ids=["nothing", "false boxes"])
def test_empty_truth(result: np.ndarray) -> None:
    # No object at all: no figure is NaN, every result box is false.
    found = evaluate_sequence(np.zeros((0, 9)), result, 10)
    assert (found["FP"], found["GT_Dets"], found["HOTA"], found["MOTA"]) == (len(result), 0, 0, 0)
    assert np.isfinite(list(found.figures.values())).all()


def test_combined_is_over_boxes() -> None:
    # A long perfect sequence and a short missed one: recall is that of all boxes, not the mean of 100 and 0.
    truths = {
        "long": TruthSource(track(1, range(1, 10)), frames=9),
        "short": TruthSource(track(1, range(1, 2)), frames=1),
    }
    found = evaluate(truths, {"long": track(4, range(1, 10)), "short": np.zeros((0, 6)), "other": np.zeros((0, 6))})
    assert found.sequences["short"]["Recall"] == 0
    assert found.combined["Recall"] == pytest.approx(90)
    assert found.combined["GT_IDs"] == 2
    assert found.combined["Frames"] == 10


@pytest.mark.parametrize(
    ("label", "benchmark", "false"),
    [
        (8, "auto", 0),  # a distractor takes its box away
        (8, "none", 10),  # not so without preprocessing
        (6, "auto", 10),  # non-motorised vehicles distract in MOT20 only
        (6, "MOT20", 0),
        (11, "MOT20", 10),  # an occluder never does
    ],
)
def test_distractors(label: int, benchmark: str, false: int) -> None:
    truth = np.r_[track(1, range(1, 11), more=(1, 1, 1)), track(2, range(1, 11), 100, more=(0, label, 1))]
    result = np.r_[track(1, range(1, 11)), track(2, range(1, 11), 100)]
    source = TruthSource(truth, frames=10)
    found = evaluate_sequence(source, result, preprocess=Preprocessing.choose(source, benchmark))
    assert (found["FP"], found["TP"], found["GT_Dets"]) == (false, 10, 10)


def test_world_coordinates_are_no_classes() -> None:
    # The 2015 layout keeps x, y, z where later files keep the class: every considered row is a pedestrian.
    truth = np.r_[track(1, range(1, 6), more=(1, -3.2, 8, 0)), track(2, range(1, 6), 100, more=(0, 4.5, 8, 0))]
    found = evaluate_sequence(truth, track(1, range(1, 6)), 5)
    assert (found["TP"], found["FP"], found["FN"]) == (5, 0, 0)


def test_chosen_classes() -> None:
    # Cars alone: truth and labelled results of other classes are left out, unlabelled results count.
    truth = TruthSource(
        np.r_[track(1, range(1, 6), more=(1, 1, 1)), track(2, range(1, 6), 100, more=(1, 3, 1))], frames=5
    )
    result = np.r_[track(1, range(1, 6), more=(1, 1, -1)), track(2, range(1, 6), 100, more=(1, 3, -1))]
    found = evaluate({"a": truth}, {"a": result}, classes=(3,)).combined
    assert (found["TP"], found["FP"], found["GT_Dets"]) == (5, 0, 5)
    unlabelled = np.c_[result[:, :7], np.full((len(result), 2), -1)]
    assert evaluate({"a": truth}, {"a": unlabelled}, classes=(3,)).combined["FP"] == 5


@pytest.mark.parametrize(("preproc", "benchmark"), [(True, "MOT17"), (True, "MOT20"), (False, "MOT15")])
@pytest.mark.parametrize("seed", range(3))
def test_parity_on_random_sequences(tmp_path: Path, seed: int, preproc: bool, benchmark: str) -> None:
    rng = np.random.default_rng(seed)
    truths = [random_truth(rng) for _ in range(3)]
    sets = {f"s{i}": (truth, perturbed(truth, rng), 40) for i, truth in enumerate(truths)}
    sets["s2"] = (*sets["s2"][:2], 55)  # frames after the last box
    assert_parity(tmp_path, sets, preproc, benchmark)


@pytest.mark.parametrize(
    ("name", "frames", "preproc", "benchmark"),
    [
        ("mot15_frcnn/TUD-Campus", 71, False, "MOT15"),
        ("mot15_frcnn/KITTI-17", 145, False, "MOT15"),
        ("mot20_01/MOT20-01", 120, True, "MOT17"),
        ("mot20_01/MOT20-01", 120, True, "MOT20"),
    ],
)
def test_parity_on_real_truth(
    shared_data: Path, tmp_path: Path, name: str, frames: int, preproc: bool, benchmark: str
) -> None:
    truth = np.loadtxt(shared_data / name / "gt" / "gt.txt", delimiter=",")
    truth = truth[truth[:, 0] <= frames]
    result = perturbed(truth, np.random.default_rng(0))
    assert_parity(tmp_path, {"real": (truth, result, frames)}, preproc, benchmark)


def test_missing_results_are_named() -> None:
    truth = TruthSource(track(1, range(1, 3)), frames=2)
    with pytest.raises(UserError, match="found none for b, c"):
        evaluate({"a": truth, "b": truth, "c": truth}, {"a": np.zeros((0, 6))})


def test_nothing_to_evaluate() -> None:
    with pytest.raises(UserError, match="at least one sequence"):
        evaluate({}, {})


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        # a frame after the last
        (track(1, range(9, 12)), r"out.txt:22: expected a frame from 1 to 10, found frame 11"),
        # counted from 0
        (track(1, range(0, 3)), r"out.txt:20: expected a frame from 1 to 10, found frame 0"),
        # an identity twice in a frame, in rows that are not sorted
        (
            np.r_[track(1, range(3, 5)), track(2, range(3, 4)), track(1, range(3, 4), 50)],
            r"out.txt:23: expected an identity once in a frame, found id 1 again in frame 3",
        ),
    ],
)
def test_refused_results(rows: np.ndarray, message: str) -> None:
    result = ResultSource(rows, "out.txt", np.arange(len(rows)) + 20)
    with pytest.raises(UserError, match=message):
        evaluate_sequence(track(1, range(1, 11)), result, 10)


def test_refused_truth() -> None:
    # Ground truth is held to the same rules, and without line numbers the row is named.
    truth = TruthSource(np.r_[track(1, range(1, 3)), track(1, range(2, 3))], "gt.txt", frames=2)
    with pytest.raises(UserError, match=r"gt.txt: expected an identity once .* id 1 again in frame 2 in row 3"):
        evaluate_sequence(truth, np.zeros((0, 6)))


def test_refused_class() -> None:
    # TrackEval refuses results of other classes as well: they would be counted as wrong pedestrians.
    truth = track(1, range(1, 6), more=(1, 1, 1))
    result = ResultSource(track(1, range(1, 6), more=(1, 3, -1)), "out.txt", np.arange(1, 6))
    with pytest.raises(UserError, match=r"out.txt:1: expected class 1, or -1, in column 8 .*, found 3"):
        evaluate_sequence(truth, result, 5)


def test_refused_arguments() -> None:
    truth = TruthSource(track(1, range(1, 3)), "gt.txt", frames=2)
    with pytest.raises(UserError, match="expected one of auto, none, MOT15, MOT16, MOT17, MOT20, found mot17"):
        Preprocessing.choose(truth, "mot17")
    with pytest.raises(UserError, match="nine columns, to choose classes"):
        Preprocessing.choose(truth, classes=(3,))
    with pytest.raises(UserError, match="at least one frame, found 0"):
        evaluate_sequence(track(1, range(1, 3)), np.zeros((0, 6)))
    with pytest.raises(UserError, match=r"found shape \(2, 5\)"):
        ResultSource(np.ones((2, 5)))
    with pytest.raises(UserError, match=r"out.txt:9: expected finite numbers"):
        ResultSource(np.array([[1, 1, 0, 0, np.nan, 1]]), "out.txt", np.array([9]))
    with pytest.raises(UserError, match="expected 2 line numbers, found 1"):
        ResultSource(np.ones((2, 6)), lines=np.array([1]))
