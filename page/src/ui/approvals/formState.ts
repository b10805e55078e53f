import { type Signal, signal } from "@preact/signals";
import type { FieldShape } from "./schema";

/** A field as the reader fills it in. Which of its signals counts depends on the kind of its shape. */
export interface FieldState {
  shape: FieldShape;
  /** Of string, number, integer and json; of a choice, the index of the choice as text, or "". */
  text: Signal<string>;
  checked: Signal<boolean>;
  items: Signal<readonly FieldState[]>;
  fields: readonly FieldState[];
  error: Signal<string | null>;
  /** Whether the arguments have this field, and what it holds there. */
  given: boolean;
  before: unknown;
}

/** What a field says: a value, nothing (the field is left out), or an error. */
type Reading = { value: unknown } | "absent" | "wrong";

export function stateOf(shape: FieldShape, given: boolean, value: unknown): FieldState {
  const start = given ? value : shape.required ? shape.default : undefined;
  const state: FieldState = {
    shape,
    text: signal(startText(shape, start)),
    checked: signal(start === true),
    items: signal([]),
    fields: [],
    error: signal(null),
    given,
    before: value,
  };
  const { item } = shape;
  if (shape.kind === "list" && item !== null && Array.isArray(start)) {
    state.items.value = start.map((entry) => stateOf(item, true, entry));
  }
  if (shape.kind === "object") {
    const inside = (typeof start === "object" && start !== null ? start : {}) as Record<string, unknown>;
    state.fields = shape.fields.map((field) =>
      stateOf(field, Object.hasOwn(inside, field.name), inside[field.name]),
    );
  }
  return state;
}

function startText(shape: FieldShape, value: unknown): string {
  if (value === undefined) return "";
  if (shape.kind === "choice") {
    const index = shape.choices.indexOf(value);
    return index < 0 ? "" : String(index);
  }
  if (shape.kind === "json") return JSON.stringify(value, null, 2) ?? "";
  if (value === null) return "";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** The values of the fields, with what the arguments hold beside them, or `null` if a field has an error. */
export function readFields(
  fields: readonly FieldState[],
  beside: Record<string, unknown>,
): Record<string, unknown> | null {
  const known = new Set(fields.map((field) => field.shape.name));
  const values: Record<string, unknown> = Object.create(null);
  for (const [name, value] of Object.entries(beside)) if (!known.has(name)) values[name] = value;
  let wrong = false;
  for (const field of fields) {
    const reading = read(field);
    if (reading === "wrong") wrong = true;
    else if (reading !== "absent") values[field.shape.name] = reading.value;
  }
  return wrong ? null : { ...values };
}

function read(field: FieldState): Reading {
  field.error.value = null;
  const { shape } = field;
  switch (shape.kind) {
    case "string":
      return readString(field);
    case "number":
    case "integer":
      return readNumber(field);
    case "boolean":
      if (!field.checked.value && !field.given && !shape.required) return "absent";
      if (!field.checked.value && field.given && field.before === null) return { value: null };
      return { value: field.checked.value };
    case "choice":
      if (field.text.value === "") return empty(field, "Choose one of these.");
      return { value: shape.choices[Number(field.text.value)] };
    case "json":
      return readJson(field);
    case "list":
      return readList(field);
    case "object":
      return readObject(field);
  }
}

function readString(field: FieldState): Reading {
  const { shape } = field;
  const text = field.text.value;
  if (text === "" && field.before !== "") {
    if (!shape.required || shape.nullable) return empty(field, "");
    return wrong(field, "Fill in this field.");
  }
  const length = [...text].length;
  if (length < shape.minLength) return wrong(field, `Write at least ${shape.minLength} characters.`);
  if (shape.maxLength !== null && length > shape.maxLength) {
    return wrong(field, `Write at most ${shape.maxLength} characters.`);
  }
  return { value: text };
}

function readNumber(field: FieldState): Reading {
  const { shape } = field;
  const text = field.text.value.trim().replace(",", ".");
  if (text === "") return empty(field, "Enter a number.");
  const value = Number(text);
  if (!/^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(text) || !Number.isFinite(value)) {
    return wrong(field, "Enter a number, such as 12.5.");
  }
  if (shape.kind === "integer" && !Number.isSafeInteger(value)) return wrong(field, "Enter a whole number.");
  if (shape.minimum !== null && value < shape.minimum) return wrong(field, `The least is ${shape.minimum}.`);
  if (shape.maximum !== null && value > shape.maximum) return wrong(field, `The most is ${shape.maximum}.`);
  return { value };
}

function readJson(field: FieldState): Reading {
  if (field.text.value.trim() === "") return empty(field, "Enter JSON.");
  const parsed = parseJson(field.text.value);
  return "error" in parsed ? wrong(field, parsed.error) : parsed;
}

function readList(field: FieldState): Reading {
  const items = field.items.value;
  if (items.length === 0 && !field.given && !field.shape.required) return "absent";
  if (items.length === 0 && field.given && field.before === null) return { value: null };
  const readings = items.map(read);
  const values: unknown[] = [];
  for (const reading of readings) {
    if (reading === "wrong") return "wrong";
    if (reading !== "absent") values.push(reading.value);
  }
  return { value: values };
}

function readObject(field: FieldState): Reading {
  const before = typeof field.before === "object" && field.before !== null ? field.before : {};
  const values = readFields(field.fields, before as Record<string, unknown>);
  const optional = !field.shape.required || field.shape.nullable;
  if (optional && (!field.given || field.before === null) && isUntouched(field)) {
    for (const inside of field.fields) clearErrors(inside);
    return field.given ? { value: null } : "absent";
  }
  return values === null ? "wrong" : { value: values };
}

/** Whether nothing was filled in, in an object that the arguments do not have. */
function isUntouched(field: FieldState): boolean {
  if (field.shape.kind === "object") return field.fields.every(isUntouched);
  const start = startText(field.shape, field.shape.required ? field.shape.default : undefined);
  return field.text.value === start && field.items.value.length === 0 && !field.checked.value;
}

function clearErrors(field: FieldState): void {
  field.error.value = null;
  for (const inside of field.fields) clearErrors(inside);
}

function empty(field: FieldState, words: string): Reading {
  const { shape } = field;
  if (field.given && field.before === null && shape.nullable) return { value: null };
  if (shape.required) return shape.nullable ? { value: null } : wrong(field, words);
  return "absent";
}

function wrong(field: FieldState, words: string): "wrong" {
  field.error.value = words;
  return "wrong";
}

/** Read JSON that a person wrote. */
export function parseJson(text: string): { value: unknown } | { error: string } {
  try {
    return { value: JSON.parse(text) };
  } catch (problem) {
    const place = /line (\d+) column (\d+)/.exec(problem instanceof Error ? problem.message : "");
    const where = place === null ? "" : ` The mistake is near line ${place[1]}, column ${place[2]}.`;
    return { error: `This is not JSON.${where}` };
  }
}
