"use client";

import type { FormEvent } from "react";

import { useServed } from "@/components/service/status";
import { Button } from "@/components/ui/button";
import { Choice } from "@/components/ui/choice";
import { AgainIcon, DownIcon } from "@/components/ui/icons";
import { TextField } from "@/components/ui/text-field";
import { useWorkspace } from "@/components/workspace";
import { LENGTHS, MANNERS } from "@/lib/asking";
import { useStrings } from "@/lib/use-strings";

const MOST_CHARACTERS = 200;

/** How captions shall begin and be worded. Words typed take effect when they are sent, choices at once. */
export function WishForm() {
  const { describe } = useStrings();
  const { wish, begin, change, pictures } = useWorkspace();
  const served = useServed().filter((model) => !model.loaded || model.tasks?.includes("caption"));
  const submit = (event: FormEvent) => {
    event.preventDefault();
    change({ wish: { ...wish, prompt: begin.trim(), round: wish.round + 1 } });
  };
  return (
    <form onSubmit={submit} className="rounded-2xl border border-line bg-surface">
      <div className="flex flex-wrap items-end gap-3 p-4">
        <div className="min-w-0 flex-1 basis-64">
          <TextField
            label={describe.begin}
            value={begin}
            onChange={(value) => change({ begin: value })}
            placeholder={describe.beginHint}
            maxLength={MOST_CHARACTERS}
          />
        </div>
        <Button type="submit" kind="plain" className="max-sm:w-full" disabled={pictures.length === 0}>
          <AgainIcon />
          {describe.apply}
        </Button>
      </div>
      <details className="group border-t border-line">
        <summary className="flex min-h-11 list-none items-center gap-2 rounded-b-2xl px-4 text-sm font-medium">
          <DownIcon className="size-4 transition-transform group-open:rotate-180" />
          {describe.options}
          <span className="font-normal text-muted">
            {describe.manners[wish.manner].name}, {describe.lengths[wish.length].toLowerCase()}
          </span>
        </summary>
        <div className="space-y-4 p-4 pt-2">
          <Choice
            legend={describe.manner}
            value={wish.manner}
            onChange={(manner) => change({ wish: { ...wish, manner } })}
            choices={MANNERS.map((value) => ({ value, ...describe.manners[value] }))}
          />
          <Choice
            legend={describe.length}
            value={wish.length}
            onChange={(length) => change({ wish: { ...wish, length } })}
            choices={LENGTHS.map((value) => ({ value, name: describe.lengths[value] }))}
          />
          {served.length > 1 && (
            <label className="block text-sm font-medium">
              {describe.model}
              <select
                value={wish.model}
                onChange={(event) => change({ wish: { ...wish, model: event.target.value } })}
                className="mt-1 block min-h-11 rounded-lg border border-edge bg-surface px-3 font-normal"
              >
                {served.map((model, place) => (
                  <option key={model.id} value={place ? model.id : ""}>
                    {model.id}
                  </option>
                ))}
              </select>
            </label>
          )}
        </div>
      </details>
    </form>
  );
}
