"""A plan as boxes and lines: layers from left to right, each subtask right of all that it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from stellwerk.report.records import SubtaskView

BOX = (168, 60)  # width and height of a subtask
_GAPS = (32, 16)  # between layers, and in one
_MARGIN = 8
_LANE = 6  # height that a line takes which passes by a layer
_SWEEPS = 4  # over the layers, to take crossings out of the lines
MOST = 300  # subtasks that are drawn; more than that nobody can read

_Name = str | tuple[str, str, int]
"""A subtask, or the lane of a line: from where, to where, and through which layer."""


@dataclass(frozen=True, slots=True)
class Box:
    """Where a subtask stands, in pixels from the top left."""

    subtask: SubtaskView
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class Drawing:
    """Boxes, and the lines between them as paths of SVG."""

    width: int
    height: int
    boxes: list[Box]
    lines: list[str]


def draw(subtasks: Sequence[SubtaskView]) -> Drawing:
    """Lay out a plan; what a subtask needs and is not there is left out."""
    by_id = {one.id: one for one in subtasks}
    needs = {one.id: [name for name in one.depends_on if name in by_id] for one in subtasks}
    layers, ways = _with_ways(_layers(needs), needs)
    layers = _in_order(layers, _steps(ways, layers))
    heights = [sum(_height(name) + _GAPS[1] for name in layer) - _GAPS[1] for layer in layers]
    tallest = max(heights, default=0)
    places: dict[_Name, tuple[int, int]] = {}
    for column, (layer, height) in enumerate(zip(layers, heights, strict=True)):
        y = _MARGIN + (tallest - height) // 2
        for name in layer:
            places[name] = _MARGIN + column * (BOX[0] + _GAPS[0]), y
            y += _height(name) + _GAPS[1]
    return Drawing(
        width=_MARGIN * 2 + max(0, len(layers) * (BOX[0] + _GAPS[0]) - _GAPS[0]),
        height=_MARGIN * 2 + tallest,
        boxes=[Box(by_id[n], *places[n]) for layer in layers for n in layer if isinstance(n, str)],
        lines=[_line([(places[name], _height(name)) for name in way]) for way in ways],
    )


def _height(name: _Name) -> int:
    return BOX[1] if isinstance(name, str) else _LANE


def _with_ways(
    layers: list[list[str]], needs: Mapping[str, Sequence[str]]
) -> tuple[list[list[_Name]], list[list[_Name]]]:
    """Layers with a lane in each that a line crosses, so that none runs behind a box, and the lines' ways."""
    depth = {name: column for column, layer in enumerate(layers) for name in layer}
    made: list[list[_Name]] = [[*layer] for layer in layers]
    ways: list[list[_Name]] = []
    for name, needed in needs.items():
        for need in needed:
            lanes: list[_Name] = [(need, name, column) for column in range(depth[need] + 1, depth[name])]
            for column, lane in enumerate(lanes, depth[need] + 1):
                made[column].append(lane)
            ways.append([need, *lanes, name])
    return made, ways


def _steps(ways: Sequence[Sequence[_Name]], layers: Sequence[Sequence[_Name]]) -> dict[_Name, list[_Name]]:
    """For each name, the ones in the layer before that a line comes from."""
    before: dict[_Name, list[_Name]] = {name: [] for layer in layers for name in layer}
    for way in ways:
        for start, end in pairwise(way):
            before[end].append(start)
    return before


def _layers(needs: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Subtasks by the length of the longest way to them."""
    depth: dict[str, int] = {}
    left = list(needs)
    while left:
        ready = [name for name in left if all(need in depth for need in needs[name])]
        if not ready:  # a circle, which no plan has; what stands in it is drawn at the end
            ready = left
        for name in ready:
            depth[name] = 1 + max((depth.get(need, 0) for need in needs[name]), default=-1)
        done = set(ready)
        left = [name for name in left if name not in done]
    layers: list[list[str]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for name in needs:
        layers[depth[name]].append(name)
    return [layer for layer in layers if layer]


def _in_order(layers: list[list[_Name]], before: Mapping[_Name, Sequence[_Name]]) -> list[list[_Name]]:
    """Each layer in the order of the middles of its neighbours (Sugiyama's barycentres)."""
    after: dict[_Name, list[_Name]] = {name: [] for name in before}
    for name, starts in before.items():
        for start in starts:
            after[start].append(name)
    for sweep in range(_SWEEPS):
        neighbours: Mapping[_Name, Sequence[_Name]] = before if sweep % 2 == 0 else after
        place = {name: (row + 0.5) / len(layer) for layer in layers for row, name in enumerate(layer)}
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            middle = {
                name: sum(place[other] for other in neighbours[name]) / len(neighbours[name])
                if neighbours[name]
                else place[name]
                for name in layer
            }
            layer.sort(key=middle.__getitem__)
            place.update({name: (row + 0.5) / len(layer) for row, name in enumerate(layer)})
    return layers


def _line(way: Sequence[tuple[tuple[int, int], int]]) -> str:
    """From box to box; straight through the lanes between."""
    path, at = "", (0, 0)
    for number, ((x, y), height) in enumerate(way):
        middle = y + height // 2
        if number:
            bend = (x - at[0]) // 2
            path += f"C{at[0] + bend} {at[1]} {x - bend} {middle} {x} {middle}"
        else:
            path = f"M{x + BOX[0]} {middle}"
        at = x + BOX[0], middle
        if 0 < number < len(way) - 1:
            path += f"H{at[0]}"
    return path
