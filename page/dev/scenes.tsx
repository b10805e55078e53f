/** Scenes of the page without a service: `npm run dev`, then `/dev/?scene=approval`. The build leaves this folder out. */

import { render } from "preact";
import { App } from "../src/ui/App";
import { createDecisionDrafts } from "../src/ui/approvals/drafts";
import { createDrafts } from "../src/ui/drafts";
import { createTheme } from "../src/ui/theme";
import "../src/styles/page.css";
import {
  type FakeChat,
  fakeAnswer,
  fakeApproval,
  fakeChat,
  fakeConversation,
  fakeReasoning,
  fakeStep,
  fakeText,
  fakeTool,
  fakeTurn,
  MODEL,
} from "../src/ui/testing/fakeChat";
import { LONG_ANSWER, MAIL_SCHEMA } from "./material";

const CONVERSATIONS = [
  fakeConversation("Vacation days of part-time employees", 1, "conv_open"),
  fakeConversation("Reisekostenabrechnungsformularaktualisierungsverfahren für Außendienstmitarbeiter", 3),
  fakeConversation("有給休暇の日数について教えてください", 26),
  fakeConversation("كم عدد أيام الإجازة السنوية؟", 30),
  fakeConversation(null, 80),
  fakeConversation("Who signs travel requests?", 500),
  fakeConversation("Parental leave", 24 * 90),
];

const DOCUMENTS = [
  {
    number: 1,
    id: "c1",
    title: "Vacation policy 2026",
    url: "https://example.com/vacation",
    score: 0.83,
    text: "Full-time employees have 30 days of vacation a year. Part-time employees have a share of it.",
  },
  {
    number: 2,
    id: "c2",
    title: "Handbook for managers",
    url: null,
    score: 0.61,
    text: "Vacation is approved by the direct manager within five working days.",
  },
];

function answered() {
  const retriever = fakeStep({ name: "retriever", seconds: 0.6 });
  retriever.documents.value = [{ query: "vacation days part-time", documents: DOCUMENTS }];
  const text =
    "Part-time employees have **a share of 30 days**, by their days a week. With three days a week that is **18 days**.";
  const answer = fakeAnswer([
    fakeStep({ name: "planner", seconds: 0.3 }),
    fakeReasoning("The user asks about part-time employees.\nI look it up first."),
    fakeText("I look this up in the handbook.", { phase: "commentary" }),
    retriever,
    fakeTool("calculator", { expression: "30 * 3 / 5" }, '{"result": 18}'),
    fakeTool("transfer_to_documents", { task: "Find the policy" }, "ok"),
    fakeText(text, {
      phase: "final_answer",
      citations: [
        {
          start: 57,
          end: 72,
          number: 1,
          url: "https://example.com/vacation",
          title: "Vacation policy 2026",
          passage: DOCUMENTS[0]?.text ?? null,
        },
      ],
    }),
  ]);
  answer.sources.value = [
    {
      number: 1,
      title: "Vacation policy 2026",
      doc_uri: "https://example.com/vacation",
      score: 0.83,
      cited: true,
      text: DOCUMENTS[0]?.text ?? null,
    },
    {
      number: 2,
      title: "Handbook for managers",
      doc_uri: "/Volumes/docs/managers.pdf",
      score: 0.61,
      cited: true,
      text: DOCUMENTS[1]?.text ?? null,
    },
  ];
  const turn = fakeTurn("How many days of vacation do part-time employees have?", answer);
  turn.branches.value = { index: 1, count: 3 };
  return turn;
}

function stream(chat: FakeChat, text: string): void {
  const part = fakeText("", { streaming: true });
  const step = fakeStep({ name: "planner", status: "in_progress", seconds: null });
  const answer = fakeAnswer([step], "in_progress");
  chat.open.value.turns.value = [...chat.open.value.turns.value, fakeTurn(text, answer)];
  chat.open.value.busy.value = true;
  let at = 0;
  setTimeout(() => {
    step.step.value = { ...step.step.value, status: "completed", seconds: 1.2 };
    answer.parts.value = [step, part];
    const timer = setInterval(() => {
      at += 12;
      part.text.value = LONG_ANSWER.slice(0, at);
      if (at < LONG_ANSWER.length) return;
      clearInterval(timer);
      part.streaming.value = false;
      part.phase.value = "final_answer";
      answer.status.value = "completed";
      answer.seconds.value = 7.5;
      answer.totalTokens.value = 812;
      chat.open.value.busy.value = false;
    }, 30);
  }, 1200);
}

