"""Detection streams: boxes and scores with exact truth, thousands of frames a second, to train association on."""

from scenegraph_track.data.streams.mot import write_mot
from scenegraph_track.data.streams.presets import PRESETS, SPLITS
from scenegraph_track.data.streams.simulation import simulate, stream_name
from scenegraph_track.data.streams.stream import Stream

__all__ = ["PRESETS", "SPLITS", "Stream", "simulate", "stream_name", "write_mot"]
