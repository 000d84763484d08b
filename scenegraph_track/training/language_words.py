"""What is said of the objects of a frame, as numbers: which sentences are true of which object, and how they are put.

A claim names some attributes with their values; its sentence is put in one of several ways.  Two kinds of combinations
are held out: those of colour, pattern and shape that the worlds keep for their test split (`families.is_unseen`), of
which no training image shows an object; and pairs of colour and shape (`vocabulary.held_out_pair`), which no training
sentence names together although the images show them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scenegraph_track.data.worlds.captions import ATTRIBUTES, sentence
from scenegraph_track.language.vocabulary import COLOURS, PATTERNS, SHAPES, SIZES, STATICS, held_out_pair

TABLES = {
    "colour": COLOURS,
    "pattern": PATTERNS,
    "shape": SHAPES,
    "size": SIZES,
    "motion": ("still", "left", "right", "towards the camera", "away"),
    "side": ("on the left", "in the middle", "on the right"),
}
"""Values of the attributes in the order of their codes; what hides an object is coded by `hider_code`."""

NOBODY = -1
_STATIC = len(COLOURS) * len(SHAPES)

Claim = dict[str, int]
"""Attributes (of `ATTRIBUTES`) and the codes of their values."""


def hider_code(name: str) -> int:
    """The code of what hides an object: "the red disk" or "the wall"; `NOBODY` of an empty name."""
    words = name.split()[1:]
    if not words:
        return NOBODY
    if len(words) == 1:
        return _STATIC + STATICS.index(words[0])
    return COLOURS.index(words[0]) * len(SHAPES) + SHAPES.index(words[1])


def hider_name(code: int) -> str:
    """The inverse of `hider_code`."""
    if code >= _STATIC:
        return f"the {STATICS[code - _STATIC]}"
    return f"the {COLOURS[code // len(SHAPES)]} {SHAPES[code % len(SHAPES)]}"


@dataclass(frozen=True, eq=False)
class Facts:
    """What is true of K objects in a frame.

    Args:
        codes: (K, 7) codes of `ATTRIBUTES`; `NOBODY` where nothing hides an object, and -1 of unknown motion.
        there: (K,) bool, whether an object can be seen at all.
    """

    codes: NDArray[np.int64]
    there: NDArray[np.bool_]

    def true_of(self, claim: Claim) -> NDArray[np.bool_]:
        """(K,) bool, of which objects a claim is true."""
        true = self.there.copy()
        for name, code in claim.items():
            true &= self.codes[:, ATTRIBUTES.index(name)] == code
        return true


def drawn_claim(rng: np.random.Generator, facts: Facts, row: int, told: NDArray[np.bool_], free: float) -> Claim:
    """Something that is true of an object.

    Args:
        rng: What is drawn from.
        facts: Of its frame.
        row: The object.
        told: (7,) bool, the attributes that the worlds' own sentence names.
        free: Chance that attributes are drawn, rather than those of the worlds' sentence.
    """
    codes = facts.codes[row]
    named = told.copy()
    if rng.random() < free:
        named = rng.random(len(ATTRIBUTES)) < (0.7, 0.35, 0.7, 0.15, 0.15, 0.3, 0.2)
        if not named[:3].any():
            named[rng.choice([0, 2])] = True
    claim = {name: int(code) for name, code, said in zip(ATTRIBUTES, codes, named) if said and code >= 0}
    return without_held_out(rng, claim)


def without_held_out(rng: np.random.Generator, claim: Claim) -> Claim:
    """The claim without its colour or its shape where the two are held out together."""
    if "colour" in claim and "shape" in claim and held_out_pair(claim["colour"], claim["shape"]):
        left_out = str(rng.choice(["colour", "shape"]))
        return {name: code for name, code in claim.items() if name != left_out}
    return claim


def swapped(rng: np.random.Generator, facts: Facts, claim: Claim) -> Claim:
    """A claim in which one attribute has another value: that of another object where one differs, else any."""
    names = [name for name in claim if name in ("colour", "pattern", "shape", "size", "motion", "side")]
    if not names:
        return claim
    weights = np.array([4.0 if name in ("colour", "shape") else 1.0 for name in names])
    name = str(rng.choice(names, p=weights / weights.sum()))
    column = facts.codes[facts.there, ATTRIBUTES.index(name)]
    others = np.unique(column[(column >= 0) & (column != claim[name])])
    if not len(others) or rng.random() < 0.3:
        others = np.setdiff1d(np.arange(len(TABLES[name])), [claim[name]])
    return without_held_out(rng, {**claim, name: int(rng.choice(others))})


def drawn_sentence(rng: np.random.Generator, claim: Claim, hopping: bool, paraphrase: float) -> str:
    """English for a claim, put as the worlds do or in another way.

    Args:
        rng: What is drawn from.
        claim: With at least one attribute.
        hopping: Whether the worlds would say so of its motion.
        paraphrase: Chance of another way.
    """
    said = {name: TABLES[name][code] for name, code in claim.items() if name != "behind"}
    if "behind" in claim:
        said["behind"] = hider_name(claim["behind"])
    verb = "hopping" if hopping else "moving"
    if rng.random() >= paraphrase:
        return sentence(said if "shape" in said else said | {"shape": "object"}, verb)
    return _paraphrased(rng, said, verb)


def _paraphrased(rng: np.random.Generator, said: dict[str, str], verb: str) -> str:
    article = str(rng.choice(["the", "a", "one"]))
    words = [said[name] for name in rng.permutation(["size", "colour", "pattern"]) if name in said]
    noun = said.get("shape", str(rng.choice(["object", "one", "thing"])))
    split = int(rng.integers(len(words) + 1)) if rng.random() < 0.5 else len(words)
    text = " ".join([article, *words[:split], noun])
    if words[split:]:
        text += str(rng.choice([" that is ", ", "])) + " and ".join(words[split:])
    clauses = []
    if "behind" in said:
        clauses.append(
            str(rng.choice(["behind ", "hidden by ", "partly hidden by ", "that is behind "])) + said["behind"]
        )
    if "side" in said:
        side = said["side"].split()[-1]
        ways = [said["side"], f"at the {side} of the image"]
        clauses.append(str(rng.choice(ways if side == "middle" else [*ways, f"on the {side} side"])))
    if "motion" in said:
        clauses.append(_motion(rng, said["motion"], verb))
    order = rng.permutation(len(clauses))
    return " ".join([text, *(clauses[k] for k in order)])


def _motion(rng: np.random.Generator, motion: str, verb: str) -> str:
    if motion == "still":
        return str(rng.choice(["standing still", "that is still", "not moving"]))
    to = {"left": "to the left", "right": "to the right"}.get(motion, motion)
    return str(rng.choice([f"{verb} {motion}", f"{verb} {to}", f"that is {verb} {motion}"]))
