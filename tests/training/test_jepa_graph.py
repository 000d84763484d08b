"""The stage that pre-trains the graph tracker: masked nodes come to agree with those of the teacher."""

from __future__ import annotations

import pytest
import torch

from scenegraph_track.errors import UserError
from scenegraph_track.training import jepa_graph
from scenegraph_track.training.jepa_graph import GraphJepaStage
from scenegraph_track.training.settings import load_recipe

DATA = {"presets": {"dance": 1.0}, "clips": 1, "repeats": 1, "frames": 10, "burn_in": 2, "warm_up": 3, "workers": 0}


def stage(**changes) -> GraphJepaStage:
    torch.manual_seed(0)
    jepa = {"every": 2, **changes.pop("jepa", {})}
    return GraphJepaStage(GraphJepaStage.Settings(data=DATA, jepa=jepa, **changes), 0)


def test_masked_nodes_come_to_agree_with_those_of_the_teacher() -> None:
    made = stage()
    shown = next(made.batches(0, 1, 0))
    trained = [weight for module in made.modules().values() for weight in module.parameters() if weight.requires_grad]
    optimiser = torch.optim.Adam(trained, 5e-3)
    torch.manual_seed(0)
    first = made.loss(shown, 0)[1]
    for step in range(40):
        loss, told = made.loss(shown, step)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert first["agreement"] < 0.3 and told["agreement"] > 0.5
    assert told["rank"] > 0.25 * told["teacher_rank"]
    assert all(weight.grad is None for weight in made.keeper.parameters())


def test_nothing_but_the_masks_is_between_a_student_and_a_teacher_like_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made = stage(jepa={"student": "teacher"})
    shown = next(made.batches(0, 1, 0))
    assert made.loss(shown, 0)[1]["agreement"] < 0.95
    every = lambda past, now, _: (past, now, torch.ones(len(past.tracks), dtype=torch.bool))  # noqa: E731
    monkeypatch.setattr(jepa_graph, "masked_nodes", every)
    told = made.loss(shown, 0)[1]
    assert told["agreement"] == pytest.approx(1, abs=1e-4)
    assert told["rank"] == pytest.approx(float(told["teacher_rank"]))


def test_a_teacher_that_follows_begins_as_its_student_and_is_kept() -> None:
    made = stage(jepa={"teacher": "ema"})
    loss, told = made.loss(next(made.batches(0, 1, 0)), 0)
    assert loss.isfinite() and told["variance"] > 0
    assert torch.equal(made.teaching.teacher.motion.weight, made.net.motion.weight)
    assert not torch.equal(made.keeper.track_in.weight, made.net.track_in.weight)
    again = stage(jepa={"teacher": "ema"})
    again.load_state(made.state())
    assert torch.equal(again.teaching.teacher.track_in.weight, made.net.track_in.weight)


def test_low_rank_stops_the_run_and_other_networks_are_refused() -> None:
    made = stage(jepa={"watched_from": 0})
    made.teaching.first_rank = 20.0
    assert "effective rank is 2" in made.collapse({"rank": 2.0}) and made.collapse({"rank": 12.0}) is None
    with pytest.raises(UserError, match="of another network than graph describes"):
        stage(graph={"width": 12})
    with pytest.raises(UserError, match="expected those of a teacher"):
        load_recipe("jepa_graph", ["jepa.weights=none"])
