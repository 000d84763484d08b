"""Ray casting of the three kinds of bodies against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from scenegraph_track.data.worlds.solids import Card, Ellipsoid, box, prism

LIGHT = np.array([0.0, -1.0, 0.0])


def rays(*directions):
    return np.array(directions, np.float32).T[:, None]


def test_a_card_is_hit_where_its_plane_is():
    card = Card(2.0, 1.0)
    hit = card.trace(np.array([0.0, -0.5, -4.0]), rays([0, 0, 1], [0.25, 0.125, 1]), None, LIGHT)
    np.testing.assert_allclose(1 / hit.inverse_depth, [[4, 4]])
    np.testing.assert_allclose([hit.u[0], hit.v[0]], [[0.5, 1.0], [0.5, 1.0]])  # centre, lower right corner


def test_bending_a_card_back_is_the_inverse():
    card, bend = Card(2.0, 1.5), np.array([0.3, -0.2])
    y = np.linspace(-1.5, 0, 7)
    x = card.card_from_material(np.linspace(-1, 1, 7), y, bend)
    np.testing.assert_allclose(card.material_from_card(x, y, bend), np.linspace(-1, 1, 7), atol=1e-7)
    assert card.card_from_material(0.4, 0.0, bend) == 0.4  # the foot stays


@pytest.mark.parametrize(
    ("direction", "depth", "normal"),
    [([0, 0, 1], 4, [0, 0, -1]), ([0.5, 0.1, 0.5], 2 * 4 / 1 - 2, None)],
    ids=["front face", "beside"],
)
def test_a_box_is_hit_on_its_front_face(direction, depth, normal):
    body = box(2, 2, 2, 1.0, np.zeros((6, 2)))
    hit = body.trace(np.array([0.0, -1.0, -5.0]), rays(direction), None, LIGHT)
    if normal is not None:
        np.testing.assert_allclose(1 / hit.inverse_depth, [[depth]], rtol=1e-5)
        np.testing.assert_allclose(body.normals[hit.face[0, 0]], normal, atol=1e-9)


@pytest.mark.parametrize(
    "body",
    [
        box(1, 2, 3, 1.0, np.zeros((6, 2))),
        prism(5, 1, 2, 0.8, 1, np.zeros((7, 2))),
        prism(4, 1, 2, 0, 1, np.zeros((5, 2))),
    ],
)
def test_polyhedra_are_convex_and_closed(body):
    inside = body.vertices @ body.normals.T - body.offsets
    assert (inside < 1e-9).all()
    assert (np.isclose(inside, 0).sum(0) >= 3).all()  # every face is held by three vertices or more
    np.testing.assert_allclose(np.linalg.norm(body.normals, axis=1), 1)
    assert body.trace(np.array([0.0, -0.5, 0.0]), rays([0, 0, 1]), None, LIGHT) is None  # from inside


def test_a_ball_is_hit_on_its_near_side_and_its_outline_is_a_circle():
    ball = Ellipsoid(np.array([1.0, 1.0, 1.0]), (1.0, 1.0))
    origin = np.array([0.0, 0.0, -3.0])
    hit = ball.trace(origin, rays([0, 0, 1]), None, LIGHT)
    np.testing.assert_allclose(1 / hit.inverse_depth, [[2]], rtol=1e-6)
    conic = ball.outline(origin, np.eye(3))
    tangent = 1 / np.sqrt(8)  # of the angle whose sine is 1 / 3
    for x, sign in ((tangent * 0.99, 1), (tangent * 1.01, -1)):
        assert np.sign(np.array([x, 0, 1]) @ conic @ np.array([x, 0, 1])) == sign
