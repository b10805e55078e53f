import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { DeletedData, Memory } from "../../api/wire";
import { usePage } from "../context";
import { failureWords } from "../failures";
import { ConfirmDialog } from "./ConfirmDialog";
import { Dialog } from "./Dialog";
import { MemoryRow } from "./MemoryRow";
import { UsageSection } from "./UsageSection";

interface Props {
  /** Called when the reader goes to the conversation of a memory. */
  onOpened: () => void;
  onClose: () => void;
}

/** What graphs remember about the reader, and one button that deletes all that is stored. */
export function DataDialog({ onOpened, onClose }: Props) {
  const { chat, announce, decisions } = usePage();
  const { memories } = chat;
  const confirming = useSignal(false);
  const failure = useSignal<string | null>(null);
  const deleted = useSignal<DeletedData | null>(null);
  useEffect(() => void memories.load(), [memories]);

  const attempt = async (work: () => Promise<void>, otherwise: string) => {
    failure.value = null;
    try {
      await work();
    } catch (error) {
      failure.value = failureWords(error, otherwise);
    }
  };
  const goTo = (memory: Memory) =>
    attempt(async () => {
      const id = await memories.origin(memory);
      if (id === null) {
        failure.value = "This was not saved in a conversation, or the conversation is deleted.";
        return;
      }
      onClose();
      onOpened();
      await chat.show(id);
    }, "The conversation could not be found. Try again.");
  const forget = () =>
    attempt(async () => {
      deleted.value = await memories.forgetEverything();
      decisions.clear();
      announce(countsOf(deleted.value));
    }, "Nothing was deleted. Try again.");

  const entries = memories.entries.value;
  const problem = memories.problem.value;
  return (
    <Dialog title="Data and memory" onClose={onClose} wide>
      <div class="stack">
        <p>
          What the assistants of this service have noted about you. They may use it in every conversation.
        </p>
        {problem !== null && <p class="form-error">{problem.message}</p>}
        {failure.value !== null && (
          <p class="form-error" role="alert">
            {failure.value}
          </p>
        )}
        {entries.length === 0 && problem === null && (
          <p class="muted">{memories.loading.value ? "Loading …" : "Nothing is remembered about you."}</p>
        )}
        {entries.length > 0 && (
          <ul class="memories" aria-label="Memories">
            {entries.map((memory) => (
              <MemoryRow
                key={memory.id}
                memory={memory}
                onChange={(text) =>
                  attempt(() => memories.change(memory.id, text), "The text was not changed. Try again.")
                }
                onDelete={() => attempt(() => memories.remove(memory.id), "It was not deleted. Try again.")}
                onOrigin={() => goTo(memory)}
              />
            ))}
          </ul>
        )}
        {memories.hasMore.value && (
          <button type="button" class="text-button" onClick={() => void memories.more()}>
            Show more
          </button>
        )}
        <UsageSection />
        <h3>Delete everything</h3>
        <p>This deletes all your conversations, answers and memories that the service stores.</p>
        {deleted.value !== null && <p role="status">{countsOf(deleted.value)}</p>}
        <div class="buttons">
          <button
            type="button"
            class="button danger"
            onClick={() => {
              confirming.value = true;
            }}
          >
            Delete everything
          </button>
          <button type="button" class="button" onClick={onClose}>
            Close
          </button>
        </div>
      </div>
      {confirming.value && (
        <ConfirmDialog
          title="Delete everything?"
          words="All your conversations, answers and memories will be deleted. This cannot be undone."
          confirm="Delete everything"
          onConfirm={() => void forget()}
          onClose={() => {
            confirming.value = false;
          }}
        />
      )}
    </Dialog>
  );
}

function countsOf({ conversations, responses, memories }: DeletedData): string {
  const count = (number: number, one: string, many: string) => `${number} ${number === 1 ? one : many}`;
  const parts = [
    count(conversations, "conversation", "conversations"),
    count(responses, "answer", "answers"),
    count(memories, "memory", "memories"),
  ];
  return `Deleted: ${parts.join(", ")}.`;
}
