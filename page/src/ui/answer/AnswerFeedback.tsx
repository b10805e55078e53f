import { useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import type { OpenConversation, Turn } from "../../conversation/model";
import { usePage } from "../context";
import { failureWords } from "../failures";
import { IconButton } from "../IconButton";
import { BadIcon, GoodIcon } from "../Icons";

/** The longest comment that the service takes, in characters. */
const LONGEST_COMMENT = 4000;

interface Props {
  turn: Turn;
  open: OpenConversation;
}

/** Whether an answer was good, and a comment on it. */
export function AnswerFeedback({ turn, open }: Props) {
  const { chat, announce } = usePage();
  const commenting = useSignal(false);
  const comment = useSignal("");
  const sending = useSignal(false);
  const failure = useSignal<string | null>(null);
  const row = useRef<HTMLFieldSetElement>(null);
  if (!chat.settings.value.feedback || turn.responseId.value === null) return null;
  const given = turn.feedback.value;
  const send = async (value: boolean, words: string | null) => {
    if (sending.peek()) return;
    sending.value = true;
    failure.value = null;
    try {
      await open.rate(turn, value, words);
      announce("Feedback sent");
      commenting.value = words === null;
    } catch (error) {
      failure.value = failureWords(error, "Your feedback was not sent. Try again in a few seconds.");
    } finally {
      sending.value = false;
    }
  };
  const close = () => {
    commenting.value = false;
    row.current?.querySelector<HTMLElement>('[aria-pressed="true"]')?.focus();
  };
  return (
    <>
      <fieldset class="feedback" ref={row}>
        <legend class="unseen">Feedback</legend>
        <IconButton small label="Good answer" pressed={given === true} onClick={() => send(true, null)}>
          <GoodIcon />
        </IconButton>
        <IconButton small label="Bad answer" pressed={given === false} onClick={() => send(false, null)}>
          <BadIcon />
        </IconButton>
      </fieldset>
      {commenting.value && given !== null && (
        <form
          class="feedback-comment"
          onSubmit={(event) => {
            event.preventDefault();
            const words = comment.peek().trim();
            if (words === "") close();
            else void send(given, words).then(() => failure.peek() === null && close());
          }}
        >
          <textarea
            class="field"
            rows={2}
            maxLength={LONGEST_COMMENT}
            aria-label="Comment on the answer"
            placeholder={given ? "What was good? (optional)" : "What was wrong? (optional)"}
            value={comment.value}
            onInput={(event) => {
              comment.value = event.currentTarget.value;
            }}
          />
          <button type="submit" class="button primary" disabled={sending.value}>
            Send comment
          </button>
          <button type="button" class="button" onClick={close}>
            Close
          </button>
        </form>
      )}
      {failure.value !== null && (
        <p class="form-error" role="alert">
          {failure.value}
        </p>
      )}
    </>
  );
}
