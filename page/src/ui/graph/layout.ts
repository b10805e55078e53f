import type { GraphDrawing, GraphEdge } from "../../api/wire";

export interface PlacedNode {
  id: string;
  name: string;
  kind: "start" | "node" | "end";
  /** The middle of the node. */
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface PlacedEdge {
  key: string;
  /** The `d` of an SVG path. */
  path: string;
  conditional: boolean;
  /** Whether there is an edge back to its source, which is then not drawn by itself. */
  both: boolean;
}

export interface Picture {
  width: number;
  height: number;
  nodes: PlacedNode[];
  edges: PlacedEdge[];
}

/** Graphs with more nodes are not drawn. */
export const MOST_NODES = 120;

const HEIGHT = 40;
const LAYER = 84;
const GAP = 16;
const MARGIN = 12;
/** The room of an edge that passes a layer. */
const WAYPOINT = 10;
const CHARACTER = 7.6;

/** Place a graph from top to bottom: a node below all nodes that lead to it, and edges back along the side. */
export function layout(drawing: GraphDrawing): Picture {
  const edges = drawing.edges.filter((edge) => edge.source !== edge.target);
  const back = edgesBack(drawing, edges);
  const forward = edges.filter((edge) => !back.has(edge));
  const { layers, waypoints, links } = withWaypoints(layersOf(drawing, forward), forward);

  const names = new Map(drawing.nodes.map((node) => [node.id, node]));
  const width = (id: string) => (names.has(id) ? widthOf(names.get(id)?.name ?? "") : WAYPOINT);
  const widths = layers.map((ids) => ids.reduce((sum, id) => sum + width(id) + GAP, -GAP));
  const inner = Math.max(...widths, 0);
  const placed = new Map<string, PlacedNode>();
  order(layers, links).forEach((ids, layer) => {
    let x = MARGIN + (inner - (widths[layer] ?? 0)) / 2;
    for (const id of ids) {
      const { name, kind } = names.get(id) ?? { name: "", kind: "node" as const };
      const y = MARGIN + HEIGHT / 2 + layer * LAYER;
      placed.set(id, {
        id,
        name: nameOf(name),
        kind,
        x: x + width(id) / 2,
        y,
        width: width(id),
        height: HEIGHT,
      });
      x += width(id) + GAP;
    }
  });

  const downward = new Set(forward.map((edge) => pair(edge.source, edge.target)));
  const upward = new Set([...back].map((edge) => pair(edge.target, edge.source)));
  let lanes = 0;
  const drawn = edges.flatMap((edge, index): PlacedEdge[] => {
    const [from, to] = [placed.get(edge.source), placed.get(edge.target)];
    if (from === undefined || to === undefined) return [];
    if (back.has(edge) && downward.has(pair(edge.target, edge.source))) return [];
    if (back.has(edge)) lanes += 1;
    const path = back.has(edge)
      ? sidePath(from, to, MARGIN + inner + 10 + lanes * 7)
      : downPath([from, ...(waypoints.get(edge) ?? []).flatMap((id) => placed.get(id) ?? []), to]);
    return [
      {
        key: String(index),
        path,
        conditional: edge.conditional,
        both: !back.has(edge) && upward.has(pair(edge.source, edge.target)),
      },
    ];
  });
  return {
    width: inner + 2 * MARGIN + (lanes > 0 ? 16 + lanes * 7 : 0),
    height: 2 * MARGIN + HEIGHT + Math.max(0, layers.length - 1) * LAYER,
    nodes: drawing.nodes.flatMap((node) => placed.get(node.id) ?? []),
    edges: drawn,
  };
}

function pair(above: string, below: string): string {
  return JSON.stringify([above, below]);
}

function nameOf(name: string): string {
  if (name === "__start__") return "start";
  if (name === "__end__") return "end";
  return name.length > 24 ? `${name.slice(0, 23)}…` : name;
}

function widthOf(name: string): number {
  return Math.max(52, Math.round(nameOf(name).length * CHARACTER) + 22);
}

/** The edges that close a circle, in a walk from the start. */
function edgesBack(drawing: GraphDrawing, edges: readonly GraphEdge[]): Set<GraphEdge> {
  const out = groupBy(edges, (edge) => edge.source);
  const back = new Set<GraphEdge>();
  const state = new Map<string, "open" | "done">();
  const first = [...drawing.nodes].sort((a, b) => Number(b.kind === "start") - Number(a.kind === "start"));
  for (const { id } of first) {
    if (state.has(id)) continue;
    // A list and no recursion: a chain of nodes may be long.
    const path: { id: string; next: number }[] = [{ id, next: 0 }];
    state.set(id, "open");
    for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
      const edge = out.get(top.id)?.[top.next++];
      if (edge === undefined) {
        state.set(top.id, "done");
        path.pop();
      } else if (state.get(edge.target) === "open") {
        back.add(edge);
      } else if (!state.has(edge.target)) {
        state.set(edge.target, "open");
        path.push({ id: edge.target, next: 0 });
      }
    }
  }
  return back;
}

