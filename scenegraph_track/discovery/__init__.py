"""Objects of a video that nobody has named: slots of each frame that begin with those of the frame before."""

from scenegraph_track.discovery.video import Discovered, DiscoveryState, discover, discovered_detections

__all__ = ["Discovered", "DiscoveryState", "discover", "discovered_detections"]
