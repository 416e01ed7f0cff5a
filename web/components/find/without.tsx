"use client";

import { CopyButton } from "@/components/copy-button";
import { Picker } from "@/components/intake/picker";
import { Button } from "@/components/ui/button";
import { AgainIcon, SearchIcon } from "@/components/ui/icons";
import type { Found } from "@/lib/dropped";
import { useLaterStrings } from "@/lib/use-later-strings";
import { useStrings } from "@/lib/use-strings";

/** The service was started without a library: how to start it with one. */
export function NoLibrary({ onAgain }: { onAgain: () => void }) {
  const { find } = useLaterStrings();
  return (
    <div className="space-y-6">
      <h1 className="text-2xl font-semibold tracking-tight">{find.title}</h1>
      <section className="grid justify-items-center gap-3 rounded-2xl border border-line bg-surface px-4 py-10 text-center">
        <SearchIcon className="size-12 text-accent" />
        <h2 className="text-xl font-semibold">{find.noneTitle}</h2>
        <p className="max-w-xl text-muted">{find.noneAbout}</p>
        <Command text={find.noneCommand} />
        <p className="max-w-xl text-sm text-muted">{find.noneAfter}</p>
        <Again onAgain={onAgain} />
      </section>
    </div>
  );
}

/** A library with nothing in it yet: both ways to fill it. */
export function EmptyLibrary({ add, onAgain, isAsked }: { add: (found: Found) => void; onAgain: () => void; isAsked: boolean }) {
  const { find } = useLaterStrings();
  const { drop } = useStrings();
  return (
    <div className="grid justify-items-center gap-3 rounded-2xl border-2 border-dashed border-edge bg-surface px-4 py-10 text-center">
      <SearchIcon className="size-12 text-accent" />
      <h2 className="text-xl font-semibold">{find.emptyTitle}</h2>
      <Picker label={drop.choose} className="justify-center" take={add} />
      <p className="max-w-xl text-muted">{find.emptyAbout}</p>
      <Command text={find.emptyCommand} />
      <p className="max-w-xl text-sm text-muted">{find.emptyAfter}</p>
      <Again onAgain={onAgain} isAsked={isAsked} />
    </div>
  );
}

function Again({ onAgain, isAsked = false }: { onAgain: () => void; isAsked?: boolean }) {
  const { find } = useLaterStrings();
  return (
    <Button kind="plain" size="small" disabled={isAsked} onClick={onAgain}>
      <AgainIcon className="size-4" />
      {find.lookAgain}
    </Button>
  );
}

function Command({ text }: { text: string }) {
  const { describe } = useStrings();
  return (
    <div className="flex max-w-full items-center gap-2 rounded-lg bg-sunken py-1 pr-1 pl-3 text-left">
      <code className="min-w-0 text-sm break-words">{text}</code>
      <CopyButton isIcon text={text} label={describe.copy} />
    </div>
  );
}
