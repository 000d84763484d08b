"""Settings: what is read, what is refused and with which words."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from scenegraph_track.config import Config, dump_config, load_config, named_configs, parse_config
from scenegraph_track.errors import UserError


def test_every_shipped_configuration_loads() -> None:
    named = named_configs()
    assert "reference" in named
    for name in named:
        assert isinstance(load_config(name), Config)


def test_reference_is_complete_and_equals_the_defaults() -> None:
    # The YAML names every setting, so that a reader sees all of them, and says what the code says.
    values = yaml.safe_load(named_configs()["reference"].read_text(encoding="utf-8"))
    assert values == Config().model_dump()
    assert load_config() == Config()


def test_dump_is_read_back_the_same(tmp_path: Path) -> None:
    config = load_config("reference", ["tracker.life.hidden_seconds=2.5", "tracker.motion.camera=false"])
    (tmp_path / "mine.yaml").write_text(dump_config(config))
    assert load_config(tmp_path / "mine.yaml") == config
    assert config.tracker.life.hidden_seconds == 2.5 and config.tracker.motion.camera is False


def test_a_file_may_name_only_what_differs(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("tracker:\n  show:\n    predicted: 1\n")
    assert load_config(tmp_path / "mine.yaml") == load_config("reference", ["tracker.show.predicted=1"])
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert load_config(tmp_path / "empty.yaml") == Config()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("tracker.life.hiden_seconds=1", "unknown setting tracker.life.hiden_seconds; did you mean .*hidden_seconds"),
        ("traker.life.hidden_seconds=1", "unknown setting traker; did you mean tracker"),
        ("tracker.nosuch=1", "^--set tracker.nosuch=1: unknown setting tracker.nosuch; known: kind, scores,"),
        ("tracker.life=1", "tracker.life: .*found 1"),
        ("tracker.life.hidden_seconds.more=1", "hidden_seconds is a value, not a group"),
        ("tracker.life.hidden_seconds", "expected key=value"),
        ("tracker.life.hidden_seconds=[1", "expected a YAML value"),
        (
            "tracker.life.hidden_seconds=-1",
            "^--set tracker.life.hidden_seconds=-1: .*hidden_seconds: .*greater than or equal to 0.*found -1",
        ),
        ("tracker.life.hidden_seconds=soon", "tracker.life.hidden_seconds: .*found 'soon'"),
        ("tracker.life.hidden_seconds=", "tracker.life.hidden_seconds: .*found None"),
        ("tracker.motion.acceleration=.nan", "tracker.motion.acceleration"),
        ("tracker.scores.low=0.65", "^--set tracker.scores.low=0.65: tracker.scores: expected low <= high <= birth"),
        ("tracker.kind=magic", "tracker.kind: .*found 'magic'"),
        ("geometry.flow=magic", r"geometry.flow: expected one of none, .*, or a file \*\.safetensors .*'magic'"),
    ],
)
def test_refuses_with_the_key(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_config("reference", [override])


def test_what_a_file_says_wrongly_is_not_blamed_on_an_override(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("tracker:\n  life:\n    confirm_hits: 0\n")
    with pytest.raises(UserError, match=r"mine\.yaml: tracker\.life\.confirm_hits: "):
        load_config(tmp_path / "mine.yaml", ["tracker.life.hidden_seconds=2"])
    with pytest.raises(UserError, match=r"^--set tracker\.life\.confirm_hits=-1: "):
        load_config(tmp_path / "mine.yaml", ["tracker.life.confirm_hits=2", "tracker.life.confirm_hits=-1"])


def test_refuses_what_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean reference"):
        load_config("referense")
    with pytest.raises(UserError, match="neither a named configuration"):
        load_config(tmp_path)
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(UserError, match=r"list\.yaml: expected a mapping"):
        load_config(tmp_path / "list.yaml")
    (tmp_path / "broken.yaml").write_text("tracker: {")
    with pytest.raises(UserError, match=r"broken\.yaml: expected YAML"):
        load_config(tmp_path / "broken.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(UserError, match=r"binary\.yaml"):
        load_config(tmp_path / "binary.yaml")


def test_settings_cannot_be_changed_afterwards() -> None:
    config = load_config()
    with pytest.raises(ValueError, match="frozen"):
        config.tracker.life.hidden_seconds = 3.0


keys = st.one_of(st.text(max_size=8), st.integers(), st.none(), st.sampled_from(["tracker", "life", "scores", "low"]))
trees = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3)),
    max_leaves=8,
)


@given(st.dictionaries(keys, trees, max_size=3))
def test_any_tree_is_a_configuration_or_a_user_error(values: dict) -> None:
    with suppress(UserError):
        assert isinstance(parse_config(values), Config)
