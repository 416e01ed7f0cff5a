"use client";

import { useId, useRef, type FormEvent, type ReactNode, type RefObject } from "react";

import { ProblemNote } from "@/components/problem";
import { Button } from "@/components/ui/button";
import { CloseIcon, PointIcon } from "@/components/ui/icons";
import { Spinner } from "@/components/ui/spinner";
import { TextField } from "@/components/ui/text-field";
import { useWorkspace } from "@/components/workspace";
import { classes } from "@/lib/classes";
import type { Picture } from "@/lib/pictures";
import type { useRegions } from "@/lib/queries";
import { useLaterStrings } from "@/lib/use-later-strings";

const MOST_CHARACTERS = 200;

type Props = {
  picture: Picture;
  known: readonly string[];
  typed: readonly string[];
  now: string;
  /** Null where the model has no captions. */
  ofCaption: ReturnType<typeof useRegions> | null;
  isWorking: boolean;
};

/** What can be lit: the noun phrases of the caption and those typed, one group of radio buttons; and a field for more. */
export function Phrases({ picture, known, typed, now, ofCaption, isWorking }: Props) {
  const { where } = useLaterStrings();
  const { phrases, lit, change } = useWorkspace();
  const name = useId();
  const field = useRef<HTMLInputElement>(null);
  const choose = (phrase: string) => change({ lit: { ...lit, [picture.id]: phrase } });
  const forget = (phrase: string) => {
    change({ phrases: { ...phrases, [picture.id]: typed.filter((each) => each !== phrase) } });
    field.current?.focus(); // its button is gone
  };
  const chip = (phrase: string) => (
    <Chip key={phrase} name={name} phrase={phrase} isOn={phrase === now} isWorking={isWorking} onChoose={choose} />
  );
  const problem = ofCaption?.isFetching ? ofCaption.failureReason : ofCaption?.error;
  return (
    <div className="space-y-5">
      {ofCaption && (
        <Group legend={where.caption}>
          {known.map(chip)}
          {problem ? (
            <ProblemNote error={problem} isRetried={ofCaption.isFetching} onAgain={() => void ofCaption.refetch()} />
          ) : (
            ofCaption.isFetching && (
              <p className="flex items-center gap-2 text-muted">
                <Spinner /> {where.reading}
              </p>
            )
          )}
          {ofCaption.data?.length === 0 && <p className="text-muted">{where.none}</p>}
        </Group>
      )}
      {typed.length > 0 && (
        <Group legend={where.own}>
          {typed.map((phrase) => (
            <span key={phrase} className="flex max-w-full items-center">
              {chip(phrase)}
              <Button kind="quiet" size="icon" aria-label={where.remove(phrase)} onClick={() => forget(phrase)}>
                <CloseIcon className="size-4" />
              </Button>
            </span>
          ))}
        </Group>
      )}
      <PhraseForm field={field} picture={picture} known={known} typed={typed} />
    </div>
  );
}

function Group({ legend, children }: { legend: string; children: ReactNode }) {
  return (
    <fieldset className="min-w-0">
      <legend className="mb-2 text-sm font-medium">{legend}</legend>
      <div className="flex flex-wrap items-center gap-2">{children}</div>
    </fieldset>
  );
}

type ChipProps = { name: string; phrase: string; isOn: boolean; isWorking: boolean; onChoose: (phrase: string) => void };

function Chip({ name, phrase, isOn, isWorking, onChoose }: ChipProps) {
  return (
    <label
      className={classes(
        "inline-flex min-h-9 max-w-full min-w-0 items-center gap-2 rounded-full border px-4 py-1 text-sm pointer-coarse:min-h-11",
        "has-focus-visible:outline-2 has-focus-visible:outline-offset-2 has-focus-visible:outline-accent",
        isOn ? "border-accent bg-accent text-on-accent" : "border-edge bg-surface hover:bg-sunken",
      )}
    >
      <input type="radio" name={name} checked={isOn} onChange={() => onChoose(phrase)} className="sr-only" />
      <bdi className="line-clamp-3 min-w-0 break-words">{phrase}</bdi>
      {isOn && isWorking && <Spinner />}
    </label>
  );
}

type FormProps = {
  field: RefObject<HTMLInputElement | null>;
  picture: Picture;
  known: readonly string[];
  typed: readonly string[];
};

function PhraseForm({ field, picture, known, typed }: FormProps) {
  const { where } = useLaterStrings();
  const { phrases, lit, sought, change } = useWorkspace();
  const phrase = sought.trim().replace(/\s+/g, " ");
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (!phrase) return field.current?.focus();
    const isNew = !known.includes(phrase) && !typed.includes(phrase);
    change({
      phrases: isNew ? { ...phrases, [picture.id]: [...typed, phrase] } : phrases,
      lit: { ...lit, [picture.id]: phrase },
      sought: "",
    });
  };
  return (
    <form onSubmit={submit} className="flex items-end gap-2">
      <div className="min-w-0 flex-1">
        <TextField
          ref={field}
          label={where.phrase}
          value={sought}
          onChange={(value) => change({ sought: value })}
          placeholder={where.hint}
          maxLength={MOST_CHARACTERS}
        />
      </div>
      <Button type="submit" disabled={!phrase}>
        <PointIcon />
        {where.show}
      </Button>
    </form>
  );
}
