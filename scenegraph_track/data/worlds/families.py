"""The vocabulary of the worlds and which of its families each split may use.

A *word* (a pattern, a shape) is shared by all splits; the *families* that draw it are not: "striped" is straight
stripes in training, diagonal ones in validation, waves in test.  So a held-out split shows textures, outlines, grounds
and motions that were never seen, and its sentences still use known words.  Besides, one fifth of the combinations
colour x pattern x shape (`is_unseen`) appears in test only.
"""

from __future__ import annotations

SPLITS = ("train", "val", "test")

COLOURS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    # name: (lowest, highest) hue in degrees, saturation, value
    "red": ((-6, 0.75, 0.65), (6, 1.0, 0.92)),
    "orange": ((22, 0.80, 0.85), (32, 1.0, 1.0)),
    "yellow": ((50, 0.70, 0.85), (58, 0.95, 1.0)),
    "green": ((95, 0.55, 0.40), (140, 0.95, 0.75)),
    "cyan": ((176, 0.55, 0.70), (190, 0.90, 0.95)),
    "blue": ((212, 0.65, 0.55), (232, 0.95, 0.92)),
    "purple": ((268, 0.50, 0.45), (286, 0.85, 0.80)),
    "pink": ((318, 0.35, 0.85), (340, 0.55, 1.0)),
    "brown": ((16, 0.55, 0.32), (28, 0.75, 0.48)),
    "white": ((0, 0.0, 0.90), (360, 0.06, 1.0)),
    "grey": ((0, 0.0, 0.45), (360, 0.06, 0.58)),
    "black": ((0, 0.0, 0.06), (360, 0.25, 0.16)),
}

PATTERNS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    # word: families of train, val, test
    "plain": (("grain",), ("brushed",), ("mottled",)),
    "striped": (("straight_stripes", "paired_stripes"), ("diagonal_stripes",), ("wavy_stripes",)),
    "checked": (("squares", "bricks"), ("diamonds",), ("triangles",)),
    "spotted": (("dots", "random_dots"), ("rings",), ("patches",)),
    "marbled": (("clouds", "camouflage"), ("veins",), ("swirls",)),
    "shaded": (("linear_gradient",), ("radial_gradient",), ("banded_gradient",)),
    "lettered": (("digits",), ("letters",), ("words",)),
}

SHAPES: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "disk": (("circle",), ("squircle",), ("scalloped",)),
    "oval": (("ellipse",), ("egg",), ("lens",)),
    "triangle": (("isosceles",), ("right_angled",), ("rounded_triangle",)),
    "square": (("sharp_square",), ("rounded_square",), ("notched_square",)),
    "hexagon": (("upright_hexagon",), ("flat_hexagon",), ("long_hexagon",)),
    "star": (("star_5",), ("star_6",), ("star_8",)),
    "cross": (("plus",), ("saltire",), ("potent",)),
    "blob": (("blob_low",), ("blob_mid",), ("blob_high",)),
    "ring": (("round_ring",), ("oval_ring",), ("square_ring",)),
    "figure": (("standing", "striding"), ("waving",), ("cloaked",)),
    "car": (("sedan",), ("van",), ("pickup",)),
    "tree": (("round_tree",), ("conifer",), ("cloud_tree",)),
    "box": (("cube", "tall_box"), ("long_box",), ("flat_box",)),
    "prism": (("prism_6",), ("prism_5",), ("prism_8",)),
    "pyramid": (("pyramid_4",), ("pyramid_3",), ("pyramid_5",)),
    "ball": (("sphere",), ("flat_ball",), ("long_ball",)),
}

PATHS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "steady": (("straight",), ("accelerating",), ("pulsing",)),
    "curved": (("arc",), ("s_curve",), ("loop",)),
    "stop_and_go": (("one_stop",), ("two_stops",), ("random_stops",)),
    "bouncing": (("hops",), ("long_hops",), ("damped_hops",)),
    "reversing": (("there_and_back",), ("shuttle",), ("zigzag",)),
}
"""Motions; "still" objects exist in every split, and following and crossing are ways of placing two such paths."""

GROUNDS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "floor": (("planks", "carpet", "tiles"), ("parquet", "terrazzo"), ("slabs", "cork")),
    "wall": (("plaster", "wallpaper", "brick"), ("panelling", "concrete"), ("blockwork", "posters")),
    "street": (("asphalt", "cobbles"), ("paving",), ("worn_road",)),
    "field": (("grass", "sand"), ("gravel",), ("meadow",)),
    "facade": (("windows",), ("balconies",), ("shops",)),
    "backdrop": (("hills",), ("forest",), ("mountains",)),
}


def families(table: dict[str, tuple[tuple[str, ...], ...]], split: str) -> dict[str, tuple[str, ...]]:
    """The families of each word of ``table`` (`PATTERNS`, `SHAPES`, `PATHS` or `GROUNDS`) that ``split`` may use."""
    return {word: by_split[SPLITS.index(split)] for word, by_split in table.items()}


def is_unseen(colour: str, pattern: str, shape: str) -> bool:
    """Whether this combination of words is kept for the test split (one in five of all combinations)."""
    code = list(COLOURS).index(colour) + 2 * list(PATTERNS).index(pattern) + 3 * list(SHAPES).index(shape)
    return code % 5 == 0
