/**
 * Forms from JSON schemas. Only what people can fill in becomes a field: text, numbers, yes or no, choices, lists of
 * these, and objects of all of these. Everything else is a field for JSON. The service checks what is sent once more.
 */

export type Schema = Record<string, unknown>;
export type Scalar = "string" | "number" | "integer" | "boolean" | "choice";

export interface FieldShape {
  kind: Scalar | "list" | "object" | "json";
  name: string;
  label: string;
  help: string | null;
  required: boolean;
  nullable: boolean;
  choices: readonly unknown[];
  minimum: number | null;
  maximum: number | null;
  minLength: number;
  maxLength: number | null;
  default: unknown;
  /** What a list is made of. */
  item: FieldShape | null;
  fields: readonly FieldShape[];
}

const MOST_FIELDS = 60;
const DEEPEST = 5;

/** The fields of a schema of arguments, or `null` if no form can be made of it. */
export function fieldsOf(schema: Schema | null): FieldShape[] | null {
  if (schema === null) return null;
  const shape = shapeOf("", schema, true, schema, 0);
  return shape.kind === "object" && shape.fields.length > 0 ? [...shape.fields] : null;
}

function shapeOf(name: string, given: unknown, required: boolean, root: Schema, depth: number): FieldShape {
  const { schema, nullable } = plain(given, root);
  const shape: FieldShape = {
    kind: "json",
    name,
    label: text(schema.title) ?? name,
    help: text(schema.description),
    required,
    nullable,
    choices: [],
    minimum: number(schema.minimum),
    maximum: number(schema.maximum),
    minLength: number(schema.minLength) ?? 0,
    maxLength: number(schema.maxLength),
    default: schema.default,
    item: null,
    fields: [],
  };
  const choices = Array.isArray(schema.enum) ? schema.enum : "const" in schema ? [schema.const] : null;
  if (choices !== null) {
    const scalar = choices.every((choice) => choice === null || typeof choice !== "object");
    return scalar ? { ...shape, kind: "choice", choices: choices.slice(0, 500) } : shape;
  }
  switch (schema.type) {
    case "string":
    case "number":
    case "integer":
    case "boolean":
      return { ...shape, kind: schema.type };
    case "array": {
      const item = shapeOf("", schema.items ?? {}, true, root, depth + 1);
      const fillable = !["list", "object", "json"].includes(item.kind) && !item.nullable;
      return fillable ? { ...shape, kind: "list", item } : shape;
    }
    case "object": {
      const properties = record(schema.properties);
      const names = properties === null ? [] : Object.keys(properties);
      if (properties === null || names.length === 0 || names.length > MOST_FIELDS || depth >= DEEPEST)
        return shape;
      const needed = new Set(Array.isArray(schema.required) ? schema.required : []);
      const fields = names.map((key) => shapeOf(key, properties[key], needed.has(key), root, depth + 1));
      return { ...shape, kind: "object", fields };
    }
    default:
      return shape;
  }
}

/** Follow references, and take `X or null` apart. */
function plain(given: unknown, root: Schema): { schema: Schema; nullable: boolean } {
  let schema = record(given) ?? {};
  let nullable = false;
  for (let hops = 0; hops < 8; hops++) {
    const options = Array.isArray(schema.anyOf)
      ? schema.anyOf
      : Array.isArray(schema.oneOf)
        ? schema.oneOf
        : null;
    const all = Array.isArray(schema.allOf) && schema.allOf.length === 1 ? schema.allOf : null;
    const others = options?.filter((option) => record(option)?.type !== "null") ?? all;
    if (typeof schema.$ref === "string") {
      const { $ref, ...rest } = schema;
      schema = { ...(resolve($ref as string, root) ?? {}), ...rest };
    } else if (others !== null && others.length === 1) {
      nullable ||= options !== null && others.length < options.length;
      const { anyOf: _any, oneOf: _one, allOf: _all, ...rest } = schema;
      schema = { ...(record(others[0]) ?? {}), ...rest };
    } else if (Array.isArray(schema.type) && schema.type.includes("null") && schema.type.length === 2) {
      nullable = true;
      schema = { ...schema, type: schema.type.find((type) => type !== "null") };
    } else {
      break;
    }
  }
  return { schema, nullable };
}

function resolve(reference: string, root: Schema): Schema | null {
  if (!reference.startsWith("#/")) return null;
  let at: unknown = root;
  for (const step of reference.slice(2).split("/")) {
    const holder = record(at);
    const key = step.replaceAll("~1", "/").replaceAll("~0", "~");
    if (holder === null || !Object.hasOwn(holder, key)) return null;
    at = holder[key];
  }
  return record(at);
}

function record(value: unknown): Schema | null {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Schema) : null;
}

function text(value: unknown): string | null {
  return typeof value === "string" && value.trim() !== "" ? value : null;
}

function number(value: unknown): number | null {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}
