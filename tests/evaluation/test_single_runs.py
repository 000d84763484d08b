"""Methods followed through clips, and what they are worth."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from scenegraph_track.errors import FormatError, UserError
from scenegraph_track.evaluation import single_methods, single_runs
from scenegraph_track.evaluation.single import FIGURES, SHOWN
from scenegraph_track.evaluation.single_clips import SingleClip
from scenegraph_track.evaluation.single_methods import target_method
from scenegraph_track.evaluation.single_report import (
    flat_figures,
    interval_of,
    method_curves,
    method_figures,
    rules,
    sequence_figures,
    shown_figures,
    times,
)
from scenegraph_track.evaluation.single_runs import SingleJob, follow, read_results
from scenegraph_track.evaluation.vot import AnchorRuns

COUNT = 12
BOXES = np.array([[4.0 + t, 6, 24 + t, 26] for t in range(COUNT)])


def clip(name: str = "c", absent: tuple[int, ...] = (5,), images: bool = True, origin: float = 0.0) -> SingleClip:
    """A target that goes right; the images hold the number of the frame."""
    gone = np.isin(np.arange(COUNT), absent)
    return SingleClip(
        name,
        [np.full((40, 60, 3), t, np.uint8) for t in range(COUNT)] if images else None,
        np.where(gone[:, None], np.nan, BOXES),
        gone,
        np.where(gone, 0.0, 1.0),
        (60, 40) if images else None,
        [(0, 1), (COUNT - 1, -1)],
        origin,
    )


class Knows:
    """Reads the number of the frame off the image and says the true box; absent where it is told so."""

    def __init__(self, absent: tuple[int, ...] = (), shift: float = 0.0) -> None:
        self.absent, self.shift = absent, shift

    def start(self, image: NDArray[np.uint8], box: NDArray[np.float64]) -> list[int]:
        return [int(image[0, 0, 0])]

    def step(self, state: list[int], image: NDArray[np.uint8]) -> tuple[list[int], NDArray[np.float64] | None, float]:
        frame = int(image[0, 0, 0])
        return [*state, frame], None if frame in self.absent else BOXES[frame] + self.shift, 0.5


class Source:
    """Two groups of clips."""

    groups: tuple[list[SingleClip], ...] = ([clip("a"), clip("b", ())], [clip("c", (2, 3))])

    def __len__(self) -> int:
        return len(self.groups)

    def single_clips(self, k: int) -> list[SingleClip]:
        return self.groups[k]


@pytest.fixture
def methods(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A method that knows the truth as our target model, one that is aside, one that does not believe in frame 6."""
    made = {"target": Knows(), "aside": Knows(shift=5), "doubts": Knows((6,))}
    monkeypatch.setattr(single_runs, "single_methods", lambda weights: made)
    return made


def measure(job: SingleJob) -> dict[str, Any]:
    return dict(pair for k in range(len(job.source)) for pair in job.measure(k))


def test_follow() -> None:
    # The frames in the order that is asked for; the first box as it was told; absence is NaN.
    runs = follow({"a": Knows((8,)), "b": Knows(shift=1)}, clip().images, range(9, 5, -1), BOXES[9])
    assert np.isnan(runs["a"].boxes[1]).all() and (runs["a"].boxes[[0, 2, 3]] == BOXES[[9, 7, 6]]).all()
    assert (runs["b"].boxes[1:] == BOXES[8:5:-1] + 1).all() and (runs["b"].boxes[0] == BOXES[9]).all()
    assert runs["a"].scores.tolist() == [1, 0.5, 0.5, 0.5] and runs["a"].seconds >= 0


@pytest.mark.usefixtures("methods")
def test_figures_of_all_and_of_each() -> None:
    found = measure(SingleJob(Source()))
    assert list(found) == ["a", "b", "c"]
    figures, apart = method_figures(found), sequence_figures(found)
    assert tuple(figures["target"]) == FIGURES and figures["target"]["ao"] == figures["target"]["sr75"] == 1
    # Frames without the target fail: one of 12 in a, none in b, two in c.
    assert figures["target"]["precision20"] == pytest.approx((11 / 12 + 1 + 10 / 12) / 3)
    assert apart["c"]["target"]["op50"] == pytest.approx(10 / 12)
    # Aside by 5 in both directions: 15 x 15 of 20 x 20.
    assert figures["aside"]["ao"] == pytest.approx(225 / 575) and figures["aside"]["sr50"] == 0
    # The last box counts where one says absent: 19 of 20 columns.
    assert figures["doubts"]["ao"] == pytest.approx((10 + 11 + 9 - 3 + 3 * 19 / 21) / 30)
    assert flat_figures(figures)["ao"] == 1 and flat_figures(figures)["aside/ao"] == figures["aside"]["ao"]
    assert "target/ao" not in flat_figures(figures)
    assert all(len(one) == 3 for one in method_curves(found).values()) and min(times(found).values()) >= 0


