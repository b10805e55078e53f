import { useSignal } from "@preact/signals";
import type { Memory } from "../../api/wire";
import { TextForm } from "../approvals/TextForm";
import { IconButton } from "../IconButton";
import { DeleteIcon, EditIcon, ForwardIcon } from "../Icons";
import { LongText } from "../LongText";

interface Props {
  memory: Memory;
  onChange: (text: string) => Promise<void>;
  onDelete: () => Promise<void>;
  onOrigin: () => Promise<void>;
}

export function MemoryRow({ memory, onChange, onDelete, onOrigin }: Props) {
  const editing = useSignal(false);
  const busy = useSignal(false);
  const run = async (work: Promise<void>) => {
    busy.value = true;
    await work;
    busy.value = false;
  };
  const { text } = memory;
  const words = text ?? JSON.stringify(memory.value ?? null);
  const about = words.slice(0, 40);
  if (editing.value && text !== null) {
    return (
      <li class="memory">
        <TextForm
          label="Memory"
          text={text}
          required
          submit="Save"
          onCancel={() => {
            editing.value = false;
          }}
          onDone={(changed) => {
            editing.value = false;
            if (changed !== text) void run(onChange(changed));
          }}
        />
      </li>
    );
  }
  return (
    <li class="memory">
      <div>
        <p dir="auto">
          <LongText text={words} />
        </p>
        <p class="form-help">
          {new Date(memory.updated_at * 1000).toLocaleDateString("en", { dateStyle: "medium" })}
        </p>
      </div>
      <div class="memory-actions">
        {memory.response_id != null && (
          <IconButton
            small
            label={`Open the conversation of “${about}”`}
            disabled={busy.value}
            onClick={() => void run(onOrigin())}
          >
            <ForwardIcon />
          </IconButton>
        )}
        {text !== null && (
          <IconButton
            small
            label={`Change “${about}”`}
            disabled={busy.value}
            onClick={() => {
              editing.value = true;
            }}
          >
            <EditIcon />
          </IconButton>
        )}
        <IconButton
          small
          label={`Delete “${about}”`}
          disabled={busy.value}
          onClick={() => void run(onDelete())}
        >
          <DeleteIcon />
        </IconButton>
      </div>
    </li>
  );
}
