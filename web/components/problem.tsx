"use client";

import { useEffect, useState, useSyncExternalStore } from "react";

import { useDoor } from "@/components/providers";
import { Button } from "@/components/ui/button";
import { AgainIcon, ClockIcon, WarningIcon } from "@/components/ui/icons";
import { passes, ServiceError } from "@/lib/api/errors";
import { readKey } from "@/lib/api/key";
import { classes } from "@/lib/classes";
import type { Strings } from "@/lib/strings";
import { useStrings } from "@/lib/use-strings";

type Props = { error: Error; onAgain: () => void; isRetried?: boolean };

/** What went wrong, in words, and what can be done. isRetried: it is tried again by itself. */
export function ProblemNote({ error, onAgain, isRetried = false }: Props) {
  const strings = useStrings();
  const door = useDoor();
  const isOnline = useOnline();
  const found = error instanceof ServiceError ? error : new ServiceError("failed", "");
  const { title, about } = wordsOf(found, strings, isOnline);
  const isMild = passes(found);
  const Icon = isMild ? ClockIcon : WarningIcon;
  return (
    <div
      role={isMild ? "status" : "alert"}
      data-problem={found.kind}
      className={classes("flex gap-3 rounded-xl p-3 text-sm", isMild ? "bg-wait-tint" : "bg-bad-tint")}
    >
      <Icon className={classes("mt-0.5 size-5 shrink-0", isMild ? "text-wait" : "text-bad")} />
      <div className="min-w-0 flex-1 space-y-2">
        <div>
          <p className={classes("font-medium", isMild ? "text-wait" : "text-bad")}>{title}</p>
          {about && <p className="break-words">{about}</p>}
          {isMild && isRetried && <Countdown error={found} />}
        </div>
        {found.kind === "key" ? (
          <Button kind="plain" size="small" onClick={door.signIn}>
            {strings.problem.signIn}
          </Button>
        ) : (
          <Button kind="plain" size="small" onClick={onAgain}>
            <AgainIcon className="size-4" />
            {isMild && isRetried ? strings.problem.now : strings.problem.again}
          </Button>
        )}
      </div>
    </div>
  );
}

function wordsOf(error: ServiceError, { problem }: Strings, isOnline: boolean): { title: string; about?: string } {
  switch (error.kind) {
    case "unreachable":
      return isOnline ? problem.unreachable : problem.offline;
    case "key":
      return readKey() ? problem.wrongKey : problem.key;
    case "busy":
    case "loading":
      return error.code === "library" ? { title: problem.library, about: error.detail } : problem[error.kind];
    case "refused":
      return { title: problem.refused.title, about: error.detail };
    case "broken":
    case "failed":
      return problem[error.kind];
  }
}

/** Seconds until the next try. Hidden from screen readers, which would say every one of them. */
function Countdown({ error }: { error: ServiceError }) {
  const { problem } = useStrings();
  const [left, setLeft] = useState(error.retryAfterS);
  useEffect(() => {
    const tick = () => setLeft(Math.ceil(error.retryAfterS - (Date.now() - error.at) / 1000));
    tick();
    const timer = window.setInterval(tick, 250);
    return () => window.clearInterval(timer);
  }, [error]);
  return (
    <p>
      <span className="sr-only">{problem.wait(error.retryAfterS)}</span>
      <span aria-hidden="true" className="tabular-nums">
        {left > 0 ? problem.wait(left) : problem.waited}
      </span>
    </p>
  );
}

const subscribe = (changed: () => void) => {
  window.addEventListener("online", changed);
  window.addEventListener("offline", changed);
  return () => {
    window.removeEventListener("online", changed);
    window.removeEventListener("offline", changed);
  };
};

export const useOnline = (): boolean =>
  useSyncExternalStore(
    subscribe,
    () => navigator.onLine,
    () => true,
  );
