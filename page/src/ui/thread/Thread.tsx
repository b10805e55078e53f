import { useSignal } from "@preact/signals";
import { useEffect, useLayoutEffect, useMemo, useRef } from "preact/hooks";
import type { OpenConversation } from "../../conversation/model";
import { usePage } from "../context";
import { DownIcon, WarningIcon } from "../Icons";
import { newestOf } from "./newest";
import { Sticky } from "./sticky";
import { TurnView } from "./TurnView";
import { Welcome } from "./Welcome";

interface Props {
  open: OpenConversation;
  onSend: (text: string) => void;
}

/** The conversation. It follows its end while the reader is there. */
export function Thread({ open, onSend }: Props) {
  const scroller = useRef<HTMLDivElement>(null);
  const content = useRef<HTMLDivElement>(null);
  const sticky = useMemo(() => new Sticky(), [open]);
  const away = useSignal(false);
  const turns = open.turns.value;
  const newest = turns.at(-1);

  const toEnd = () => {
    const box = scroller.current;
    if (box === null) return;
    sticky.follow();
    away.value = false;
    box.scrollTop = box.scrollHeight;
  };
  // A new turn is what the reader has just asked for.
  useLayoutEffect(toEnd, [newest?.key, open]);
  // Earlier turns come above what the reader looks at, which stays where it is.
  const first = turns[0]?.key;
  const before = useRef({ first, height: 0 });
  useLayoutEffect(() => {
    const box = scroller.current;
    if (box === null) return;
    const { first: was, height } = before.current;
    if (was !== first && turns.some((turn) => turn.key === was) && !sticky.follows) {
      box.scrollTop += box.scrollHeight - height;
    }
  }, [first]);
  const loadEarlier = async () => {
    before.current = { first, height: scroller.current?.scrollHeight ?? 0 };
    await open.earlier();
  };
  useEffect(() => {
    const box = scroller.current;
    if (box === null || content.current === null || typeof ResizeObserver === "undefined") return;
    const observer = new ResizeObserver(() => {
      const top = sticky.resized(box);
      if (top !== null) box.scrollTop = top;
    });
    observer.observe(content.current);
    observer.observe(box);
    return () => observer.disconnect();
  }, [sticky]);

  return (
    <div class="thread">
      <section
        class="scroll"
        id="conversation"
        ref={scroller}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard.
        tabIndex={0}
        aria-label="Conversation"
        onScroll={(event) => {
          away.value = !sticky.scrolled(event.currentTarget);
        }}
      >
        <div ref={content} class={turns.length > 0 ? "turns" : "welcome"}>
          {open.hasEarlier.value && turns.length > 0 && <Earlier onMore={loadEarlier} />}
          <Content open={open} onSend={onSend} />
        </div>
      </section>
      {away.value && (
        <div class="newest">
          <button type="button" class="button" onClick={toEnd}>
            <DownIcon />
            Jump to the newest
          </button>
        </div>
      )}
    </div>
  );
}

/** Reads earlier turns when it is pressed. */
function Earlier({ onMore }: { onMore: () => Promise<void> }) {
  const { announce } = usePage();
  const loading = useSignal(false);
  const load = async () => {
    loading.value = true;
    try {
      await onMore();
    } catch {
      announce("Earlier messages could not be read. Try again.");
    } finally {
      loading.value = false;
    }
  };
  return (
    <p class="earlier">
      <button type="button" class="button" disabled={loading.value} onClick={() => void load()}>
        {loading.value && <span class="spinner" />}
        Show earlier messages
      </button>
    </p>
  );
}

function Content({ open, onSend }: Props) {
  const { chat } = usePage();
  const turns = open.turns.value;
  const problem = open.problem.value;
  const id = open.id.value;
  if (problem !== null) {
    return (
      <div class="notice problem" role="alert">
        <WarningIcon />
        <p class="notice-words">{problem.message}</p>
        <button type="button" class="button" onClick={() => void chat.show(problem.retryable ? id : null)}>
          {problem.retryable ? "Try again" : "New chat"}
        </button>
      </div>
    );
  }
  if (turns.length > 0) {
    const newest = newestOf(turns);
    return (
      <>
        {turns.map((turn) => (
          <TurnView key={turn.key} turn={turn} open={open} newest={turn === newest} />
        ))}
      </>
    );
  }
  if (open.loading.value) {
    return (
      <p class="cursor-line">
        <span class="spinner" />
        Loading the conversation …
      </p>
    );
  }
  switch (chat.connection.value) {
    case "ready":
      return <Welcome onSend={onSend} />;
    case "connecting":
      return (
        <p class="cursor-line">
          <span class="spinner" />
          Connecting …
        </p>
      );
    case "unreachable":
      return (
        <div class="notice" role="status">
          <WarningIcon />
          <div class="notice-words">
            <p>The service cannot be reached. This page asks again by itself.</p>
          </div>
          <button type="button" class="button" onClick={() => chat.reconnect()}>
            Ask again now
          </button>
        </div>
      );
  }
}
