"use client";

import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef } from "react";

import { useAnnounce } from "@/components/announcer";
import { ProblemNote } from "@/components/problem";
import { Bar } from "@/components/ui/bar";
import { Button } from "@/components/ui/button";
import { CloseIcon, TickIcon } from "@/components/ui/icons";
import { Spinner } from "@/components/ui/spinner";
import type { Adding } from "@/lib/library";
import { renewLibrary, useAdding, type Upload } from "@/lib/library-queries";
import { shownName } from "@/lib/names";
import { useAgain } from "@/lib/queries";
import { useLaterStrings } from "@/lib/use-later-strings";
import { useStrings } from "@/lib/use-strings";

const MOST_SHOWN = 6;

/** Pictures on their way into the library: each with its progress or what went wrong, and how many are there. */
export function Additions({ uploads, onDismiss }: { uploads: readonly Upload[]; onDismiss: () => void }) {
  const { find } = useLaterStrings();
  const { drop } = useStrings();
  const steps = useAdding(uploads);
  const client = useQueryClient();
  const again = useAgain();
  const done = steps.filter(({ data, isFetching }) => !isFetching && data?.phase === "done");
  const already = done.filter(({ data }) => data?.phase === "done" && !data.created).length;
  const failed = steps.filter(({ error, isFetching }) => error && !isFetching).length;
  const left = uploads.length - done.length - failed;
  const outcome = [
    done.length > 0 && find.added(done.length - already, already),
    failed > 0 && find.notAdded(failed),
  ].filter(Boolean).join(" ");
  useSettled(left, outcome);

  if (!uploads.length) return null;
  const rows = uploads.map((upload, place) => ({ upload, step: steps[place]! }));
  const open = rows.filter(({ step }) => step.isFetching || step.error);
  const dismiss = () => {
    client.removeQueries({ queryKey: ["adding"] });
    onDismiss();
  };
  return (
    <section className="space-y-3 rounded-2xl border border-line bg-surface p-4" aria-label={find.add}>
      <div className="flex items-center gap-3">
        {left > 0 ? <Spinner /> : <TickIcon className="size-5 shrink-0 text-good" />}
        <p className="min-w-0 flex-1">{left > 0 ? find.adding(done.length, uploads.length) : outcome}</p>
        {left === 0 && (
          <Button kind="quiet" size="icon" className="-my-1" aria-label={drop.dismiss} onClick={dismiss}>
            <CloseIcon />
          </Button>
        )}
      </div>
      {open.length > 0 && (
        <ul className="space-y-2">
          {open.slice(0, MOST_SHOWN).map(({ upload, step }) => (
            <li key={upload.id} className="space-y-1">
              <p className="flex items-center justify-between gap-3 text-sm">
                <bdi className="min-w-0 truncate">{shownName(upload.name)}</bdi>
                {step.isFetching && !step.failureReason && <Step step={step.data} />}
              </p>
              {(step.isFetching ? step.failureReason : step.error) && (
                <ProblemNote
                  error={(step.failureReason ?? step.error)!}
                  isRetried={step.isFetching}
                  onAgain={() => void again(["adding", upload.id])}
                />
              )}
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

function Step({ step }: { step: Adding | undefined }) {
  const { describe } = useStrings();
  const share = step?.phase === "sending" ? step.share : step?.phase === "looking" ? 1 : 0;
  const words =
    step?.phase === "sending"
      ? describe.sending(Math.round(100 * share))
      : step?.phase === "looking"
        ? describe.looking
        : describe.preparing;
  return (
    <span className="flex shrink-0 items-center gap-3 text-muted">
      <Bar isProgress share={share} label={words} className="w-20" />
      {words}
    </span>
  );
}

/** When the last one is through, the gallery is asked for anew, once for all of them. */
function useSettled(left: number, outcome: string) {
  const client = useQueryClient();
  const announce = useAnnounce();
  const before = useRef(0);
  useEffect(() => {
    if (before.current > 0 && left === 0 && outcome) {
      renewLibrary(client);
      announce(outcome);
    }
    before.current = left;
  }, [announce, client, left, outcome]);
}
