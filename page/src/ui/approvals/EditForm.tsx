import { useSignal } from "@preact/signals";
import { useEffect, useId, useMemo, useRef } from "preact/hooks";
import { focusWhenDrawn } from "../focus";
import { recordOf } from "./argumentsText";
import { parseJson, readFields, stateOf } from "./formState";
import { SchemaForm } from "./SchemaForm";
import { fieldsOf, type Schema } from "./schema";

interface Props {
  name: string;
  schema: Schema | null;
  text: string;
  onCancel: () => void;
  onDone: (values: Record<string, unknown>) => void;
}

/** Changes the arguments of a call: a form where the schema says what they are, and JSON where it does not. */
export function EditForm({ name, schema, text, onCancel, onDone }: Props) {
  const before = useMemo(() => recordOf(text), [text]);
  const fields = useMemo(() => {
    const shapes = before === null ? null : fieldsOf(schema);
    return (
      shapes?.map((shape) => stateOf(shape, Object.hasOwn(before ?? {}, shape.name), before?.[shape.name])) ??
      null
    );
  }, [schema, before]);
  const json = useSignal(before === null ? text : JSON.stringify(before, null, 2));
  const error = useSignal<string | null>(null);
  const form = useRef<HTMLFormElement>(null);
  const id = useId();

  useEffect(() => form.current?.querySelector<HTMLElement>("input, select, textarea")?.focus(), []);

  const read = (): Record<string, unknown> | null => {
    if (fields !== null) return readFields(fields, before ?? {});
    const parsed = parseJson(json.value);
    if ("error" in parsed) {
      error.value = parsed.error;
      return null;
    }
    const isObject =
      typeof parsed.value === "object" && parsed.value !== null && !Array.isArray(parsed.value);
    error.value = isObject ? null : 'Write a JSON object, such as {"city": "Bonn"}.';
    return isObject ? (parsed.value as Record<string, unknown>) : null;
  };

  return (
    <form
      ref={form}
      class="form"
      aria-label={`Edit the arguments of ${name}`}
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        const values = read();
        if (values !== null) onDone(values);
        else focusWhenDrawn(() => form.current?.querySelector<HTMLElement>('[aria-invalid="true"]'));
      }}
    >
      {fields !== null ? (
        <SchemaForm fields={fields} />
      ) : (
        <div class="form-row">
          <label for={id}>Arguments as JSON</label>
          <textarea
            id={id}
            class="field json"
            rows={8}
            spellcheck={false}
            value={json}
            aria-invalid={error.value !== null}
            aria-describedby={error.value !== null ? `${id}-error` : undefined}
            onInput={(event) => {
              json.value = event.currentTarget.value;
            }}
          />
          {error.value !== null && (
            <p class="form-error" id={`${id}-error`}>
              {error.value}
            </p>
          )}
        </div>
      )}
      <div class="buttons">
        <button type="submit" class="button primary">
          Approve with changes
        </button>
        <button type="button" class="button" onClick={onCancel}>
          Cancel
        </button>
      </div>
    </form>
  );
}
