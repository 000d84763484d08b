"""Masks, boxes, fractions and relations agree with each other."""

from __future__ import annotations

import numpy as np

from scenegraph_track.data.worlds import RELATIONS, STATIC_LABEL
from scenegraph_track.data.worlds.truth import relations
from scenegraph_track.structures import RELATIONS as GRAPH_RELATIONS


def box_of(mask):
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


def all_frames(clips):
    return [(clip, frame) for clip in clips for frame in clip.frames]


def test_visible_pixels_are_part_of_the_whole_silhouette(clips):
    for _, frame in all_frames(clips):
        for i in range(len(frame.ids)):
            assert not ((frame.instance == i + 1) & ~frame.amodal_masks[i]).any()


def test_boxes_bound_their_masks(clips):
    for clip, frame in all_frames(clips):
        width, height = clip.scene.size
        for i in range(len(frame.ids)):
            visible = frame.instance == i + 1
            expected = box_of(visible) if visible.any() else [0, 0, 0, 0]
            np.testing.assert_array_equal(frame.visible_boxes[i], expected)
            if frame.amodal_masks[i].any():
                clipped = np.clip(frame.amodal_boxes[i], 0, [width, height, width, height])
                inner = np.array(box_of(frame.amodal_masks[i]))
                assert (clipped[:2] <= inner[:2]).all() and (clipped[2:] >= inner[2:]).all()
                if (clipped == frame.amodal_boxes[i]).all():  # no part outside the image
                    np.testing.assert_array_equal(clipped, inner)


def test_visible_fraction_counts_occlusion_and_the_image_border(clips):
    whole_inside = 0
    for clip, frame in all_frames(clips):
        width, height = clip.scene.size
        for i in range(len(frame.ids)):
            visible, silhouette = (frame.instance == i + 1).sum(), frame.amodal_masks[i].sum()
            if not silhouette:
                assert frame.visible_fraction[i] == 0
                continue
            x1, y1, x2, y2 = frame.amodal_boxes[i]
            if x1 >= 0 and y1 >= 0 and x2 <= width and y2 <= height:  # nothing outside the image
                whole_inside += 1
                np.testing.assert_allclose(frame.visible_fraction[i], visible / silhouette, atol=1e-6)
                hidden = frame.occluded_by[i].sum() + frame.occluded_by_static[i].sum()
                np.testing.assert_allclose(frame.visible_fraction[i] + hidden, 1, atol=1e-5)
            else:
                assert frame.visible_fraction[i] <= visible / silhouette + 1e-6
    assert whole_inside > 50


def test_what_hides_an_object_is_nearer(clips):
    checked = 0
    for clip, frame in all_frames(clips):
        for i, thing in enumerate(clip.scene.objects):
            hidden = frame.amodal_masks[i] & (frame.instance != i + 1)
            if hidden.any() and frame.visible_fraction[i] > 0:
                checked += 1
                own_far = frame.depth[frame.instance == i + 1].max() + 2 * np.ptp(thing.solid.hull(None)[:, [0, 2]])
                assert frame.depth[hidden].max() <= own_far
    assert checked > 20


def test_instance_ids_are_objects_or_static_occluders(clips):
    for clip, frame in all_frames(clips):
        labels = np.unique(frame.instance)
        allowed = {0, *range(1, len(frame.ids) + 1), *(STATIC_LABEL + i for i in range(len(clip.scene.occluders)))}
        assert set(labels.tolist()) <= allowed
        assert (frame.ids == np.arange(1, len(clip.scene.objects) + 1)).all()


def test_every_pixel_has_depth(clips):
    for _, frame in all_frames(clips):
        assert np.isfinite(frame.depth).all() and (frame.depth > 0.1).all()


def test_relation_names_are_those_of_the_scene_graph():
    assert RELATIONS == GRAPH_RELATIONS


def test_relations_follow_their_rules():
    # a small near box inside a large far one, to the left of a third that is out of view
    boxes = np.array([[36, 36, 46, 46], [30, 30, 70, 70], [80, 40, 90, 50]], float)
    centres = np.array([[0, 0, 2.0], [0, 0, 4.0], [3, 0, 4.0]])
    occluded_by = np.zeros((3, 3))
    occluded_by[1, 0] = 0.1
    table = relations(boxes, np.array([True, True, False]), centres[:, 2], centres, np.ones(3), occluded_by, (100, 100))
    true = {(i, j, RELATIONS[k]) for i, j, k in np.argwhere(table)}
    assert true == {(0, 1, "occludes"), (0, 1, "in_front_of"), (0, 1, "left_of"), (0, 1, "above"), (1, 0, "contains")}


def test_relations_of_rendered_frames_agree_with_boxes_and_depth(clips):
    for _, frame in all_frames(clips):
        occludes, in_front, left = (
            frame.relations[..., RELATIONS.index(n)] for n in ("occludes", "in_front_of", "left_of")
        )
        assert not (in_front & in_front.T).any() and not (left & left.T).any()
        assert (occludes <= (frame.occluded_by.T > 0.02)).all()
        assert not frame.relations[np.arange(len(frame.ids)), np.arange(len(frame.ids))].any()
