import type { GraphDrawing, GraphEdge, GraphNode } from "../../api/wire";

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

/** A graph within the graph. */
export interface PlacedBox {
  /** The id of the node that holds it. */
  id: string;
  name: string;
  /** Its corner. */
  left: number;
  top: number;
  width: number;
  height: number;
}

export interface Picture {
  width: number;
  height: number;
  nodes: PlacedNode[];
  edges: PlacedEdge[];
  /** Outer ones come before those within them. */
  boxes: PlacedBox[];
}

/** Graphs with more nodes are drawn without the graphs within them. */
export const MOST_NODES = 120;

const HEIGHT = 40;
const BETWEEN = 44;
const GAP = 16;
const MARGIN = 12;
/** The room of an edge that passes a layer. */
const WAYPOINT = 10;
const CHARACTER = 7.6;
/** The line of a box with its name. */
const TITLE = 26;
const PADDING = 14;
/** The room below a graph for edges that go back. */
const BELOW = 20;
/** The radius of a corner. */
const CORNER = 8;

/** The outer nodes of a graph. Each stands for the graph within it. */
export function outerGraph(drawing: GraphDrawing): GraphDrawing {
  const outer = new Map(drawing.nodes.map((node) => [node.id, node.group?.split(":", 1)[0] ?? node.id]));
  const nodes = new Map<string, GraphNode>();
  for (const node of drawing.nodes) {
    const id = outer.get(node.id) ?? node.id;
    if (!nodes.has(id))
      nodes.set(id, node.group === null ? node : { id, name: id, kind: "node", group: null });
  }
  const edges = new Map<string, GraphEdge>();
  for (const edge of drawing.edges) {
    const [source, target] = [outer.get(edge.source) ?? edge.source, outer.get(edge.target) ?? edge.target];
    if (source === target) continue;
    const known = edges.get(pair(source, target));
    const conditional = edge.conditional && known?.conditional !== false;
    edges.set(pair(source, target), { ...edge, source, target, conditional });
  }
  return { ...drawing, nodes: [...nodes.values()], edges: [...edges.values()] };
}

/**
 * Place a graph from top to bottom: a node below all nodes that lead to it, and edges back along the side. A graph
 * within it is placed in the same way, in a box that stands where its node would.
 */
export function layout(drawing: GraphDrawing): Picture {
  const level = levelOf(
    drawing,
    drawing.edges.filter((edge) => edge.source !== edge.target),
    null,
  );
  const picture: Picture = {
    width: level.width + 2 * MARGIN,
    height: level.height + 2 * MARGIN,
    nodes: [],
    edges: [],
    boxes: [],
  };
  draw(level, MARGIN, MARGIN, picture, new Map());
  return picture;
}

/** A node, or a box with the graph that is within it. */
interface Item {
  id: string;
  width: number;
  height: number;
  node: GraphNode | null;
  inner: Level | null;
}

/** An edge between items: that of the nodes at its ends, or of the boxes that they are in. */
interface Lifted extends Link {
  edge: GraphEdge;
}

/** A graph without the graphs within it, which are boxes, and how large it is. */
interface Level {
  items: Map<string, Item>;
  rows: { ids: string[]; width: number; height: number }[];
  links: Lifted[];
  waypoints: Map<Lifted, string[]>;
  back: Set<Lifted>;
  /** The edges back that are drawn along the side. */
  lanes: Lifted[];
  /** Without the lanes. */
  inner: number;
  width: number;
  height: number;
}

function levelOf(drawing: GraphDrawing, edges: readonly GraphEdge[], group: string | null): Level {
  const items = new Map<string, Item>();
  for (const node of drawing.nodes) {
    const id = itemIn(group, node);
    if (id === null || items.has(id)) continue;
    const name = boxIn(group, node);
    if (name === null) items.set(id, { id, width: widthOf(node.name), height: HEIGHT, node, inner: null });
    else {
      const inner = levelOf(drawing, edges, name);
      const width = Math.max(inner.width, widthOf(lastOf(name))) + 2 * PADDING;
      items.set(id, { id, width, height: inner.height + TITLE + PADDING, node: null, inner });
    }
  }
  const nodes = new Map(drawing.nodes.map((node) => [node.id, node]));
  const links = edges.flatMap((edge): Lifted[] => {
    const [from, to] = [nodes.get(edge.source), nodes.get(edge.target)];
    if (from === undefined || to === undefined) return [];
    const [source, target] = [itemIn(group, from), itemIn(group, to)];
    return source === null || target === null || source === target ? [] : [{ source, target, edge }];
  });
  const back = edgesBack(items, links);
  const forward = links.filter((link) => !back.has(link));
  const { layers, waypoints, steps } = withWaypoints(layersOf(items, forward), forward);
  const width = (id: string) => items.get(id)?.width ?? WAYPOINT;
  const rows = order(layers, steps).map((ids) => ({
    ids,
    width: ids.reduce((sum, id) => sum + width(id) + GAP, -GAP),
    height: Math.max(HEIGHT, ...ids.map((id) => items.get(id)?.height ?? 0)),
  }));
  const downward = new Set(forward.map(({ edge }) => pair(edge.source, edge.target)));
  const lanes = [...back].filter(({ edge }) => !downward.has(pair(edge.target, edge.source)));
  const inner = Math.max(0, ...rows.map((row) => row.width));
  return {
    items,
    rows,
    links,
    waypoints,
    back,
    lanes,
    inner,
    width: inner + (lanes.length > 0 ? 16 + lanes.length * 7 : 0),
    height: rows.reduce((sum, row) => sum + row.height + BETWEEN, -BETWEEN) + (lanes.length > 0 ? BELOW : 0),
  };
}

