import type { MarkdownProps } from "./model";

export function Markdown({ text }: MarkdownProps) {
  return <p>{text}</p>;
}
