"""Objects of a video that nobody has named: found in each frame, and numbered along the flow."""

from scenegraph_track.discovery.video import (
    Discovered,
    DiscoveryState,
    FoundObjects,
    discover,
    discovered_detections,
    objects_of,
)

__all__ = ["Discovered", "DiscoveryState", "FoundObjects", "discover", "discovered_detections", "objects_of"]
