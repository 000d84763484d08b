"""The scene graph by itself: export today, construction and message passing on top.

Importing this package loads torch and torch_geometric only.
"""

from scenegraph_track.graph.export import (
    SCHEMA,
    from_json_line,
    from_networkx,
    read_graphml,
    read_jsonl,
    to_json_line,
    to_networkx,
    unroll,
    write_graphml,
)
from scenegraph_track.graph.relations import relations_from_boxes

__all__ = [
    "SCHEMA",
    "from_json_line",
    "from_networkx",
    "read_graphml",
    "read_jsonl",
    "relations_from_boxes",
    "to_json_line",
    "to_networkx",
    "unroll",
    "write_graphml",
]
