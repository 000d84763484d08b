"""Where lost targets are looked for."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from scenegraph_track.target.search import grown, scaled, whole_view
from scenegraph_track.target.views import View


@given(st.floats(1, 3), st.sampled_from([8, 16]))
def test_a_grown_view_has_the_scale_and_the_grid_of_the_other(growth: float, stride: int) -> None:
    view = View((20.0, 30.0), 50.0, 128)
    wide = grown(view, growth, stride)
    assert wide.centre == view.centre and abs(wide.scale - view.scale) < 1e-9
    assert (wide.size - view.size) % (2 * stride) == 0 and abs(wide.size - growth * view.size) <= stride
    cells = (view.corner[0] - wide.corner[0]) * view.scale / stride
    assert abs(cells - round(cells)) < 1e-6
    assert grown(view, 1.0, 14) == view


def test_whole_images_have_one_of_few_scales_and_an_end() -> None:
    sizes = {whole_view(View((5.0, 5.0), side, 64), (96, 72), 10_000).size for side in range(46, 64)}
    assert sizes == {96, 136}  # the scales are powers of the root of 2: 1 and 1.41
    assert whole_view(View((5.0, 5.0), 20.0, 64), (96, 72), 128).size == 128


def test_a_whole_image_keeps_its_shape_and_its_corner() -> None:
    image = torch.zeros(1, 3, 48, 96)
    image[..., 12:24, 24:36] = 1.0
    whole = whole_view(View((5.0, 5.0), 128.0, 64), (96, 48), 128)
    small = scaled(image, whole)
    assert small.shape == (1, 3, 24, 48) and whole.corner == (0.0, 0.0) and whole.scale == 0.5
    assert small[0, 0, 9, 15] > 0.99 and small[0, 0, 9, 25] < 0.01
    assert torch.allclose(scaled((image * 255).byte(), whole), small, atol=1e-6)
