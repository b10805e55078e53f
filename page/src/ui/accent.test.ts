// @vitest-environment node
import { expect, test } from "vitest";
import { applyAccent, contrast, readableOn } from "./accent";

test("black on white has the contrast that WCAG names", () => {
  expect(contrast("#000000", "#ffffff")).toBeCloseTo(21);
});

test.each(["#ffff00", "#ff00ff", "#eeeeee", "#0b6b63", "#000000", "#ffffff", "#8888ff"])(
  "words in the accent %s can be read on both grounds",
  (color) => {
    for (const ground of ["#f2f2ef", "#2d3137", "#ffffff", "#16181b"]) {
      expect(contrast(readableOn(ground, color) ?? "", ground)).toBeGreaterThanOrEqual(4.5);
    }
  },
);

test("a color that is readable stays as the operator wrote it", () => {
  expect(readableOn("#ffffff", "#0b6b63")).toBe("#0b6b63");
});

test("words on the accent are readable in both themes, and what is no color changes nothing", () => {
  const set = new Map<string, string>();
  const root = {
    style: { setProperty: (name: string, value: string | null) => void set.set(name, value ?? "") },
  };
  applyAccent(root, { color: "red", color_dark: null });
  expect(set.size).toBe(0);
  applyAccent(root, { color: "#ff8800", color_dark: "#003366" });
  for (const theme of ["light", "dark"]) {
    const [ground, words] = [set.get(`--accent-${theme}`) ?? "", set.get(`--on-accent-${theme}`) ?? ""];
    expect(contrast(ground, words)).toBeGreaterThanOrEqual(4.5);
  }
});
