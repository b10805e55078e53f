// @vitest-environment node
import { expect, test } from "vitest";
import type { UrlCitation } from "../api/wire";
import { citationsIn, type Passage, passagesOf, placesIn } from "./citations";

const LIBRARY: Passage = { number: 3, url: "https://a.example/", title: "Library", text: "Open until 8." };
const MUSEUM: Passage = { number: 5, url: "https://b.example/", title: "Museum", text: null };
const LIBRARY_AGAIN: Passage = { ...LIBRARY, number: 4, text: "Closed on Sundays." };

function cited(passage: Passage, start_index: number, end_index: number): UrlCitation {
  return { type: "url_citation", url: passage.url, title: passage.title, start_index, end_index };
}

test("Places in code points become places of a JavaScript string.", () => {
  const text = "a👩‍🚀b日𝔘c";
  const points = [...text];
  const places = points.map((_, index) => index);
  const units = places.map((place) => points.slice(0, place).join("").length);
  expect(placesIn(text, [...places, 99].reverse())).toEqual([text.length, ...units.reverse()]);
});

test("Places of a text without characters beyond the first plane are as they were, within the text.", () => {
  expect(placesIn("日本語", [-1, 2, 9])).toEqual([0, 2, 3]);
});

test("The number of a citation is that of its marker in the text.", () => {
  const text = "𝔘ntil 8 [3], closed on Sundays [4, 5].";
  const place = (part: string) => [...text.slice(0, text.indexOf(part))].length;
  const found = citationsIn(
    text,
    [
      cited(LIBRARY_AGAIN, place("[4"), place(".")),
      cited(MUSEUM, place("[4"), place(".")),
      cited(LIBRARY, place("[3"), place(",")),
    ],
    [LIBRARY, LIBRARY_AGAIN, MUSEUM],
  );
  expect(found.map((one) => [text.slice(one.start, one.end), one.number, one.title, one.passage])).toEqual([
    ["[3]", 3, "Library", "Open until 8."],
    ["[4, 5]", 4, "Library", "Closed on Sundays."],
    ["[4, 5]", 5, "Museum", null],
  ]);
});

test("A citation without a marker gets the number of its source, and otherwise one that is free.", () => {
  const unknown = { ...cited(LIBRARY, 1, 1), url: "https://c.example/", title: "" };
  const found = citationsIn("Text", [cited(MUSEUM, 0, 0), unknown, { ...unknown }], [LIBRARY, MUSEUM]);
  expect(found.map((one) => [one.number, one.title])).toEqual([
    [5, "Museum"],
    [6, "https://c.example/"],
    [6, "https://c.example/"],
  ]);
});

test("A malformed citation is left out.", () => {
  const wrong = [
    null,
    { type: "url_citation" },
    { ...cited(LIBRARY, 0, 1), start_index: 0.5 },
    { type: "file_citation" },
  ];
  expect(citationsIn("Text", wrong as UrlCitation[], [])).toEqual([]);
});

test("The passage of a source without one is that of the document that was found.", () => {
  const document = {
    number: 1,
    id: "c1",
    title: "Library",
    url: "https://a.example/",
    score: 0.5,
    text: "Open.",
  };
  const other = { ...document, number: 2, id: "c2", text: "Closed." };
  const source = { number: 1, doc_uri: "https://a.example/", title: "Library", chunk_id: "c1" };
  expect(passagesOf([source], [document, other])).toEqual([
    { number: 1, url: "https://a.example/", title: "Library", text: "Open." },
    { number: 2, url: "https://a.example/", title: "Library", text: "Closed." },
  ]);
});
