"""What flows between the rooms: frozen, validated containers.

Boxes are ``(x1, y1, x2, y2)`` in pixels of the image, continuous coordinates (``x2 = x1 + width``, the image spans
``[0, W] x [0, H]``, the centre of the first pixel is ``(0.5, 0.5)``).  Frames count from 0, track ids from 1, times
are seconds, depth is along the camera's z axis and positive.
"""

from scenegraph_track.structures.detections import Detections
from scenegraph_track.structures.frame import Frame
from scenegraph_track.structures.scene import BECOMES, CUES, OBJECT, RELATES, RELATIONS, ObjectState, SceneGraph
from scenegraph_track.structures.state import TrackerState
from scenegraph_track.structures.tables import LeftTable, TargetTable, TrackTable
from scenegraph_track.structures.tracks import Tracks

__all__ = [
    "BECOMES",
    "CUES",
    "OBJECT",
    "RELATES",
    "RELATIONS",
    "Detections",
    "Frame",
    "LeftTable",
    "ObjectState",
    "SceneGraph",
    "TargetTable",
    "TrackTable",
    "TrackerState",
    "Tracks",
]
