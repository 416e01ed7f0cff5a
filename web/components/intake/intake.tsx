"use client";

import { Picker } from "@/components/intake/picker";
import { Samples } from "@/components/intake/samples";
import { Button } from "@/components/ui/button";
import { CloseIcon, PictureIcon, WarningIcon } from "@/components/ui/icons";
import { Spinner } from "@/components/ui/spinner";
import { useWorkspace } from "@/components/workspace";
import { shownName } from "@/lib/names";
import { useStrings } from "@/lib/use-strings";

const MOST_NAMED = 5;
const MOST_FILES = 100;

/** Where there is no picture yet: all the ways to bring one. */
export function EmptyIntake() {
  const { drop } = useStrings();
  return (
    <div className="space-y-8">
      <div className="grid justify-items-center gap-3 rounded-2xl border-2 border-dashed border-edge bg-surface px-4 py-10 text-center">
        <PictureIcon className="size-12 text-accent" />
        <p className="text-xl font-semibold pointer-coarse:hidden">{drop.title}</p>
        <p className="text-muted pointer-coarse:hidden">{drop.or}</p>
        <p className="hidden text-xl font-semibold pointer-coarse:block">{drop.touch}</p>
        <Picker label={drop.choose} className="justify-center" />
        <p className="mt-2 max-w-lg text-sm text-muted">{drop.note}</p>
      </div>
      <Samples />
    </div>
  );
}

/** What is being read, and what could not be used. */
export function IntakeNotes() {
  const { drop } = useStrings();
  const { reading, refusals, dismiss } = useWorkspace();
  const lines = refusals
    ? [
        refusals.empty && drop.empty,
        refusals.kind.length > 0 && drop.skipped(named(refusals.kind)),
        refusals.size.length > 0 && drop.tooLarge(named(refusals.size)),
        refusals.cut && drop.tooMany(MOST_FILES),
      ].filter((line) => line !== false)
    : [];
  return (
    <>
      <p role="status" className={reading ? "flex items-center gap-2 text-muted" : "sr-only"}>
        {reading > 0 && (
          <>
            <Spinner /> {drop.working(reading)}
          </>
        )}
      </p>
      {lines.length > 0 && (
        <div role="alert" className="flex items-center gap-3 rounded-xl bg-wait-tint p-3 text-sm">
          <WarningIcon className="size-5 shrink-0 text-wait" />
          <div className="min-w-0 flex-1 break-words">
            {lines.map((line) => (
              <p key={line}>{line}</p>
            ))}
          </div>
          <Button kind="quiet" size="icon" className="-my-1" aria-label={drop.dismiss} onClick={dismiss}>
            <CloseIcon />
          </Button>
        </div>
      )}
    </>
  );
}

function named(names: readonly string[]): string {
  const shown = names.slice(0, MOST_NAMED).map((name) => shownName(name));
  return shown.join(", ") + (names.length > MOST_NAMED ? ` + ${names.length - MOST_NAMED}` : "");
}
