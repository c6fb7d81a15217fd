"""The scene graph of a glTF file, flattened: which mesh stands where."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from splatview.arrays import Doubles
from splatview.formats.gltf_json import Json, entry, listed, numbers, shown, whole
from splatview.geometry import matrix_from_quat

_NAME = 60  # characters


@dataclass(frozen=True, eq=False)
class Placed:
    """A mesh in the scene."""

    mesh: Json
    matrix: Doubles  # [4, 4] glTF world from mesh; infinite if the nodes' numbers are absurd
    name: str  # of its node, else its own; "" if neither has one


def placed_meshes(document: Json) -> Iterator[Placed]:
    """The meshes of the default scene, depth first; of the first scene, or of all nodes, if the file names none.

    ValueError for what is not a tree: a node that is reached twice.
    """
    waiting = [(index, np.eye(4)) for index in reversed(_roots(document))]
    seen: set[int] = set()
    while waiting:
        index, parent = waiting.pop()
        node = entry(document, "nodes", index)
        if id(node) in seen:
            raise ValueError(f"glTF: expected a tree of nodes, but node {index} is reached twice")
        seen.add(id(node))
        with np.errstate(over="ignore", invalid="ignore"):
            matrix = parent @ _matrix(node)
        if "mesh" in node:
            mesh = entry(document, "meshes", node["mesh"])
            yield Placed(mesh, matrix, _name(node) or _name(mesh))
        waiting += [(child, matrix) for child in reversed(listed(node, "children"))]


def _roots(document: Json) -> list[object]:
    scenes = listed(document, "scenes")
    if scenes:
        return listed(entry(document, "scenes", whole(document, "scene", 0)), "nodes")
    nodes = listed(document, "nodes")
    below = (child for index in range(len(nodes)) for child in listed(entry(document, "nodes", index), "children"))
    children = {child for child in below if isinstance(child, int)}
    return [index for index in range(len(nodes)) if index not in children]


def _matrix(node: Json) -> Doubles:
    """The node's own transform [4, 4]."""
    if "matrix" in node:
        matrix = np.array(numbers(node, "matrix", 16, ())).reshape(4, 4).T  # it is written column by column
        if not np.allclose(matrix[3], [0, 0, 0, 1]):
            raise ValueError(f"glTF: expected a matrix of a node whose last row is 0 0 0 1, found {matrix[3].tolist()}")
        return matrix
    x, y, z, w = numbers(node, "rotation", 4, (0, 0, 0, 1))
    matrix = np.eye(4)
    matrix[:3, :3] = matrix_from_quat(np.array([w, x, y, z])) * numbers(node, "scale", 3, (1, 1, 1))
    matrix[:3, 3] = numbers(node, "translation", 3, (0, 0, 0))
    return matrix


def _name(holder: Json) -> str:
    """The object's name on one line, and short: it is shown in lists."""
    name = holder.get("name", "")
    if not isinstance(name, str):
        raise ValueError(f"glTF: expected a text as 'name', found {shown(name)}")
    printable = "".join(character if character.isprintable() else " " for character in name)
    return " ".join(printable.split())[:_NAME]
