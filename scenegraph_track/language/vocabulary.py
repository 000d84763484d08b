"""The words that the small text encoder knows, and the tokenizer that makes numbers of a sentence.

The words are those of the worlds' sentences, those of their paraphrases, and the ones that join them.  Words of the
same meaning have one number: "crimson" is read as "red", "circle" as "disk", "person" as "figure".
"""

from __future__ import annotations

import re
from dataclasses import dataclass

PAD, UNKNOWN, START = "[pad]", "[unknown]", "[start]"

COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink", "brown", "white", "grey", "black")
PATTERNS = ("plain", "striped", "checked", "spotted", "marbled", "shaded", "lettered")
SHAPES = (
    "disk", "oval", "triangle", "square", "hexagon", "star", "cross", "blob",
    "ring", "figure", "car", "tree", "box", "prism", "pyramid", "ball",
)  # fmt: skip
SIZES = ("small", "medium", "large")
STATICS = ("wall", "pillar", "fence", "screen")
DIRECTIONS = ("still", "left", "right", "towards", "away")
SIDES = ("left", "middle", "right")

CONTENT = {
    "colour": COLOURS,
    "pattern": PATTERNS,
    "shape": SHAPES,
    "size": SIZES,
}
"""Words of what an object looks like, by attribute."""

ASPECTS = {**CONTENT, "motion": DIRECTIONS}
"""What is told of every place of an image before any sentence, and the answers."""

_JOINING = """
the a that is it one object with and in on of to by from at into
standing moving hopping towards away camera still left right middle side image
behind hidden partly front above below near inside pattern colour shape size
not which there find follow other
"""

LEADING_OVER = frozenset(("behind", "by", "front", "above", "below", "near", "inside"))
"""Words behind which a sentence speaks of another object."""

WORDS = tuple(dict.fromkeys((PAD, UNKNOWN, START, *COLOURS, *PATTERNS, *SHAPES, *SIZES, *STATICS, *_JOINING.split())))
"""All words; the place of a word is its number."""

_SAME = {
    "red": "crimson scarlet ruby claret maroon reddish",
    "orange": "amber tangerine",
    "yellow": "golden gold lemon yellowish",
    "green": "emerald olive lime greenish",
    "cyan": "turquoise teal aqua",
    "blue": "navy azure bluish",
    "purple": "violet mauve lilac",
    "pink": "rosy magenta rose",
    "brown": "tan chestnut brownish",
    "white": "ivory pale whitish",
    "grey": "gray silver greyish grayish",
    "black": "dark blackish",
    "plain": "uniform unpatterned",
    "striped": "stripy banded stripes lined",
    "checked": "checkered chequered tiled checks",
    "spotted": "dotted speckled spots dots",
    "marbled": "mottled cloudy veined",
    "shaded": "graded gradient",
    "lettered": "written printed letters digits",
    "disk": "disc circle round circular",
    "oval": "ellipse elliptical egg",
    "triangle": "triangular",
    "square": "rectangle rectangular",
    "hexagon": "hexagonal",
    "star": "starry",
    "cross": "plus",
    "blob": "patch cloud",
    "ring": "hoop donut doughnut",
    "figure": "person man woman human boy girl people pedestrian child men women guy lady player",
    "car": "vehicle van truck automobile taxi pickup",
    "tree": "bush conifer",
    "box": "cube crate cuboid carton",
    "prism": "column-shaped",
    "pyramid": "cone tent",
    "ball": "sphere globe",
    "small": "little tiny short",
    "medium": "medium-sized middle-sized",
    "large": "big huge tall giant",
    "wall": "block barrier",
    "pillar": "column post pole",
    "fence": "railing",
    "the": "this these those his her its",
    "a": "an some",
    "is": "are was be being has have",
    "it": "he she they",
    "object": "thing item something objects things target",
    "standing": "stands parked resting",
    "still": "motionless stationary static unmoving",
    "moving": "moves going goes travelling walking running riding driving heading",
    "hopping": "hops bouncing bounces jumping",
    "towards": "toward approaching nearing",
    "camera": "viewer us",
    "away": "leaving receding",
    "middle": "centre center",
    "behind": "beyond",
    "hidden": "covered occluded concealed obscured",
    "partly": "partially half",
    "above": "over",
    "below": "under beneath underneath",
    "near": "beside next close",
    "inside": "within",
    "image": "picture frame view scene",
    "find": "show track locate",
    "follow": "want we",
    "not": "no without",
    "and": "or",
    "which": "who what",
    "other": "another",
}
SYNONYMS = {word: meaning for meaning, words in _SAME.items() for word in words.split()}
"""Words that are read as another one."""

_SPLIT = re.compile(r"[a-z0-9]+(?:[-'][a-z0-9]+)*")


@dataclass(frozen=True)
class Reading:
    """A sentence as numbers.

    Args:
        ids: Numbers of its words behind that of `START`.
        words: The words that they stand for, without `START`.
        unknown: The words of the sentence that nothing is known of, as they were written.
    """

    ids: tuple[int, ...]
    words: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def told(self) -> bool:
        """Whether a word is left that says what an object looks like, does, or where it is."""
        silent = {UNKNOWN, "the", "a", "that", "is", "it", "one", "object", "with", "and", "in", "on", "of", "to", "by"}
        silent |= {
            "from",
            "at",
            "into",
            "which",
            "there",
            "find",
            "follow",
            "other",
            "not",
            "colour",
            "pattern",
            "size",
        }
        return any(word not in silent for word in self.words)


class Tokenizer:
    """Makes numbers of sentences, a number a word.

    Args:
        words: The vocabulary; `WORDS` where nothing else is said.
    """

    def __init__(self, words: tuple[str, ...] = WORDS) -> None:
        self.words = words
        self.numbers = {word: number for number, word in enumerate(words)}

    def __len__(self) -> int:
        return len(self.words)

    def meaning(self, word: str) -> str:
        """The known word that a written word is read as, or `UNKNOWN`."""
        for form in (word, word.removesuffix("s"), word.removesuffix("es"), word.partition("-")[0]):
            if form in self.numbers:
                return form
            if SYNONYMS.get(form) in self.numbers:
                return SYNONYMS[form]
        return UNKNOWN

    def read(self, text: str, longest: int = 40) -> Reading:
        """The numbers of a sentence.

        Args:
            text: English; case and punctuation do not matter.
            longest: Words that are read; the rest is left out.
        """
        written = _SPLIT.findall(text.lower().replace("\u2019", "'"))[:longest]
        words = tuple(self.meaning(word) for word in written)
        unknown = tuple(word for word, meaning in zip(written, words) if meaning == UNKNOWN)
        return Reading((self.numbers[START], *(self.numbers[word] for word in words)), words, unknown)


def held_out_pair(colour: int, shape: int) -> bool:
    """Whether no training sentence names this colour together with this shape (one in twelve of all pairs)."""
    return (colour + 5 * shape) % 12 == 0