/** Put a level at a place of the picture. `placed` gets its nodes, with those of the graphs within it. */
function draw(
  level: Level,
  left: number,
  top: number,
  picture: Picture,
  placed: Map<string, PlacedNode>,
): void {
  const { items, back, lanes } = level;
  const passed = new Map<string, PlacedNode>();
  /** The row of each item. */
  const rowOf = new Map<string, Row>();
  let y = top;
  for (const row of level.rows) {
    const place: Row = { top: y, bottom: y + row.height, isFirst: y === top };
    let x = left + (level.inner - row.width) / 2;
    for (const id of row.ids) {
      const item = items.get(id);
      const width = item?.width ?? WAYPOINT;
      rowOf.set(id, place);
      const middle = { x: x + width / 2, y: y + row.height / 2, width };
      if (item === undefined) {
        passed.set(id, { ...middle, id, name: "", kind: "node", height: row.height });
      } else if (item.node !== null) {
        const { kind } = item.node;
        const node = { ...middle, id: item.node.id, name: nameOf(item.node.name), kind, height: HEIGHT };
        placed.set(node.id, node);
        picture.nodes.push(node);
      } else if (item.inner !== null) {
        const { inner, height } = item;
        const corner = y + (row.height - height) / 2;
        const group = item.id.slice(BOX.length);
        picture.boxes.push({ id: group, name: nameOf(lastOf(group)), left: x, top: corner, width, height });
        draw(inner, x + (width - inner.width) / 2, corner + TITLE, picture, placed);
      }
      x += width + GAP;
    }
    y += row.height + BETWEEN;
  }
  const upward = new Set([...back].map(({ edge }) => pair(edge.target, edge.source)));
  for (const link of level.links) {
    const { source, target, conditional } = link.edge;
    const [from, to] = [placed.get(source), placed.get(target)];
    const lane = lanes.indexOf(link);
    const [above, below] = [rowOf.get(link.source), rowOf.get(link.target)];
    if (from === undefined || to === undefined || above === undefined || below === undefined) continue;
    if (back.has(link) && lane < 0) continue;
    const stops = (level.waypoints.get(link) ?? []).flatMap((id) => passed.get(id) ?? []);
    picture.edges.push({
      key: String(picture.edges.length),
      path: back.has(link)
        ? sidePath(
            { node: from, row: above },
            { node: to, row: below },
            lane,
            left + level.inner + 10,
            placed,
          )
        : downPath(from, above.bottom, stops, below.top, to),
      conditional,
      both: !back.has(link) && upward.has(pair(source, target)),
    });
  }
}

/** Begins the ids of boxes, which nodes may have too. */
const BOX = "box ";

/** The item of a level in which a node is. `null` if it is outside. */
function itemIn(group: string | null, node: GraphNode): string | null {
  if (group !== null && node.group !== group && !node.group?.startsWith(`${group}:`)) return null;
  const box = boxIn(group, node);
  return box === null ? node.id : BOX + box;
}

/** The graph within a level in which a node is. `null` if the node is in the level itself. */
function boxIn(group: string | null, node: GraphNode): string | null {
  if (node.group === null || node.group === group) return null;
  const end = node.group.indexOf(":", group === null ? 0 : group.length + 1);
  return end < 0 ? node.group : node.group.slice(0, end);
}

