"""The scene graph by itself: construction, message passing, its course through time, export.

Importing this package loads torch and torch_geometric only.
"""

from scenegraph_track.graph.adjacency import SoftAdjacency, straight_through_top_k
from scenegraph_track.graph.candidates import candidate_edges
from scenegraph_track.graph.constructor import ConstructedGraph, SceneGraphConstructor, spatial_edges
from scenegraph_track.graph.evolving import EvolvingSceneGraph, EvolvingState, reidentify
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
from scenegraph_track.graph.graph_tracker import GraphOutput, GraphTracker
from scenegraph_track.graph.motion import Motion
from scenegraph_track.graph.relation_heads import RelationHeads, relation_loss
from scenegraph_track.graph.relations import relations_from_boxes
from scenegraph_track.graph.sinkhorn import sparse_sinkhorn

__all__ = [
    "SCHEMA",
    "ConstructedGraph",
    "EvolvingSceneGraph",
    "EvolvingState",
    "GraphOutput",
    "GraphTracker",
    "Motion",
    "RelationHeads",
    "SceneGraphConstructor",
    "SoftAdjacency",
    "candidate_edges",
    "from_json_line",
    "from_networkx",
    "read_graphml",
    "read_jsonl",
    "reidentify",
    "relation_loss",
    "relations_from_boxes",
    "sparse_sinkhorn",
    "spatial_edges",
    "straight_through_top_k",
    "to_json_line",
    "to_networkx",
    "unroll",
    "write_graphml",
]
