// @vitest-environment node
import { expect, test } from "vitest";
import type { GraphDrawing } from "../../api/wire";
import { DRAWING, fakeStep, fakeText } from "../testing/fakeChat";
import { layout } from "./layout";
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
