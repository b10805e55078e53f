// @vitest-environment node
import { expect, test } from "vitest";
import { type FieldState, readFields, stateOf } from "./formState";
import { type FieldShape, fieldsOf, type Schema } from "./schema";

function form(schema: Schema, values: Record<string, unknown>): Record<string, FieldState> {
  const shapes = fieldsOf(schema) ?? [];
  return Object.fromEntries(
    shapes.map((shape) => [
      shape.name,
      stateOf(shape, Object.hasOwn(values, shape.name), values[shape.name]),
    ]),
  );
}

const read = (fields: Record<string, FieldState>, values: Record<string, unknown> = {}) =>
  readFields(Object.values(fields), values);

const object = (properties: Schema, required: string[] = []): Schema => ({
  type: "object",
  properties,
  required,
});

const kinds = (schema: Schema): Record<string, FieldShape["kind"]> =>
  Object.fromEntries((fieldsOf(schema) ?? []).map((field) => [field.name, field.kind]));

test("what people can fill in becomes a field, and everything else is JSON", () => {
  const schema = {
    ...object({
      text: { type: "string" },
      sum: { type: "number" },
      count: { type: "integer" },
      yes: { type: "boolean" },
      size: { enum: ["s", "m"] },
      list: { type: "array", items: { type: "string" } },
      inside: object({ a: { type: "string" } }),
      reference: { $ref: "#/$defs/Color" },
      perhaps: { anyOf: [{ type: "integer" }, { type: "null" }] },
      either: { anyOf: [{ type: "integer" }, { type: "string" }] },
      map: { type: "object", additionalProperties: { type: "string" } },
      objects: { type: "array", items: object({ a: { type: "string" } }) },
      anything: {},
    }),
    $defs: { Color: { enum: ["red", "blue"] } },
  };
  expect(kinds(schema)).toEqual({
    text: "string",
    sum: "number",
    count: "integer",
    yes: "boolean",
    size: "choice",
    list: "list",
    inside: "object",
    reference: "choice",
    perhaps: "integer",
    either: "json",
    map: "json",
    objects: "json",
    anything: "json",
  });
});

test("a schema that refers to itself ends in JSON", () => {
  const schema = {
    ...object({ next: { $ref: "#/$defs/Node" }, loop: { $ref: "#/$defs/Loop" } }),
    $defs: { Node: object({ next: { $ref: "#/$defs/Node" } }), Loop: { $ref: "#/$defs/Loop" } },
  };
  expect(kinds(schema)).toEqual({ next: "object", loop: "json" });
});

test("no form is made of what is no object with properties", () => {
  expect([fieldsOf(null), fieldsOf({}), fieldsOf({ type: "string" }), fieldsOf(object({}))]).toEqual([
    null,
    null,
    null,
    null,
  ]);
});

test("a form that nobody changes gives back the arguments, with those that the schema does not name", () => {
  const schema = object(
    {
      text: { type: "string" },
      empty: { type: "string" },
      sum: { type: "number" },
      nothing: { anyOf: [{ type: "string" }, { type: "null" }] },
      no: { type: "boolean" },
      list: { type: "array", items: { type: "integer" } },
      inside: object({ a: { type: "string" }, b: { type: "integer" } }, ["a"]),
      map: { type: "object" },
      left_out: { type: "string" },
      left_out_too: object({ a: { type: "string" } }, ["a"]),
    },
    ["text", "inside"],
  );
  const values = {
    text: "a\nb",
    empty: "",
    sum: -1.5,
    nothing: null,
    no: false,
    list: [1, 2],
    inside: { a: "x", other: [1] },
    map: { k: "v" },
    unknown: { deep: true },
  };
  expect(read(form(schema, values), values)).toEqual(values);
});

test("what is filled in has the type of the schema", () => {
  const schema = object({
    sum: { type: "number" },
    size: { enum: [1, "1", null] },
    list: { type: "array", items: { type: "integer" } },
    inside: object({ a: { type: "string" } }, ["a"]),
    yes: { type: "boolean" },
  });
  const fields = form(schema, {});
  (fields.sum as FieldState).text.value = " 2,5 ";
  (fields.size as FieldState).text.value = "1";
  const item = stateOf((fields.list as FieldState).shape.item as FieldShape, false, undefined);
  item.text.value = "7";
  (fields.list as FieldState).items.value = [item];
  ((fields.inside as FieldState).fields[0] as FieldState).text.value = "x";
  (fields.yes as FieldState).checked.value = true;
  expect(read(fields)).toEqual({ sum: 2.5, size: "1", list: [7], inside: { a: "x" }, yes: true });
});

test.each<[string, Schema, string, string]>([
  ["text", { type: "string" }, "", "Fill in this field."],
  ["short text", { type: "string", minLength: 3 }, "ab", "Write at least 3 characters."],
  ["long text", { type: "string", maxLength: 2 }, "abc", "Write at most 2 characters."],
  ["a word for a number", { type: "number" }, "two", "Enter a number, such as 12.5."],
  ["no number", { type: "number" }, "", "Enter a number."],
  ["a part of a whole", { type: "integer" }, "1.5", "Enter a whole number."],
  ["too little", { type: "number", minimum: 1 }, "0", "The least is 1."],
  ["too much", { type: "number", maximum: 1 }, "2", "The most is 1."],
  ["no choice", { enum: ["a"] }, "", "Choose one of these."],
  ["no JSON", {}, "{", "This is not JSON."],
])("%s gets words that say what to change", (_, schema, text, words) => {
  const fields = form(object({ field: schema }, ["field"]), {});
  const field = fields.field as FieldState;
  field.text.value = text;
  expect(read(fields)).toBeNull();
  expect(field.error.value).toContain(words);
  field.text.value =
    { string: "abc", number: "1", integer: "1", choice: "0", json: "[1]" }[field.shape.kind as "json"] ?? "";
  if (field.shape.maxLength === 2) field.text.value = "ab";
  expect(read(fields)).not.toBeNull();
  expect(field.error.value).toBeNull();
});

test("an argument named like a property of every object is an argument", () => {
  const values = JSON.parse('{"__proto__": {"a": 1}, "constructor": "x"}') as Record<string, unknown>;
  const fields = form(object({ constructor: { type: "string" } }, ["constructor"]), values);
  const result = read(fields, values);
  expect(JSON.stringify(result)).toBe('{"__proto__":{"a":1},"constructor":"x"}');
});
