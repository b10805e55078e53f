import { useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import type { OpenConversation, Turn } from "../../conversation/model";
import { AnswerView } from "../answer/Answer";
import { AnswerActions } from "../answer/AnswerActions";
import { AnswerFeedback } from "../answer/AnswerFeedback";
import { Sent } from "../attachments/Sent";
import { CopyButton } from "../CopyButton";
import { failureWords } from "../failures";
import { focusConversation, focusWhenDrawn } from "../focus";
import { IconButton } from "../IconButton";
import { EditIcon } from "../Icons";
import { LongText } from "../LongText";
import { Branches } from "./Branches";
import { MessageEditor } from "./MessageEditor";

interface Props {
  turn: Turn;
  open: OpenConversation;
  newest: boolean;
}

/** A message of the user and its answer. */
export function TurnView({ turn, open, newest }: Props) {
  const failure = useSignal<string | null>(null);
  const editing = useSignal(false);
  const busy = open.busy.value;
  const row = useRef<HTMLDivElement>(null);
  const attempt = (work: Promise<void>, moveFocus = true) => {
    if (moveFocus) focusConversation();
    failure.value = null;
    work.catch((error: unknown) => {
      failure.value = failureWords(error, "This did not work. Check your connection and try again.");
    });
  };
  const branches = (
    <Branches
      branches={turn.branches.value}
      disabled={busy}
      onShow={(index) => attempt(open.showBranch(turn, index), false)}
    />
  );
  const regenerate = () => attempt(open.regenerate(turn));
  const isMessage = turn.text !== "" || turn.attachments.length > 0;
  return (
    <article class="turn" aria-label={isMessage ? undefined : "Your decision"} data-turn={turn.key}>
      {isMessage && (
        <div class="said-row" ref={row}>
          <h2 class="unseen">You said</h2>
          {editing.value ? (
            <MessageEditor
              text={turn.text}
              attachments={turn.attachments}
              disabled={busy}
              onCancel={() => {
                editing.value = false;
                focusWhenDrawn(() => row.current?.querySelector<HTMLElement>("[data-edit]"));
              }}
              onSend={(text, attachments) => {
                editing.value = false;
                attempt(open.edit(turn, text, attachments));
              }}
            />
          ) : (
            <>
              <Sent attachments={turn.attachments} />
              {turn.text !== "" && (
                <div class="said" dir="auto">
                  <LongText text={turn.text} />
                </div>
              )}
              <div class="actions">
                {branches}
                {turn.text !== "" && <CopyButton label="Copy your message" text={() => turn.text} />}
                <IconButton
                  small
                  label="Edit your message"
                  mark="data-edit"
                  disabled={busy}
                  onClick={() => {
                    editing.value = true;
                  }}
                >
                  <EditIcon />
                </IconButton>
              </div>
            </>
          )}
        </div>
      )}
      <h2 class="unseen">Answer</h2>
      <AnswerView
        turn={turn}
        newest={newest}
        busy={busy}
        onLook={() => void open.recall(turn)}
        onRetry={regenerate}
      />
      <AnswerActions turn={turn} busy={busy} onRegenerate={regenerate}>
        {!isMessage && branches}
        <AnswerFeedback turn={turn} open={open} />
      </AnswerActions>
      {failure.value !== null && (
        <p class="form-error" role="alert">
          {failure.value}
        </p>
      )}
    </article>
  );
}