function lastOf(group: string): string {
  return group.slice(group.lastIndexOf(":") + 1);
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
function edgesBack(items: ReadonlyMap<string, Item>, edges: readonly Lifted[]): Set<Lifted> {
  const out = groupBy(edges, (edge) => edge.source);
  const back = new Set<Lifted>();
  const state = new Map<string, "open" | "done">();
  const isStart = ({ node }: Item) => Number(node?.kind === "start");
  const first = [...items.values()].sort((a, b) => isStart(b) - isStart(a));
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

function layersOf(items: ReadonlyMap<string, Item>, forward: readonly Lifted[]): string[][] {
  const depth = new Map([...items.keys()].map((id) => [id, 0]));
  for (let round = 0; round < items.size; round++) {
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
  const others = [...items.keys()].filter((id) => id !== "__end__").map((id) => depth.get(id) ?? 0);
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
  waypoints: Map<Lifted, string[]>;
  /** From layer to layer. */
  steps: Link[];
}

/** Give each edge that passes layers a place in each of them. */
function withWaypoints(layers: string[][], forward: readonly Lifted[]): Layered {
  const depth = new Map(layers.flatMap((ids, layer) => ids.map((id) => [id, layer] as const)));
  const waypoints = new Map<Lifted, string[]>();
  const steps: Link[] = [];
  forward.forEach((edge, index) => {
    let above = edge.source;
    for (let layer = (depth.get(edge.source) ?? 0) + 1; layer < (depth.get(edge.target) ?? 0); layer++) {
      const id = JSON.stringify([index, layer]);
      layers[layer]?.push(id);
      waypoints.set(edge, [...(waypoints.get(edge) ?? []), id]);
      steps.push({ source: above, target: id });
      above = id;
    }
    steps.push({ source: above, target: edge.target });
  });
  return { layers, waypoints, steps };
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

function downPath(
  from: PlacedNode,
  bottom: number,
  stops: readonly PlacedNode[],
  top: number,
  to: PlacedNode,
): string {
  let [x1, y1] = [from.x, from.y + from.height / 2];
  let path = `M${x1} ${y1}`;
  // A line of no length would turn the arrow at its end.
  const down = (y: number) => {
    if (y > y1) path += `V${y}`;
    y1 = y;
  };
  const curve = (x2: number, y2: number) => {
    const bend = (y2 - y1) / 2;
    path += `C${x1} ${y1 + bend} ${x2} ${y2 - bend} ${x2} ${y2}`;
    [x1, y1] = [x2, y2];
  };
  down(bottom);
  for (const stop of stops) {
    curve(stop.x, stop.y - stop.height / 2);
    down(stop.y + stop.height / 2);
  }
  curve(to.x, top);
  down(to.y - to.height / 2);
  return path;
}

interface Row {
  top: number;
  bottom: number;
  isFirst: boolean;
}

interface End {
  node: PlacedNode;
  row: Row;
}

/** Along the side of the level, around what stands between the side and the ends. */
function sidePath(
  from: End,
  to: End,
  lane: number,
  side: number,
  placed: ReadonlyMap<string, PlacedNode>,
): string {
  const x = side + (lane + 1) * 7;
  const apart = 8 + (lane % 3) * 4;
  const isFree = ({ node }: End) =>
    ![...placed.values()].some(
      (one) => one.x > node.x && one.x < x && Math.abs(one.y - node.y) < (one.height + node.height) / 2,
    );
  const points: Point[] = [];
  if (isFree(from)) points.push([from.node.x + from.node.width / 2, from.node.y], [x, from.node.y]);
  else {
    const y = from.row.bottom + apart;
    points.push([from.node.x, from.node.y + from.node.height / 2], [from.node.x, y], [x, y]);
  }
  if (to.row.isFirst || isFree(to)) points.push([x, to.node.y], [to.node.x + to.node.width / 2, to.node.y]);
  else {
    const y = to.row.top - apart;
    points.push([x, y], [to.node.x, y], [to.node.x, to.node.y - to.node.height / 2]);
  }
  return roundedPath(points);
}

type Point = readonly [x: number, y: number];

/** Lines with rounded corners. */
function roundedPath(points: readonly Point[]): string {
  return points
    .map((point, index) => {
      const [before, after] = [points[index - 1], points[index + 1]];
      if (before === undefined) return `M${point[0]} ${point[1]}`;
      if (after === undefined) return `L${point[0]} ${point[1]}`;
      const [ax, ay] = towards(point, before);
      const [bx, by] = towards(point, after);
      return `L${ax} ${ay}Q${point[0]} ${point[1]} ${bx} ${by}`;
    })
    .join("");
}

/** A point a corner away from one, on the way to another. */
function towards([x, y]: Point, [toX, toY]: Point): Point {
  const length = Math.hypot(toX - x, toY - y);
  const part = length === 0 ? 0 : Math.min(CORNER, length / 2) / length;
  return [x + (toX - x) * part, y + (toY - y) * part];
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
