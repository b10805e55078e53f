import type { PageSettings } from "../api/wire";

type Rgb = readonly [number, number, number];

function parse(color: string): Rgb | null {
  const match = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})$/i.exec(color);
  if (match === null) return null;
  return [1, 2, 3].map((i) => Number.parseInt(match[i] ?? "0", 16)) as unknown as Rgb;
}

function luminance(color: Rgb): number {
  const [r, g, b] = color.map((value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

/** The contrast of two colors as WCAG 2.2 defines it, from 1 to 21. */
export function contrast(one: string, other: string): number {
  const [a, b] = [parse(one), parse(other)];
  if (a === null || b === null) return 1;
  const [dark, light] = [luminance(a), luminance(b)].sort((x, y) => x - y) as [number, number];
  return (light + 0.05) / (dark + 0.05);
}

/** The color, moved toward black or white until its words can be read on `background`: a contrast of 4.5. */
export function readableOn(background: string, color: string): string | null {
  const from = parse(color);
  const ground = parse(background);
  if (from === null || ground === null) return null;
  const target = luminance(ground) > 0.5 ? 0 : 255;
  for (let step = 0; step <= 20; step++) {
    const moved = from.map((value) => Math.round(value + ((target - value) * step) / 20));
    const text = `#${moved.map((value) => value.toString(16).padStart(2, "0")).join("")}`;
    if (contrast(text, background) >= 4.5) return text;
  }
  return null;
}

// The grounds on which words in the accent color stand, of `styles/tokens.css`: surface of the light theme, raised of the dark one.
const LIGHT_GROUND = "#f2f2ef";
const DARK_GROUND = "#2d3137";

/** Give the page the operator's colors. The dark theme takes the light one's color if it has none of its own. */
export function applyAccent(
  root: { style: Pick<CSSStyleDeclaration, "setProperty"> },
  settings: Pick<PageSettings, "color" | "color_dark">,
): void {
  const apply = (theme: "light" | "dark", ground: string, color: string | null) => {
    const readable = color === null ? null : readableOn(ground, color);
    if (readable === null) return;
    root.style.setProperty(`--accent-${theme}`, readable);
    const dark = contrast(readable, "#111111") > contrast(readable, "#ffffff");
    root.style.setProperty(`--on-accent-${theme}`, dark ? "#111111" : "#ffffff");
  };
  apply("light", LIGHT_GROUND, settings.color);
  apply("dark", DARK_GROUND, settings.color_dark ?? settings.color);
}
