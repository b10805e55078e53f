import { type Signal, useSignal } from "@preact/signals";
import type { RefObject } from "preact";
import { useEffect, useLayoutEffect } from "preact/hooks";
import type { OpenConversation } from "../conversation/model";
import { usePage } from "./context";
import { failureWords } from "./failures";
import { SendIcon, StopIcon } from "./Icons";
import { growToFit, isSendKey } from "./textField";

interface Props {
  open: OpenConversation;
  field: RefObject<HTMLTextAreaElement | null>;
  /** Why the last message was not sent. */
  failure: Signal<string | null>;
  onSend: (text: string) => void;
  /** The reader wants to edit the last message. */
  onEditLast: () => void;
}

export function Composer({ open, field, failure, onSend, onEditLast }: Props) {
  const { chat, drafts } = usePage();
  const id = open.id.value;
  const busy = open.busy.value;
  const text = useSignal("");
  const { disclaimer } = chat.settings.value;
  const blank = text.value.trim() === "";

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
    if (blank || busy) return;
    const sent = text.value;
    text.value = "";
    drafts.write(id, "");
    onSend(sent.trim());
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
        <div class="composer-box">
          <textarea
            ref={field}
            id="message"
            class="composer-text"
            rows={1}
            dir="auto"
            aria-label="Your message"
            aria-describedby={disclaimer === null ? undefined : "disclaimer"}
            placeholder="Write a message"
            enterkeyhint="send"
            value={text}
            onInput={(event) => {
              text.value = event.currentTarget.value;
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
          {busy ? (
            <button
              key="stop"
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
              disabled={blank}
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
