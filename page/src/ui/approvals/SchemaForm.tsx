import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";
import { IconButton } from "../IconButton";
import { CloseIcon, NewIcon } from "../Icons";
import { type FieldState, stateOf } from "./formState";

const LONG = 60;
const MOST_ITEMS = 500;

export function SchemaForm({ fields }: { fields: readonly FieldState[] }) {
  return (
    <div class="form">
      {fields.map((field) => (
        <FormField key={field.shape.name} field={field} />
      ))}
    </div>
  );
}

function FormField({ field }: { field: FieldState }) {
  const id = useId();
  const { shape } = field;
  const notes = <Notes field={field} id={id} />;
  const label = (
    <>
      {shape.label}
      {!shape.required && <span class="muted"> (optional)</span>}
    </>
  );
  if (shape.kind === "object") {
    return (
      <fieldset class="form-row nested">
        <legend>{label}</legend>
        {notes}
        <SchemaForm fields={field.fields} />
      </fieldset>
    );
  }
  if (shape.kind === "list") {
    return (
      <fieldset class="form-row">
        <legend>{label}</legend>
        {notes}
        <List field={field} />
      </fieldset>
    );
  }
  if (shape.kind === "boolean") {
    return (
      <div class="form-row">
        <label class="check" for={id}>
          <Control field={field} id={id} />
          {label}
        </label>
        {notes}
      </div>
    );
  }
  return (
    <div class="form-row">
      <label for={id}>{label}</label>
      <Control field={field} id={id} />
      {notes}
    </div>
  );
}

function Notes({ field, id }: { field: FieldState; id: string }): ComponentChildren {
  const { help } = field.shape;
  const error = field.error.value;
  return (
    <>
      {help !== null && (
        <p class="form-help" id={`${id}-help`} dir="auto">
          {help}
        </p>
      )}
      {error !== null && (
        <p class="form-error" id={`${id}-error`}>
          {error}
        </p>
      )}
    </>
  );
}

/** The control of a field of one value. */
function Control({ field, id, label }: { field: FieldState; id: string; label?: string }) {
  const { shape, text } = field;
  const error = field.error.value;
  const described = [shape.help !== null ? `${id}-help` : null, error !== null ? `${id}-error` : null].filter(
    (part) => part !== null,
  );
  const attributes = {
    id,
    // What the tool takes if the field stays empty.
    placeholder: shape.required || shape.default == null ? undefined : String(shape.default),
    class: "field",
    "aria-label": label,
    "aria-required": shape.required || undefined,
    "aria-invalid": error !== null,
    "aria-describedby": described.length > 0 ? described.join(" ") : undefined,
  };
  const onInput = (event: { currentTarget: { value: string } }) => {
    text.value = event.currentTarget.value;
  };
  switch (shape.kind) {
    case "boolean":
      return (
        <input
          {...attributes}
          class=""
          type="checkbox"
          checked={field.checked}
          onChange={(event) => {
            field.checked.value = event.currentTarget.checked;
          }}
        />
      );
    case "choice":
      return (
        <select {...attributes} value={text.value} onChange={onInput}>
          {(!shape.required || text.value === "") && <option value="">Not set</option>}
          {shape.choices.map((choice, index) => (
            <option key={String(choice)} value={String(index)}>
              {String(choice)}
            </option>
          ))}
        </select>
      );
    case "number":
    case "integer":
      return (
        <input
          {...attributes}
          inputMode={shape.kind === "integer" ? "numeric" : "decimal"}
          value={text}
          onInput={onInput}
        />
      );
    case "json":
      return (
        <textarea
          {...attributes}
          class="field json"
          rows={4}
          spellcheck={false}
          value={text}
          onInput={onInput}
        />
      );
    default:
      return typeof field.before === "string" &&
        (field.before.length > LONG || field.before.includes("\n")) ? (
        <textarea {...attributes} rows={4} dir="auto" value={text} onInput={onInput} />
      ) : (
        <input {...attributes} dir="auto" value={text} onInput={onInput} />
      );
  }
}

function List({ field }: { field: FieldState }) {
  const id = useId();
  const items = field.items.value;
  const { item } = field.shape;
  if (item === null) return null;
  return (
    <div>
      {items.map((entry, index) => {
        const entryId = `${id}-${index}`;
        return (
          <div class="form-row" key={index}>
            <div class="list-row">
              <Control field={entry} id={entryId} label={`${field.shape.label}, ${index + 1}`} />
              <IconButton
                label={`Remove ${field.shape.label}, ${index + 1}`}
                onClick={() => {
                  field.items.value = items.filter((other) => other !== entry);
                }}
              >
                <CloseIcon />
              </IconButton>
            </div>
            {entry.error.value !== null && (
              <p class="form-error" id={`${entryId}-error`}>
                {entry.error.value}
              </p>
            )}
          </div>
        );
      })}
      {items.length < MOST_ITEMS && (
        <button
          type="button"
          class="button"
          onClick={() => {
            field.items.value = [...items, stateOf(item, false, undefined)];
          }}
        >
          <NewIcon />
          Add an entry
        </button>
      )}
    </div>
  );
}
