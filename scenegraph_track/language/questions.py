"""What a sentence asks of a scene: looks, motion and place of an object, and how it stands to another one."""

from __future__ import annotations

import re
from dataclasses import dataclass

from scenegraph_track.language.vocabulary import CONTENT, STATICS, Reading, Tokenizer

_RELATIONS = (
    ("behind", r"(?:that is |is |partly )*(?:hidden by|behind)"),
    ("in front of", r"(?:that is |is )*in front of"),
    ("left of", r"(?:that is |is |to |on )*(?:the )?left (?:side )?of"),
    ("right of", r"(?:that is |is |to |on )*(?:the )?right (?:side )?of"),
    ("above", r"(?:that is |is )*above"),
    ("below", r"(?:that is |is )*below"),
    ("near", r"(?:that is |is )*near(?: to)?"),
    ("inside", r"(?:that is |is )*inside(?: of)?"),
)
_WAYS = ("towards", "away", "left", "right")


@dataclass(frozen=True)
class Question:
    """What a sentence says of an object.

    Args:
        looks: Attributes of `vocabulary.CONTENT` and their words.
        motion: "left", "right", "towards", "away", "still", "moving", or "".
        side: "left", "middle", "right" of the image, or "".
        hidden: Whether it says that the object is hidden.
        relation: How it stands to another object, or "".
        other: What is said of that object; None without a relation.
        static: The other is a wall, pillar, fence or screen: no object that is tracked.
    """

    looks: dict[str, str]
    motion: str = ""
    side: str = ""
    hidden: bool = False
    relation: str = ""
    other: Question | None = None
    static: bool = False

    @property
    def told(self) -> bool:
        """Whether anything is said at all."""
        return bool(self.looks or self.motion or self.side or self.hidden or self.relation or self.static)


def question(text: str) -> tuple[Question, Reading]:
    """What a sentence asks, and how it was read."""
    reading = Tokenizer().read(text)
    return _asked(" ".join(reading.words)), reading


def _asked(text: str) -> Question:
    for name, pattern in _RELATIONS:
        for found in re.finditer(rf"(?<!\S){pattern}(?!\S)", text):
            subject, other = text[: found.start()], text[found.end() :]
            if other.split() and "image" not in other.split()[:3]:
                about = _asked(other)
                return Question(**_own(subject), relation=name, other=about)
    return Question(**_own(text))


def _own(text: str) -> dict:
    words = text.split()
    looks = {name: word for name, known in CONTENT.items() for word in reversed(words) if word in known}
    motion = side = ""
    for place, word in enumerate(words):
        moves = "moving" in words[:place] or "hopping" in words[:place]
        if word in _WAYS and moves:
            motion = word
        elif word in ("left", "right", "middle"):
            side = word
    if not motion and ("moving" in words or "hopping" in words):
        motion = "still" if "not" in words else "moving"
    if "still" in words:
        motion = "still"
    return {
        "looks": looks,
        "motion": motion,
        "side": side,
        "hidden": "hidden" in words,
        "static": any(word in STATICS for word in words) and "shape" not in looks,
    }