function layersOf(drawing: GraphDrawing, forward: readonly GraphEdge[]): string[][] {
  const depth = new Map(drawing.nodes.map((node) => [node.id, 0]));
  for (let round = 0; round < drawing.nodes.length; round++) {
    let moved = false;
    for (const { source, target } of forward) {
      const below = (depth.get(source) ?? 0) + 1;
      if (depth.has(target) && below > (depth.get(target) ?? 0)) {
        depth.set(target, below);
        moved = true;
      }
    }
    if (!moved) break;
  }
  const others = drawing.nodes.filter((node) => node.id !== "__end__").map((node) => depth.get(node.id) ?? 0);
  if (depth.has("__end__")) depth.set("__end__", Math.max(...others, -1) + 1);
  const layers: string[][] = [];
  for (const [id, at] of depth) {
    while (layers.length <= at) layers.push([]);
    layers[at]?.push(id);
  }
  return layers;
}

interface Link {
  source: string;
  target: string;
}

interface Layered {
  layers: string[][];
  /** The places between the ends of an edge, one a layer. */
  waypoints: Map<GraphEdge, string[]>;
  /** From layer to layer. */
  links: Link[];
}

/** Give each edge that passes layers a place in each of them. */
function withWaypoints(layers: string[][], forward: readonly GraphEdge[]): Layered {
  const depth = new Map(layers.flatMap((ids, layer) => ids.map((id) => [id, layer] as const)));
  const waypoints = new Map<GraphEdge, string[]>();
  const links: Link[] = [];
  forward.forEach((edge, index) => {
    let above = edge.source;
    for (let layer = (depth.get(edge.source) ?? 0) + 1; layer < (depth.get(edge.target) ?? 0); layer++) {
      const id = JSON.stringify([index, layer]);
      layers[layer]?.push(id);
      waypoints.set(edge, [...(waypoints.get(edge) ?? []), id]);
      links.push({ source: above, target: id });
      above = id;
    }
    links.push({ source: above, target: edge.target });
  });
  return { layers, waypoints, links };
}

/** Put each node near the middle of those that lead to it. */
function order(layers: string[][], links: readonly Link[]): string[][] {
  const into = groupBy(links, (link) => link.target);
  const place = new Map<string, number>();
  return layers.map((ids) => {
    const middle = (id: string) => {
      const from = (into.get(id) ?? []).map((edge) => place.get(edge.source) ?? 0);
      return from.length === 0 ? 0 : from.reduce((a, b) => a + b, 0) / from.length;
    };
    const sorted = ids.map((id) => ({ id, at: middle(id) })).sort((a, b) => a.at - b.at);
    sorted.forEach(({ id }, index) => void place.set(id, index - (sorted.length - 1) / 2));
    return sorted.map(({ id }) => id);
  });
}

function downPath(stops: readonly PlacedNode[]): string {
  return stops
    .map((to, index) => {
      const from = stops[index - 1];
      if (from === undefined) return `M${to.x} ${to.y + HEIGHT / 2}`;
      const [y1, y2] = [from.y + HEIGHT / 2, to.y - HEIGHT / 2];
      const bend = (y2 - y1) / 2;
      const curve = `C${from.x} ${y1 + bend} ${to.x} ${y2 - bend} ${to.x} ${y2}`;
      return index === stops.length - 1 ? curve : `${curve}V${to.y + HEIGHT / 2}`;
    })
    .join("");
}

function sidePath(from: PlacedNode, to: PlacedNode, lane: number): string {
  const [x1, x2] = [from.x + from.width / 2, to.x + to.width / 2];
  return `M${x1} ${from.y}C${lane} ${from.y} ${lane} ${from.y} ${lane} ${(from.y + to.y) / 2}S${lane} ${to.y} ${x2} ${to.y}`;
}

function groupBy<T>(edges: readonly T[], key: (edge: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const edge of edges) {
    const group = groups.get(key(edge));
    if (group === undefined) groups.set(key(edge), [edge]);
    else group.push(edge);
  }
  return groups;
}
