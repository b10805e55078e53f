import type { OpenConversation, SaidMeanwhile } from "../conversation/model";

interface Props {
  open: OpenConversation;
  /** The reader sends a message again that came back. */
  onSend: (message: SaidMeanwhile) => void;
}

const WORDS: Record<SaidMeanwhile["state"], string> = {
  sending: "Sending …",
  queued: "The assistant reads it before its next step.",
  waiting: "The assistant reads it when you have decided.",
  returned: "The answer ended before it was read.",
};

/** What was sent into an answer while it is written, and is in no answer yet. */
export function MeanwhileList({ open, onSend }: Props) {
  const messages = open.meanwhile.value;
  if (messages.length === 0) return null;
  return (
    <ul class="meanwhile" aria-label="Messages that wait">
      {messages.map((message) => (
        <li key={message.key}>
          <p class="meanwhile-text" dir="auto">
            {message.text === "" ? message.attachments.map((one) => one.name).join(", ") : message.text}
          </p>
          <p class="muted">{WORDS[message.state]}</p>
          {message.state === "returned" && (
            <button type="button" class="button" disabled={open.busy.value} onClick={() => onSend(message)}>
              Send again
            </button>
          )}
        </li>
      ))}
    </ul>
  );
}
