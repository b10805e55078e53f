import { type Signal, useSignal } from "@preact/signals";
import type { RefObject } from "preact";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import type { Attachment, OpenConversation } from "../conversation/model";
import { AddFiles } from "./attachments/AddFiles";
import { pastedFiles } from "./attachments/carried";
import { TrayView } from "./attachments/TrayView";
import { refusalOf, termsOf } from "./attachments/terms";
import type { Tray } from "./attachments/tray";
import { useDrop } from "./attachments/useDrop";
import { usePage } from "./context";
import { failureWords } from "./failures";
import { focusConversation } from "./focus";
import { SendIcon, StopIcon } from "./Icons";
import { MeanwhileList } from "./MeanwhileList";
import { growToFit, isSendKey } from "./textField";
import { newestOf, waitsIn } from "./thread/newest";

interface Props {
  open: OpenConversation;
  field: RefObject<HTMLTextAreaElement | null>;
  /** Why the last message was not sent. */
  failure: Signal<string | null>;
  onSend: (text: string, attachments: readonly Attachment[]) => void;
  /** The reader says something while an answer is written. */
  onSay: (text: string, attachments: readonly Attachment[]) => void;
  /** The reader wants to edit the last message. */
  onEditLast: () => void;
}

export function Composer({ open, field, failure, onSend, onSay, onEditLast }: Props) {
  const { chat, drafts, announce } = usePage();
  const id = open.id.value;
  const busy = open.busy.value;
  const text = useSignal("");
  const tray = useTray(open, id);
  const terms = termsOf(chat);
  const entries = tray.entries.value;
  const { disclaimer, unanswered } = chat.settings.value;
  const refusal = refusalOf(terms, text.value.trim(), entries);
  const locked = (text.value.trim() === "" && entries.length === 0) || refusal !== null || tray.reading.value;
  const waits = !busy && waitsIn(newestOf(open.turns.value));
  const add = async (files: readonly File[]) => {
    const added = await tray.add(files, terms, text.peek());
    if (added.length > 0) announce(`Added ${added.join(", ")}.`);
  };
  const dropping = useDrop(add);
  const stopButton = useRef<HTMLButtonElement>(null);
  // Asked while the button is still there: it goes with the answer that it could stop, and would take the focus along.
  const focusGoes = !busy && stopButton.current !== null && document.activeElement === stopButton.current;

  useLayoutEffect(() => {
    if (focusGoes) focusConversation();
  }, [busy]);

  // Its end must come before the beginning of the next one, or a draft would go to the wrong conversation.
  useLayoutEffect(() => {
    text.value = drafts.read(open.id.peek());
    const save = () => drafts.write(open.id.peek(), text.peek());
    window.addEventListener("pagehide", save);
    return () => {
      save();
      window.removeEventListener("pagehide", save);
    };
  }, [open]);
  useLayoutEffect(() => {
    if (field.current !== null) growToFit(field.current);
  }, [text.value]);
  useEffect(() => {
    // A conversation gets its id with its first message, and what was typed since belongs to it.
    if (id !== null && text.peek() !== "" && drafts.read(null) === text.peek()) drafts.write(null, "");
    const timer = setTimeout(() => drafts.write(id, text.peek()), 250);
    return () => clearTimeout(timer);
  }, [id, text.value]);

  const send = () => {
    if (locked || (busy && !open.takesMore.peek())) return;
    const sent = text.value;
    text.value = "";
    drafts.write(id, "");
    (busy ? onSay : onSend)(sent.trim(), tray.take());
    // The button goes with the text.
    if (busy) field.current?.focus();
  };
  const stop = () => {
    failure.value = null;
    open.stop().catch((error: unknown) => {
      failure.value = `The answer was not stopped. ${failureWords(error, "Try again.")}`;
    });
  };

  return (
    <form
      class="composer"
      aria-label="Message"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <div class="composer-column">
        {!chat.online.value && (
          <p class="notice" role="status">
            You are offline. What you write is kept.
          </p>
        )}
        {failure.value !== null && (
          <p class="notice problem" role="alert">
            {failure.value}
          </p>
        )}
        {waits && (
          <p class="notice" id="waits">
            {unanswered === "reject"
              ? "The assistant waits for your decision. A message rejects what it asks, and goes on with the message."
              : "The assistant waits for your decision. After a message it asks again, and it reads the message when you have decided."}
          </p>
        )}
        <MeanwhileList
          open={open}
          onSend={(message) => {
            open.drop(message);
            onSend(message.text, message.attachments);
            field.current?.focus();
          }}
        />
        <TrayView tray={tray} refusal={refusal} onEmpty={() => field.current?.focus()} />
        <div class={dropping ? "composer-box dropping" : "composer-box"}>
          <AddFiles terms={terms} disabled={tray.reading.value} onFiles={add} />
          <textarea
            ref={field}
            id="message"
            class="composer-text"
            rows={1}
            dir="auto"
            aria-label="Your message"
            aria-describedby={
              [...(waits ? ["waits"] : []), ...(disclaimer === null ? [] : ["disclaimer"])].join(" ") ||
              undefined
            }
            placeholder={dropping ? "Drop the files here" : "Write a message"}
            enterkeyhint="send"
            value={text}
            onInput={(event) => {
              text.value = event.currentTarget.value;
            }}
            onPaste={(event) => {
              const files = pastedFiles(event);
              if (files.length === 0) return;
              event.preventDefault();
              void add(files);
            }}
            onKeyDown={(event) => {
              if (isSendKey(event)) {
                event.preventDefault();
                send();
              } else if (event.key === "Escape" && busy && !event.isComposing) {
                stop();
              } else if (event.key === "ArrowUp" && text.value === "" && !busy) {
                event.preventDefault();
                onEditLast();
              }
            }}
          />
          {busy && open.takesMore.value && !locked && (
            <button
              key="say"
              type="submit"
              class="composer-send"
              aria-label="Send into this answer"
              title="Send into this answer"
            >
              <SendIcon />
            </button>
          )}
          {busy ? (
            <button
              key="stop"
              ref={stopButton}
              type="button"
              class="composer-send"
              aria-label="Stop the answer"
              title="Stop the answer"
              onClick={stop}
            >
              <StopIcon />
            </button>
          ) : (
            <button
              key="send"
              type="submit"
              class="composer-send"
              aria-label="Send"
              title="Send"
              disabled={locked}
            >
              <SendIcon />
            </button>
          )}
        </div>
        {disclaimer !== null && (
          <p class="disclaimer" id="disclaimer" dir="auto">
            {disclaimer}
          </p>
        )}
      </div>
    </form>
  );
}

/** The images and files of the conversation. They go along when a new one gets its id. */
function useTray(open: OpenConversation, id: string | null): Tray {
  const { trays } = usePage();
  const before = useRef({ open, id });
  if (before.current.open === open && before.current.id === null && id !== null) trays.begun(id);
  before.current = { open, id };
  return trays.of(id);
}
