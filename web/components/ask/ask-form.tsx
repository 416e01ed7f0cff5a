"use client";

import { useId, useRef, type FormEvent, type KeyboardEvent } from "react";

import { Button } from "@/components/ui/button";
import { SendIcon } from "@/components/ui/icons";
import { useWorkspace } from "@/components/workspace";
import { questionsOf } from "@/lib/asking";
import type { Picture } from "@/lib/pictures";
import { useLaterStrings } from "@/lib/use-later-strings";

export const ASK_FORM = "ask-form";
const MOST_CHARACTERS = 500;

/** Questions typed or suggested. What is typed stays until it is sent, whatever happens meanwhile. */
export function AskForm({ picture }: { picture: Picture }) {
  const { ask: words } = useLaterStrings();
  const { draft, change, ask, talks } = useWorkspace();
  const field = useRef<HTMLTextAreaElement>(null);
  const id = useId();
  const questions = questionsOf(draft);
  const tooLong = questions.some((each) => each.length > MOST_CHARACTERS);
  const asked = new Set((talks[picture.id] ?? []).flatMap((turn) => turn.questions));
  const suggested = words.suggested.filter((each) => !asked.has(each));

  const submit = (event?: FormEvent) => {
    event?.preventDefault();
    if (!questions.length || tooLong) return field.current?.focus();
    ask(picture.id, questions);
    change({ draft: "" });
  };
  const pressed = (event: KeyboardEvent) => {
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    submit();
  };
  return (
    <div id={ASK_FORM} className="scroll-mb-4 space-y-3">
      <form onSubmit={submit} className="rounded-2xl border border-edge bg-surface p-2 outline-accent has-[textarea:focus-visible]:outline-2">
        <label htmlFor={id} className="sr-only">
          {words.question}
        </label>
        <div className="flex items-end gap-2">
          <textarea
            ref={field}
            id={id}
            rows={1}
            value={draft}
            onChange={(event) => change({ draft: event.target.value })}
            onKeyDown={pressed}
            placeholder={words.hint}
            aria-describedby={`${id}-hint`}
            aria-invalid={tooLong}
            className="field-sizing-content max-h-48 min-h-11 min-w-0 flex-1 resize-none rounded-lg bg-transparent px-3 outline-none py-2.5 placeholder:text-muted"
          />
          <Button type="submit" disabled={!questions.length}>
            <SendIcon />
            {words.send}
          </Button>
        </div>
      </form>
      <p id={`${id}-hint`} className="px-1 text-xs text-muted">
        {tooLong ? <span className="text-bad">{words.tooLong(MOST_CHARACTERS)}</span> : words.several}
      </p>
      {suggested.length > 0 && (
        <section aria-label={words.suggestions} className="flex flex-wrap gap-2">
          {suggested.map((each) => (
            <Button
              key={each}
              kind="chip"
              size="small"
              onClick={() => ask(picture.id, [each])}
            >
              {each}
            </Button>
          ))}
          {suggested.length > 1 && (
            <Button kind="link" size="small" onClick={() => ask(picture.id, suggested)}>
              {words.all}
            </Button>
          )}
        </section>
      )}
    </div>
  );
}
