import { act, fireEvent, screen, waitFor } from "@testing-library/preact";
import { expect, test } from "vitest";
import type { Attachment } from "../../conversation/model";
import { type FakeChat, fakeAnswer, fakeChat, fakeTurn, MODEL, SETTINGS } from "../testing/fakeChat";
import { button, field, showApp } from "../testing/showApp";
import { pastedFiles } from "./carried";
import { MOST } from "./terms";

const PNG = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 0];
const picture = (name = "a.png", type = "image/png") => new File([new Uint8Array(PNG)], name, { type });
const notes = (text = "Hi", name = "notes.txt") => new File([text], name, { type: "text/plain" });

function taking(images: boolean, files: boolean, most = 8_000_000): FakeChat {
  const chat = fakeChat();
  chat.models.value = [{ ...MODEL, accepts: { images, files } }];
  chat.settings.value = { ...SETTINGS, max_body_bytes: most };
  return chat;
}

/** Drop files on the page, and wait until they are read. */
async function drop(...files: File[]): Promise<void> {
  const carried = { types: ["Files"], files, dropEffect: "copy" };
  const event = new Event("drop", { bubbles: true, cancelable: true });
  fireEvent(document.body, Object.assign(event, { dataTransfer: carried }));
  expect(event.defaultPrevented).toBe(true);
  await waitFor(() => expect(screen.queryByText("Reading …")).toBeNull());
}

const shown = () =>
  screen
    .queryAllByRole("button", { name: /^Remove / })
    .map((one) => one.getAttribute("aria-label")?.slice("Remove ".length));
const words = () => screen.queryAllByRole("alert").map((one) => one.textContent);
const sent = (chat: FakeChat) => chat.calls.filter(([name]) => name === "send").map(([, ...what]) => what);

test("What is added is shown, can be removed, and is sent with the message, also without words.", async () => {
  const chat = taking(true, true);
  showApp(chat);
  await drop(picture(), notes("Hi"), notes("Ho", "more.md"));
  expect(shown()).toEqual(["a.png", "notes.txt", "more.md"]);
  screen.getByText("Added a.png, notes.txt, more.md.");
  expect(document.querySelector(".tray img")?.getAttribute("src")).toMatch(/^data:image\/png;base64,/);
  fireEvent.click(button("Remove notes.txt"));
  fireEvent.click(button("Send"));
  const [text, attachments] = sent(chat)[0] as [string, Attachment[]];
  expect(text).toBe("");
  expect(attachments.map(({ kind, name, url, bytes }) => [kind, name, url.slice(0, 22), bytes])).toEqual([
    ["image", "a.png", "data:image/png;base64,", 12],
    ["file", "more.md", "data:text/plain;base64", 2],
  ]);
  expect(shown()).toEqual([]);
});

test("A graph that takes neither says so, whatever is dropped, and offers no button.", async () => {
  showApp(taking(false, false));
  await drop(picture());
  expect(words()).toEqual([expect.stringContaining("Assistant takes no images and no files.")]);
  expect(shown()).toEqual([]);
  expect(screen.queryByRole("button", { name: /^Add / })).toBeNull();
});

test("A graph that takes images only refuses other files by name, whatever they call themselves.", async () => {
  showApp(taking(true, false));
  await drop(notes(), new File(["<svg/>"], "b.svg", { type: "image/svg+xml" }), picture("photo", ""));
  expect(shown()).toEqual(["photo"]);
  expect(words()[0]).toMatch(/“notes.txt” was not added: .* PNG, JPEG, GIF or WebP\..*“b.svg” was not added/);
  screen.getByRole("button", { name: "Add images" });
});

test("A graph that takes files only gets an image as a file.", async () => {
  const chat = taking(false, true);
  showApp(chat);
  await drop(picture());
  fireEvent.click(button("Send"));
  expect(sent(chat)[0]?.[1]).toMatchObject([{ kind: "file", name: "a.png" }]);
});

test("What is too large, empty, too many or unreadable is not added, and the reader learns why.", async () => {
  showApp(taking(true, true, 20_000));
  await drop(
    notes("x".repeat(9_000), "half.txt"),
    notes("x".repeat(9_000), "other.txt"),
    notes("", "empty.txt"),
  );
  expect(shown()).toEqual(["half.txt"]);
  expect(words()[0]).toContain(
    "“other.txt” was not added: it is too large (9 KB). A message takes 13 KB in all.",
  );
  expect(words()[0]).toContain("“empty.txt” was not added: it is empty.");
  const folder = notes("", "folder");
  folder.slice = () => {
    throw new DOMException("", "NotReadableError");
  };
  await drop(folder, ...Array.from({ length: MOST }, (_, index) => notes("x", `${index}.txt`)));
  expect(shown().length).toBe(MOST);
  expect(words()[0]).toContain("Folders cannot be sent.");
  expect(words()[0]).toContain(`A message takes at most ${MOST} images and files.`);
});

