"""The learned rules: the shipped weights load, and say what common sense says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from scenegraph_track.errors import UserError
from scenegraph_track.tracking.emission import (
    INTERPOLATED,
    LINK,
    PREDICTED,
    RULES,
    Rule,
    covers,
    inside_part,
    load_rules,
    weights_path,
)

WALKER = {  # a walker, well seen for four seconds at 25 frames/s, now behind somebody
    "predicted": {
        "away": 0.12,
        "missed": np.log1p(3),
        "age": np.log1p(4.0),
        "hits": np.log1p(95),
        "hit_rate": 0.95,
        "speed": 0.3,
        "spread": 0.05,
        "in_front": 0.8,
        "overlap": 0.5,
        "inside": 1.0,
        "score": 0.9,
        "crowd": 0.05,
        "step": 0.04,
        "shape": 0.4,
    },
    "link": {
        "gap": 0.4,
        "ahead": 0.05,
        "back": 0.05,
        "apart": 0.15,
        "reach": 0.2,
        "height_ratio": 0.03,
        "width_ratio": 0.05,
        "turn": 0.1,
        "age": np.log1p(4.0),
        "rest": np.log1p(4.0),
        "speed": 0.4,
        "edge": 1.0,
        "crowd": 0.0,
        "score": 0.9,
    },
    "interpolated": {
        "gap": 0.3,
        "along": 0.5,
        "travel": 0.1,
        "bend": 0.05,
        "height_ratio": 0.02,
        "in_front": 0.8,
        "overlap": 0.5,
        "inside": 1.0,
        "hit_rate": 0.95,
        "age": np.log1p(4.0),
        "rest": np.log1p(4.0),
        "crowd": 0.05,
        "step": 0.04,
        "score": 0.9,
    },
}


def chance(name: str, **changes: float) -> float:
    values = {**WALKER[name], **changes}
    assert list(values) == list(RULES[name])
    return float(load_rules()[name](np.array([list(values.values())]))[0])


def test_shipped_weights_fit_the_features() -> None:
    rules = load_rules()
    assert set(rules) == {"predicted", "link", "interpolated"}
    for name, features in (("predicted", PREDICTED), ("link", LINK), ("interpolated", INTERPOLATED)):
        assert rules[name].weights[0].shape[0] == len(features) == len(rules[name].centre)
        some = np.random.default_rng(0).normal(size=(50, len(features))) * 100
        got = rules[name](some)
        assert got.shape == (50,) and ((got >= 0) & (got <= 1)).all()
        assert rules[name](some[:0]).shape == (0,)
    assert weights_path().stat().st_size < 100_000


def test_predicted_chance_falls_with_time_away() -> None:
    times = [0.04, 0.2, 0.4, 0.8]
    chances = [chance("predicted", away=t, missed=np.log1p(t * 25), spread=0.03 + 0.2 * t) for t in times]
    assert chances == sorted(chances, reverse=True) and chances[0] > chances[-1] + 0.1


def test_predicted_chance_is_lower_where_nothing_stands_in_front() -> None:
    # An object that is missed in the open has more likely gone, or never was.
    assert chance("predicted") > chance("predicted", in_front=0.0, overlap=0.0)


def test_link_chance_falls_with_every_kind_of_distance() -> None:
    near = chance("link")
    assert near > 0.5
    assert near > chance("link", ahead=1.5, back=1.5, apart=1.6, reach=2.0)
    assert near > chance("link", height_ratio=0.6, width_ratio=0.6)
    assert near > chance("link", crowd=np.log1p(6))  # many rivals


def test_interpolated_chance_is_high_on_a_short_straight_gap_only() -> None:
    assert chance("interpolated") > 0.5
    assert chance("interpolated") > chance("interpolated", gap=2.5, travel=2.0, bend=1.5, height_ratio=0.4)


def test_a_rule_is_a_perceptron() -> None:
    # One unit by hand: logit = max((x - 1) / 2, 0) with the clip of standardised features at 6.
    rule = Rule(
        np.array([1.0]), np.array([2.0]), tuple(np.ones((1, 1)) for _ in range(3)), tuple(np.zeros(1) for _ in range(3))
    )
    got = rule(np.array([[1.0], [3.0], [-9.0], [1e9]]))
    assert got == pytest.approx([0.5, 1 / (1 + np.exp(-1)), 0.5, 1 / (1 + np.exp(-6))])


def test_rules_to_tensors_and_back(tmp_path: Path) -> None:
    tensors = {k: v for name, rule in load_rules().items() for k, v in rule.tensors(name).items()}
    save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, str(tmp_path / "rules"))
    features = np.random.default_rng(1).normal(size=(9, len(LINK)))
    assert np.array_equal(load_rules(tmp_path / "rules")["link"](features), load_rules()["link"](features))


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent: no such file"):
        load_rules(tmp_path / "absent")
    (tmp_path / "text").write_text("no weights")
    with pytest.raises(UserError, match="text: expected the rules"):
        load_rules(tmp_path / "text")
    tensors = load_file(weights_path())
    save_file({k: v for k, v in tensors.items() if not k.startswith("link.")}, str(tmp_path / "partial"))
    with pytest.raises(UserError, match=r"partial: expected the rules predicted, link, interpolated"):
        load_rules(tmp_path / "partial")
    tensors["link.weight0"] = tensors["link.weight0"][:-1].copy()
    save_file(tensors, str(tmp_path / "short"))
    with pytest.raises(UserError, match="rule link: expected weights for 14 features, found 13"):
        load_rules(tmp_path / "short")


def test_covers() -> None:
    # Two thirds of the first box lie behind the second, whose lower edge is lower; not the other way round.
    boxes = np.array([[0, 0, 30, 100], [10, 0, 40, 120.0]])
    front, overlap = covers(boxes, boxes, np.eye(2, dtype=bool))
    assert front == pytest.approx([2 / 3, 0.0])
    assert overlap == pytest.approx([2000 / (3000 + 3600 - 2000)] * 2)
    for part in covers(boxes, boxes, np.ones((2, 2), dtype=bool)):
        assert part.tolist() == [0, 0]  # an object does not cover itself
    assert covers(boxes, boxes[:0], np.zeros((2, 0), bool))[0].tolist() == [0, 0]
    assert len(covers(boxes[:0], boxes, np.zeros((0, 2), bool))[1]) == 0
    point = np.array([[5, 5, 5, 5.0]])
    assert covers(point, boxes, np.zeros((1, 2), bool))[0].tolist() == [0.0]  # no area, no NaN


def test_inside_part() -> None:
    boxes = np.array([[0, 0, 10, 10], [-5, 0, 5, 10], [95, 95, 105, 105], [200, 0, 210, 10], [5, 5, 5, 5.0]])
    assert inside_part(boxes, (100, 100)) == pytest.approx([1, 0.5, 0.25, 0, 0])
    assert inside_part(boxes, None).tolist() == [1] * 5
