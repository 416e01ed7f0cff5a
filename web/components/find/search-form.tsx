"use client";

import type { FormEvent } from "react";

import { Picker } from "@/components/intake/picker";
import { Button } from "@/components/ui/button";
import { Choice } from "@/components/ui/choice";
import { CloseIcon, DownIcon, PictureIcon, SearchIcon } from "@/components/ui/icons";
import { TextField } from "@/components/ui/text-field";
import type { Found } from "@/lib/dropped";
import { titleOf, WEIGHTS, type Seek, type Weight } from "@/lib/library";
import type { Picture } from "@/lib/pictures";
import { useLaterStrings } from "@/lib/use-later-strings";

export const QUERY_PLACE = "query-place";
const MOST_CHARACTERS = 500;

type Typed = Seek & { isDescribed: boolean };
type Props = {
  typed: Typed;
  picture: Picture | null;
  canDescribe: boolean;
  onChange: (changes: Partial<Typed>) => void;
  onSearch: () => void;
  onPick: (found: Found) => void;
  onPictureGone: () => void;
};

/** Words, a picture, or both; a filter and the rest folded away. A picture dropped on it is looked for. */
export function SearchForm({ typed, picture, canDescribe, onChange, onSearch, onPick, onPictureGone }: Props) {
  const { find } = useLaterStrings();
  const submit = (event: FormEvent) => {
    event.preventDefault();
    onSearch();
  };
  return (
    <form id={QUERY_PLACE} role="search" onSubmit={submit} className="rounded-2xl border border-line bg-surface">
      <div className="flex flex-wrap items-end gap-3 p-4">
        <div className="min-w-0 flex-1 basis-64">
          <TextField
            label={find.words}
            type="search"
            value={typed.words}
            onChange={(words) => onChange({ words })}
            placeholder={find.hint}
            maxLength={MOST_CHARACTERS}
          />
        </div>
        <Button type="submit" className="max-sm:w-full">
          <SearchIcon />
          {find.search}
        </Button>
        <Picker label={find.byPicture} kind="plain" take={onPick} className="max-sm:w-full max-sm:*:flex-1 max-sm:*:px-2" />
      </div>
      <QueryPicture typed={typed} picture={picture} onGone={onPictureGone} />
      <details className="group border-t border-line">
        <summary className="flex min-h-11 list-none items-center gap-2 rounded-b-2xl px-4 text-sm font-medium">
          <DownIcon className="size-4 transition-transform group-open:rotate-180" />
          {find.filter}
          <span className="min-w-0 truncate font-normal text-muted">{typed.where}</span>
        </summary>
        <div className="space-y-4 p-4 pt-2">
          <div>
            <TextField
              label={find.where}
              value={typed.where}
              onChange={(where) => onChange({ where })}
              note={<p className="mt-1 text-sm text-muted">{find.whereAbout}</p>}
              placeholder={find.whereHint}
              maxLength={MOST_CHARACTERS}
              autoCapitalize="off"
              spellCheck={false}
            />
          </div>
          {(picture || typed.like) && typed.words.trim() && (
            <Choice
              legend={find.weight}
              value={typed.weight}
              onChange={(weight) => onChange({ weight })}
              choices={(Object.keys(WEIGHTS) as Weight[]).map((value) => ({ value, name: find.weights[value] }))}
            />
          )}
          <div>
            <Tick label={find.hybrid} isOn={typed.hybrid} onChange={(hybrid) => onChange({ hybrid })} />
            {canDescribe && (
              <Tick label={find.describeAdded} isOn={typed.isDescribed} onChange={(isDescribed) => onChange({ isDescribed })} />
            )}
          </div>
        </div>
      </details>
    </form>
  );
}

function QueryPicture({ typed, picture, onGone }: { typed: Typed; picture: Picture | null; onGone: () => void }) {
  const { find } = useLaterStrings();
  if (!picture && !typed.like) return null;
  const name = picture ? find.picked(picture.name) : `${find.like}: ${typed.like ? titleOf(typed.like) : ""}`;
  return (
    <div className="mx-4 mb-4 flex w-fit max-w-[calc(100%-2rem)] items-center gap-3 rounded-xl bg-sunken p-2">
      {picture?.preview ? (
        <img src={picture.preview} alt="" className="size-12 shrink-0 rounded-lg object-cover" />
      ) : (
        <PictureIcon className="ml-1 size-6 shrink-0 text-muted" />
      )}
      <p className="min-w-0 truncate text-sm">
        <bdi>{name}</bdi>
      </p>
      <Button kind="quiet" size="icon" aria-label={find.unlike} onClick={onGone}>
        <CloseIcon />
      </Button>
    </div>
  );
}

function Tick({ label, isOn, onChange }: { label: string; isOn: boolean; onChange: (isOn: boolean) => void }) {
  return (
    <label className="flex min-h-9 w-fit items-center gap-2 text-sm">
      <input
        type="checkbox"
        checked={isOn}
        onChange={(event) => onChange(event.target.checked)}
        className="size-4 accent-accent"
      />
      {label}
    </label>
  );
}