test("A message is not sent while it is too large, or while the chosen graph does not take what it has.", async () => {
  const chat = taking(true, true, 20_000);
  showApp(chat);
  await drop(picture(), notes("x".repeat(9_000)));
  const send = () => button("Send") as HTMLButtonElement;
  fireEvent.input(field("Your message"), { target: { value: "é".repeat(4_000) } });
  expect([send().disabled, words()[0]]).toEqual([true, expect.stringContaining("The message is too large.")]);
  fireEvent.input(field("Your message"), { target: { value: "short" } });
  expect(send().disabled).toBe(false);
  act(() => {
    chat.models.value = [{ ...MODEL, accepts: { images: false, files: true } }];
  });
  expect([send().disabled, words()[0]]).toEqual([true, expect.stringContaining("takes no images.")]);
  fireEvent.click(button("Remove a.png"));
  expect(send().disabled).toBe(false);
});

test("What was added to one conversation is not in another one, and comes back after a failure.", async () => {
  const chat = taking(true, true);
  const [one, other] = [chat.open.value, fakeChat([fakeTurn("Ho")]).open.value];
  (other.id as { value: string | null }).value = "conv_other";
  showApp(chat);
  await drop(notes());
  const look = (at: typeof one) => {
    act(() => {
      chat.open.value = at;
    });
    return shown();
  };
  expect([look(other), look(one)]).toEqual([[], ["notes.txt"]]);
  chat.behavior.set("send", () => Promise.reject(new Error("offline")));
  fireEvent.click(button("Send"));
  await waitFor(() => expect(shown()).toEqual(["notes.txt"]));
});

test("A sent message shows its images and files, and no image of another host or of a form that can run.", () => {
  const turn = fakeTurn("", fakeAnswer([]));
  const image = (url: string): Attachment => ({ kind: "image", name: "Image", url, bytes: null });
  turn.attachments = [
    image("data:image/png;base64,AAAA"),
    image("https://leak.example/p.png?secret"),
    image("data:image/svg+xml;base64,AAAA"),
    image("javascript:window.harmed=1"),
    { kind: "file", name: "notes.txt", url: "data:text/plain;base64,SGk=", bytes: 2 },
    { kind: "file", name: "x", url: "javascript:window.harmed=1", bytes: null },
  ];
  showApp(fakeChat([turn]));
  const sources = [...document.querySelectorAll("article img")].map((one) => one.getAttribute("src"));
  expect(sources).toEqual(["data:image/png;base64,AAAA"]);
  const links = [...document.querySelectorAll<HTMLAnchorElement>("article .sent a")];
  expect(links.map((link) => [link.getAttribute("href"), link.download])).toEqual([
    ["https://leak.example/p.png?secret", ""],
    ["data:text/plain;base64,SGk=", "notes.txt"],
  ]);
  screen.getByRole("heading", { name: "You said" });
});

test("An edit begins with what the message has, and sends what is left of it.", async () => {
  const chat = taking(true, true);
  const turn = fakeTurn("What is it?");
  turn.attachments = [
    { kind: "file", name: "one.txt", url: "data:text/plain;base64,SGk=", bytes: 2 },
    { kind: "file", name: "two.txt", url: "data:text/plain;base64,SGk=", bytes: 2 },
  ];
  chat.open.value.turns.value = [turn];
  showApp(chat);
  fireEvent.click(button("Edit your message"));
  fireEvent.click(button("Remove one.txt"));
  fireEvent.click(screen.getAllByRole("button", { name: "Send" })[0] as HTMLElement);
  expect(chat.calls.at(-1)).toEqual(["edit", turn, "What is it?", [turn.attachments[1]]]);
});

test("A paste with text is text: office programs put a picture of it beside it.", () => {
  const paste = (types: string[]) =>
    pastedFiles({ clipboardData: { types, files: [picture()] } } as unknown as ClipboardEvent).length;
  expect([paste(["Files"]), paste(["text/plain", "text/html", "Files"])]).toEqual([1, 0]);
});

test("Who goes on before the page has drawn a removal keeps the focus.", async () => {
  const chat = taking(true, true);
  showApp(chat);
  await drop(notes("Hi"), notes("Ho", "more.md"));
  const remove = button("Remove notes.txt");
  remove.focus();
  fireEvent.click(remove);
  field("Your message").focus();
  await new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)));
  expect(document.activeElement).toBe(field("Your message"));
  expect(shown()).toEqual(["more.md"]);
});
