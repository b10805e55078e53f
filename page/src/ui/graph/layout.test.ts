// @vitest-environment node
import { expect, test } from "vitest";
import type { GraphDrawing } from "../../api/wire";
import { DRAWING, fakeStep, fakeText } from "../testing/fakeChat";
import { layout, outerGraph } from "./layout";
import { lightsOf } from "./lights";

const place = (drawing: GraphDrawing) => new Map(layout(drawing).nodes.map((node) => [node.id, node]));

test("a node stands below those that lead to it, and the end stands last", () => {
  const at = place(DRAWING);
  const y = (id: string) => at.get(id)?.y ?? Number.NaN;
  expect(y("__start__")).toBeLessThan(y("planner"));
  expect(y("planner")).toBeLessThan(y("retriever"));
  expect(y("retriever")).toBe(y("tools"));
  expect(y("__end__")).toBeGreaterThan(y("tools"));
  expect(layout(DRAWING).edges.map((edge) => edge.both)).toEqual([false, true, true, false]);
});

test("in any graph no node covers another, nothing leaves the picture, and each pair of nodes has its edge", () => {
  let seed = 7;
  const random = (below: number) => {
    seed = (seed * 48271) % 2147483647;
    return seed % below;
  };
  for (let round = 0; round < 50; round++) {
    const count = 1 + random(30);
    const ids = Array.from({ length: count }, (_, i) => `node_${i}`.repeat(1 + random(3)));
    const edges = Array.from({ length: random(60) }, () => ({
      source: ids[random(count)] ?? "",
      target: ids[random(count)] ?? "",
      conditional: random(2) === 0,
    })).filter((edge) => edge.source !== edge.target);
    const drawing: GraphDrawing = {
      id: "any",
      complete: true,
      nodes: ids.map((id) => ({ id, name: id, kind: "node", group: null })),
      edges,
    };
    const { nodes, width, height, edges: drawn } = layout(drawing);
    const directed = new Set(edges.map((edge) => `${edge.source} ${edge.target}`));
    const joined = new Set(edges.map((edge) => [edge.source, edge.target].sort().join(" ")));
    expect(nodes.length).toBe(count);
    expect(drawn.length).toBeGreaterThanOrEqual(joined.size);
    expect(drawn.length + drawn.filter((edge) => edge.both).length).toBeGreaterThanOrEqual(directed.size);
    for (const a of nodes) {
      expect(a.x - a.width / 2).toBeGreaterThanOrEqual(0);
      expect(a.x + a.width / 2).toBeLessThanOrEqual(width);
      expect(a.y + a.height / 2).toBeLessThanOrEqual(height);
      for (const b of nodes) {
        const apart = Math.abs(a.x - b.x) >= (a.width + b.width) / 2 || Math.abs(a.y - b.y) >= a.height;
        expect(a === b || apart).toBe(true);
      }
    }
    expect(drawn.every((edge) => !edge.path.includes("NaN"))).toBe(true);
  }
});

const named = (id: string, kind: "start" | "node" | "end" = "node") => ({
  id,
  name: id.slice(id.lastIndexOf(":") + 1),
  kind,
  group: id.includes(":") ? id.slice(0, id.lastIndexOf(":")) : null,
});

test("graphs within a graph stand in boxes, which hold their nodes alone and cover no others", () => {
  let seed = 11;
  const random = (below: number) => {
    seed = (seed * 48271) % 2147483647;
    return seed % below;
  };
  for (let round = 0; round < 50; round++) {
    const groups = ["", "a:", "a:b:", "a:b:c:", "d:", "e:f:"];
    const ids = Array.from({ length: 2 + random(25) }, (_, i) => `${groups[random(groups.length)]}n${i}`);
    const pick = () => ids[random(ids.length)] ?? "";
    const edges = Array.from({ length: random(50) }, () => ({
      source: pick(),
      target: pick(),
      conditional: false,
    }));
    const drawing: GraphDrawing = { id: "any", complete: true, nodes: ids.map((id) => named(id)), edges };
    const { nodes, boxes, edges: drawn, width, height } = layout(drawing);
    const joined = new Set(
      edges
        .filter((edge) => edge.source !== edge.target)
        .map((edge) => [edge.source, edge.target].sort().join(" ")),
    );
    expect(nodes.length).toBe(ids.length);
    expect(drawn.length).toBeGreaterThanOrEqual(joined.size);
    expect(new Set(boxes.map((box) => box.id)).size).toBe(boxes.length);
    for (const box of boxes) {
      expect([
        box.left >= 0,
        box.top >= 0,
        box.left + box.width <= width,
        box.top + box.height <= height,
      ]).toEqual(Array(4).fill(true));
      for (const node of nodes) {
        const x =
          Math.min(box.left + box.width, node.x + node.width / 2) -
          Math.max(box.left, node.x - node.width / 2);
        const y =
          Math.min(box.top + box.height, node.y + node.height / 2) -
          Math.max(box.top, node.y - node.height / 2);
        const isInside = x === node.width && y === node.height;
        if (node.id.startsWith(`${box.id}:`))
          expect(isInside || x + y > node.width + node.height - 0.01).toBe(true);
        else expect(x <= 0.01 || y <= 0.01).toBe(true);
      }
    }
    expect(drawn.every((edge) => !edge.path.includes("NaN"))).toBe(true);
  }
});

test("of a large graph the outer nodes are left, with the edges between them", () => {
  const drawing: GraphDrawing = {
    id: "large",
    complete: true,
    nodes: [
      named("__start__", "start"),
      named("plan"),
      named("team:one"),
      named("team:deep:two"),
      named("__end__", "end"),
    ],
    edges: [
      { source: "__start__", target: "plan", conditional: false },
      { source: "plan", target: "team:one", conditional: true },
      { source: "team:one", target: "team:deep:two", conditional: false },
      { source: "team:deep:two", target: "plan", conditional: false },
      { source: "team:one", target: "plan", conditional: true },
      { source: "plan", target: "__end__", conditional: true },
    ],
  };
  const outer = outerGraph(drawing);
  expect(outer.nodes.map(({ id, kind, group }) => [id, kind, group])).toEqual([
    ["__start__", "start", null],
    ["plan", "node", null],
    ["team", "node", null],
    ["__end__", "end", null],
  ]);
  expect(outer.edges.map(({ source, target, conditional }) => [source, target, conditional])).toEqual([
    ["__start__", "plan", false],
    ["plan", "team", true],
    ["team", "plan", false],
    ["plan", "__end__", true],
  ]);
});

test("a node that runs is lit, and one that has run has the time of all its runs", () => {
  const lights = lightsOf([
    fakeStep({ name: "planner", seconds: 1 }),
    fakeStep({ name: "planner", seconds: 2 }),
    fakeText("…"),
    fakeStep({ name: "search", path: ["agents", "search"], status: "in_progress", seconds: null }),
    fakeStep({ name: "search", path: ["agents", "search"], status: "completed", seconds: 1 }),
  ]);
  expect([...lights]).toEqual([
    ["planner", { status: "completed", seconds: 3, runs: 2 }],
    ["agents:search", { status: "in_progress", seconds: 1, runs: 2 }],
  ]);
});
