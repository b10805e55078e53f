import { usePage } from "../context";

/** What an empty conversation shows: a greeting, what the graph does, and questions to begin with. */
export function Welcome({ onSend }: { onSend: (text: string) => void }) {
  const { chat } = usePage();
  const models = chat.models.value;
  const model = models.find((candidate) => candidate.id === chat.model.value);
  const examples = model?.example_questions ?? [];
  return (
    <>
      <h2 dir="auto">{chat.settings.value.greeting ?? "What would you like to know?"}</h2>
      {/* Of several graphs, the choice at the top says which one it is. Without a title, the name is the id. */}
      {models.length === 1 && model !== undefined && model.name !== model.id && (
        <p dir="auto">
          <strong>{model.name}</strong>
        </p>
      )}
      {model?.description && <p dir="auto">{model.description}</p>}
      {examples.length > 0 && (
        <ul class="examples" aria-label="Questions to begin with">
          {examples.slice(0, 6).map((question) => (
            <li key={question}>
              <button type="button" dir="auto" onClick={() => onSend(question)}>
                {question}
              </button>
            </li>
          ))}
        </ul>
      )}
    </>
  );
}
