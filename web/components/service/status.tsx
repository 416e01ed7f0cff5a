"use client";

import { useEffect, useRef, useState } from "react";

import { useAnnounce } from "@/components/announcer";
import { useOnline } from "@/components/problem";
import { useDoor } from "@/components/providers";
import { Button, buttonClasses } from "@/components/ui/button";
import { Dialog } from "@/components/ui/dialog";
import { Spinner } from "@/components/ui/spinner";
import { readKey } from "@/lib/api/key";
import type { Model } from "@/lib/api/schemas";
import { classes } from "@/lib/classes";
import { useModels, useQueue, useReadiness } from "@/lib/queries";
import { useStrings } from "@/lib/use-strings";

type State = "connecting" | "ready" | "loading" | "unreachable" | "offline" | "locked";

const DOTS: Record<State, string> = {
  connecting: "bg-edge",
  ready: "bg-good",
  loading: "bg-wait",
  unreachable: "bg-bad",
  offline: "bg-bad",
  locked: "bg-wait",
};

/** The models that are served; empty until they are known. */
export function useServed(): readonly Model[] {
  const { data } = useReadiness();
  return useModels(data === "ready").data ?? [];
}

function useServiceState(): State {
  const { data } = useReadiness();
  const isOnline = useOnline();
  const { isLocked } = useDoor();
  if (!data) return "connecting";
  if (data === "unreachable") return isOnline ? "unreachable" : "offline";
  return data === "ready" && isLocked ? "locked" : data;
}

/** Which model and whether it is ready, in a word; the rest in a dialog. */
export function StatusChip() {
  const { status } = useStrings();
  const state = useServiceState();
  const [isOpen, setOpen] = useState(false);
  const [first] = useServed();
  useChangesAnnounced(status[state], state);
  return (
    <>
      <button
        type="button"
        onClick={() => setOpen(true)}
        aria-haspopup="dialog"
        className="flex min-h-9 items-center gap-2 rounded-full border border-line px-3 text-sm hover:bg-sunken pointer-coarse:min-h-11"
      >
        <span className={classes("size-2 shrink-0 rounded-full", DOTS[state])} aria-hidden="true" />
        <span className="sr-only">{status.label}: </span>
        {first && <span className="max-w-32 truncate font-medium">{first.id}</span>}
        <span className="text-muted">{status[state]}</span>
      </button>
      <Dialog open={isOpen} onClose={() => setOpen(false)} title={status.label} close={status.close}>
        <Details state={state} onClose={() => setOpen(false)} />
      </Dialog>
    </>
  );
}

/** Only what is out of the ordinary, and its end. */
function useChangesAnnounced(words: string, state: State) {
  const announce = useAnnounce();
  const before = useRef<State>("connecting");
  useEffect(() => {
    if (state !== before.current && !(before.current === "connecting" && state === "ready")) announce(words);
    before.current = state;
  }, [announce, state, words]);
}

function Details({ state, onClose }: { state: State; onClose: () => void }) {
  const { status, key } = useStrings();
  const door = useDoor();
  const served = useServed();
  const queue = useQueue(state !== "unreachable" && state !== "offline");
  return (
    <div className="space-y-4 text-sm">
      <p className="flex items-center gap-2">
        {state === "loading" || state === "connecting" ? (
          <Spinner />
        ) : (
          <span className={classes("size-2.5 rounded-full", DOTS[state])} aria-hidden="true" />
        )}
        {status[state]}
      </p>
      {served.map((model) => (
        <dl key={model.id} className="grid grid-cols-[auto_1fr] gap-x-4 gap-y-1.5 rounded-xl bg-sunken p-3">
          <dt className="text-muted">{status.model}</dt>
          <dd className="font-medium break-all">{model.id}</dd>
          {model.revision && (
            <>
              <dt className="text-muted">{status.revision}</dt>
              <dd className="font-mono text-xs leading-5 break-all">{model.revision}</dd>
            </>
          )}
          {!!model.tasks?.length && (
            <>
              <dt className="text-muted">{status.does}</dt>
              <dd>{model.tasks.map((task) => status.tasks[task] ?? task).join(", ")}</dd>
            </>
          )}
          {model.id === "mini" && <dd className="col-span-2 mt-1 border-t border-line pt-2">{status.mini}</dd>}
        </dl>
      ))}
      <dl className="grid grid-cols-[auto_1fr] gap-x-4">
        <dt className="text-muted">{status.queue}</dt>
        <dd>{queue.data ? status.queued(queue.data.waiting, queue.data.inHand) : status.unknownQueue}</dd>
      </dl>
      <div className="flex flex-wrap items-center justify-between gap-2">
        <a className="text-accent underline underline-offset-2" href="/docs">
          {status.interface}
        </a>
        {state === "locked" ? (
          <Button
            size="small"
            onClick={() => {
              onClose();
              door.signIn();
            }}
          >
            {key.enter}
          </Button>
        ) : (
          readKey() && (
            <button type="button" className={buttonClasses({ kind: "plain", size: "small" })} onClick={door.signOut}>
              {key.out}
            </button>
          )
        )}
      </div>
    </div>
  );
}

const LOOK = "group rounded-xl border border-line bg-surface px-4 py-3 text-sm";

/** What mini is, said where its captions stand. */
export function MiniNote() {
  const { status } = useStrings();
  const served = useServed();
  if (served.length > 0 && !served.some((model) => model.id === "mini")) return null;
  return (
    // Its place is kept until the model is known, so that nothing jumps.
    <details className={served.length ? LOOK : `${LOOK} invisible`} aria-hidden={served.length === 0}>
      <summary className="list-none">
        {status.miniShort}{" "}
        <span className="text-accent underline underline-offset-2 group-open:hidden">{status.miniMore}</span>
      </summary>
      <p className="mt-2 text-muted">{status.mini}</p>
    </details>
  );
}