const SCENES: Record<string, () => FakeChat> = {
  empty: () => fakeChat([], CONVERSATIONS),
  answer: () => fakeChat([answered()], CONVERSATIONS),
  long: () =>
    fakeChat(
      [answered(), fakeTurn("Explain it in detail.", fakeAnswer([fakeText(LONG_ANSWER)]))],
      CONVERSATIONS,
    ),
  live: () => {
    const answer = fakeAnswer(
      [
        fakeStep({ name: "planner", seconds: 0.3 }),
        fakeStep({
          name: "retriever",
          path: ["supervisor", "documents", "retriever"],
          status: "in_progress",
          seconds: null,
          started_at: Date.now() / 1000 - 3,
        }),
        fakeReasoning("…", true),
        fakeTool(
          "search_documents",
          { query: "vacation days of part-time employees in the German offices and elsewhere", limit: 5 },
          null,
        ),
      ],
      "in_progress",
    );
    const chat = fakeChat([answered(), fakeTurn("And in Germany?", answer)], CONVERSATIONS);
    chat.open.value.busy.value = true;
    return chat;
  },
  error: () => {
    const failed = fakeAnswer([fakeStep({ name: "planner", status: "failed", seconds: 2 })], "failed");
    failed.problem.value = {
      code: "model_unavailable",
      message:
        "The model did not answer in time. Try again in a minute. If it happens again, tell the operator of this service.",
      retryable: true,
    };
    const lost = fakeAnswer([fakeText("The first part of an answer", { streaming: true })], "lost");
    const stopped = fakeAnswer([fakeText("The first words of")], "cancelled");
    return fakeChat(
      [fakeTurn("Stop here", stopped), fakeTurn("Hello", failed), fakeTurn("And now?", lost)],
      CONVERSATIONS,
    );
  },
  approval: () => {
    const mail = fakeApproval(
      "send_mail",
      {
        to: ["ann@example.com", "bob@example.com"],
        subject: "Vacation in July",
        body: "Dear Ann,\n\nI am on vacation from July 6 to July 17.\n\nBest\nEve",
        priority: "normal",
      },
      { schema: MAIL_SCHEMA },
    );
    const entry = fakeApproval("create_calendar_entry", {
      title: "Vacation",
      from: "2026-07-06",
      days: 12,
      notify: true,
    });
    const question = fakeApproval(
      "question",
      { question: "Shall the days be taken from 2026 or from 2025?", left: { "2025": 3, "2026": 30 } },
      { question: true, decisions: ["respond", "reject"] },
    );
    return fakeChat(
      [
        fakeTurn(
          "Mail Ann and Bob that I am away in July, and put it in the calendar.",
          fakeAnswer([fakeStep({ name: "planner" }), mail, entry, question]),
        ),
      ],
      CONVERSATIONS,
    );
  },
  rtl: () =>
    fakeChat(
      [
        fakeTurn(
          "كم عدد أيام الإجازة السنوية للموظفين بدوام جزئي؟",
          fakeAnswer([
            fakeStep({ name: "planner" }),
            fakeText(
              "للموظفين بدوام كامل **30 يومًا** في السنة.\n\n- ثلاثة أيام في الأسبوع: 18 يومًا\n- أربعة أيام: 24 يومًا",
            ),
          ]),
        ),
        fakeTurn(
          "有給休暇の日数について、パートタイム従業員の場合はどのように計算されるのか、詳しく教えてください。",
          fakeAnswer([
            fakeText(
              "パートタイム従業員の有給休暇は、週の所定労働日数に応じて比例付与されます。週三日勤務の場合は年間十八日です。",
            ),
          ]),
        ),
        fakeTurn(
          "Was ist das Rindfleischetikettierungsüberwachungsaufgabenübertragungsgesetz?",
          fakeAnswer([
            fakeText(
              "Das **Rindfleischetikettierungsüberwachungsaufgabenübertragungsgesetz** regelte die Übertragung von Aufgaben.",
            ),
          ]),
        ),
      ],
      CONVERSATIONS,
    ),
  files: () => {
    const turn = fakeTurn("What do you see?", fakeAnswer([fakeText("A point.", { phase: "final_answer" })]));
    const point = "R0lGODlhAQABAIAAAAtrYwAAACwAAAAAAQABAAACAkQBADs=";
    turn.attachments = [
      { kind: "image", name: "Image", url: `data:image/gif;base64,${point}`, bytes: 43 },
      { kind: "image", name: "Image", url: "https://example.com/photo.jpg", bytes: null },
      { kind: "file", name: "notes.txt", url: "data:text/plain;base64,SGk=", bytes: 2 },
    ];
    turn.traceUrl.value = "https://traces.example/tr-1";
    const chat = fakeChat([turn], CONVERSATIONS);
    chat.models.value = [{ ...MODEL, accepts: { images: true, files: true } }];
    return chat;
  },
  down: () => {
    const chat = fakeChat();
    chat.connection.value = "unreachable";
    return chat;
  },
  signin: () => {
    const chat = fakeChat();
    chat.signIn.value = "refused";
    return chat;
  },
  many: () =>
    fakeChat(
      [answered()],
      Array.from({ length: 1000 }, (_, i) => fakeConversation(`Conversation ${i}`, i * 2)),
    ),
};

const parameters = new URLSearchParams(location.search);
const chat = (SCENES[parameters.get("scene") ?? "empty"] ?? SCENES.empty)?.() ?? fakeChat();
if (parameters.has("graphs")) {
  chat.models.value = [MODEL, { ...MODEL, id: "data", name: "Data analyst", example_questions: [] }];
}
chat.behavior.set("send", (text: string) => stream(chat, text));
chat.behavior.set("chooseModel", (id: string) => {
  chat.model.value = id;
});
const theme = createTheme({
  storage: localStorage,
  dark: matchMedia("(prefers-color-scheme: dark)"),
  root: document.documentElement,
});
const root = document.getElementById("app");
const decisions = createDecisionDrafts(null);
if (root !== null) {
  render(<App chat={chat} theme={theme} drafts={createDrafts(localStorage)} decisions={decisions} />, root);
}