@pytest.mark.usefixtures("methods")
def test_runs_from_anchors() -> None:
    found = measure(SingleJob(Source(), pixels="inclusive", anchored=True))
    worth = found["a"]["target"].worth
    assert isinstance(worth, AnchorRuns) and worth.length == COUNT and [len(one) for one in worth.runs] == [12, 12]
    assert worth.runs[0].present.tolist() == [t != 5 for t in range(12)]
    assert worth.runs[1].present.tolist() == [t != 6 for t in range(12)]
    figures = method_figures(found)
    assert tuple(figures["target"]) == ("accuracy", "robustness", "eao") == shown_figures("vot")
    assert figures["target"]["robustness"] == figures["aside"]["robustness"] == 1
    assert figures["target"]["eao"] > 2 * figures["aside"]["eao"] > 0
    assert figures["target"]["accuracy"] == pytest.approx((10 + 11 + 9) / 36)
    # Here what is said to be absent has no overlap.
    assert figures["doubts"]["accuracy"] == pytest.approx((9 + 10 + 8) / 36)
    assert interval_of(found) == (1, 11) and "lengths 1 to 11" in " ".join(rules("vot", "inclusive", (1, 11)))


def write(folder: Path, name: str, boxes: NDArray) -> None:
    folder.mkdir(exist_ok=True)
    np.savetxt(folder / f"{name}.txt", np.c_[boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], delimiter=",")


@pytest.mark.usefixtures("methods")
def test_results_of_another_tracker(tmp_path: Path) -> None:
    # In the coordinates of the annotation; NaN holds the last box; judged also where there are no images.
    said = BOXES.copy()
    said[7] = np.nan
    write(tmp_path / "them", "a", said + 1)
    np.testing.assert_allclose(read_results(tmp_path / "them", clip("a", origin=1.0)), said)

    class Bare(Source):
        groups = ([clip("a", (), images=False, origin=1.0)],)

    found = measure(SingleJob(Bare(), results=(("them", tmp_path / "them"),)))
    assert list(found["a"]) == ["them"]
    figures = method_figures(found)["them"]
    assert figures["ao"] == pytest.approx((10 + 19 / 21) / 11) and np.isnan(times(found)["them"])


def test_results_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected a\.txt, found no such file"):
        read_results(tmp_path, clip("a"))
    write(tmp_path, "a", BOXES[:-1])
    with pytest.raises(UserError, match=r"a\.txt: expected 12 lines, one a frame, found 11"):
        read_results(tmp_path, clip("a"))
    (tmp_path / "a.txt").write_text("1,2,x,4\n")
    with pytest.raises(FormatError, match=r"a\.txt"):
        read_results(tmp_path, clip("a"))


def test_a_clip_that_does_not_begin(methods: dict[str, Any]) -> None:
    class Late(Source):
        groups = ([clip("late", (0,))],)

    with pytest.raises(UserError, match="late: the first frame has no true box"):
        SingleJob(Late()).measure(0)


def test_jobs_go_to_other_processes() -> None:
    job = SingleJob(Source(), "w", "inclusive", True, (("a", Path("b")),))
    sent = pickle.loads(pickle.dumps(job))
    assert (sent.weights, sent.pixels, sent.anchored, sent.results) == ("w", "inclusive", True, (("a", Path("b")),))


def test_every_protocol_says_its_rules() -> None:
    assert shown_figures(None) == FIGURES
    for protocol, figures in SHOWN.items():
        said = " ".join(rules(protocol, "continuous", None))
        assert shown_figures(protocol) == figures and "pixels: continuous" in said
        assert ("GOT-10k" in said) == (protocol == "got10k")
        assert ("auc (OTB" in said) == (protocol != "got10k")


def test_without_weights_there_is_no_target_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from scenegraph_track.target import embedded

    monkeypatch.setattr(embedded, "SHIPPED", tmp_path / "none.safetensors")
    assert target_method() is None and "target" not in single_methods.single_methods()
    with pytest.raises(UserError):
        target_method("embedded")
    with pytest.raises(UserError):
        target_method(str(tmp_path / "other.safetensors"))
