// @vitest-environment node
import { expect, test } from "vitest";
import { Sticky } from "./sticky";

/** A list in a window of 100 pixels, which the browser scrolls as a browser does. */
class Window {
  readonly sticky = new Sticky();
  readonly box = { scrollTop: 0, scrollHeight: 100, clientHeight: 100 };

  grow(by: number): void {
    this.box.scrollHeight += by;
    this.box.scrollTop = Math.min(this.box.scrollTop, Math.max(0, this.box.scrollHeight - 100));
    const top = this.sticky.resized(this.box);
    if (top !== null) this.scroll(top);
  }

  scroll(to: number): void {
    this.box.scrollTop = Math.max(0, Math.min(to, this.box.scrollHeight - 100));
    this.sticky.scrolled(this.box);
  }

  get left(): number {
    return this.box.scrollHeight - 100 - this.box.scrollTop;
  }
}

test("a list that grows is followed to its end", () => {
  const window = new Window();
  for (const size of [10, 500, 3]) window.grow(size);
  expect(window.left).toBe(0);
});

test("a reader who scrolls up stays there while the list grows", () => {
  const window = new Window();
  window.grow(1000);
  window.scroll(600);
  window.grow(500);
  expect(window.box.scrollTop).toBe(600);
  expect(window.sticky.follows).toBe(false);
});

test("a reader who comes back to the end follows it again", () => {
  const window = new Window();
  window.grow(1000);
  window.scroll(600);
  window.scroll(980);
  window.grow(500);
  expect(window.left).toBe(0);
});

test("what grows before the browser tells of the last scroll does not count as scrolling up", () => {
  const window = new Window();
  window.grow(1000);
  window.box.scrollHeight += 300;
  window.sticky.scrolled(window.box);
  expect(window.sticky.follows).toBe(true);
});

test("what is folded away does not count as scrolling up", () => {
  const window = new Window();
  window.grow(1000);
  window.grow(-400);
  window.sticky.scrolled(window.box);
  window.grow(50);
  expect(window.left).toBe(0);
});
