"use client";

import { useState, type FormEvent } from "react";

import { Button } from "@/components/ui/button";
import { Dialog } from "@/components/ui/dialog";
import { Spinner } from "@/components/ui/spinner";
import { TextField } from "@/components/ui/text-field";
import { ServiceError } from "@/lib/api/errors";
import { forgetKey, keepKey } from "@/lib/api/key";
import { models } from "@/lib/service";
import { useStrings } from "@/lib/use-strings";

type Props = { open: boolean; onClose: () => void; onDone: () => void };

/** The key is tried before it is kept: a wrong one is told here, where it can be mended. */
export function SignIn({ open, onClose, onDone }: Props) {
  const { key, status } = useStrings();
  return (
    <Dialog open={open} onClose={onClose} title={key.title} close={status.close}>
      <KeyForm onClose={onClose} onDone={onDone} />
    </Dialog>
  );
}

function KeyForm({ onClose, onDone }: Omit<Props, "open">) {
  const { key, problem } = useStrings();
  const [typed, setTyped] = useState("");
  const [onDevice, setOnDevice] = useState(false);
  const [isChecking, setChecking] = useState(false);
  const [fault, setFault] = useState("");

  const enter = async (event: FormEvent) => {
    event.preventDefault();
    if (!typed.trim()) return setFault(key.empty);
    setChecking(true);
    setFault("");
    keepKey(typed.trim(), onDevice);
    try {
      await models();
      onDone();
    } catch (error) {
      const kind = error instanceof ServiceError ? error.kind : "failed";
      if (kind === "busy" || kind === "loading") return onDone(); // keys are looked at first
      forgetKey();
      setFault(kind === "key" ? key.wrong : kind === "unreachable" ? problem.unreachable.title : problem.failed.title);
    } finally {
      setChecking(false);
    }
  };

  return (
    <form onSubmit={enter} className="space-y-4" noValidate>
      <p className="text-muted">{key.about}</p>
      <div>
        <TextField
          label={key.label}
          type="password"
          value={typed}
          onChange={setTyped}
          note={
            <p role="alert" className="mt-1 min-h-5 text-sm text-bad">
              {fault}
            </p>
          }
          spellCheck={false}
          data-first
          aria-invalid={fault !== ""}
          className="font-mono"
        />
      </div>
      <label className="flex items-start gap-2 text-sm">
        <input
          type="checkbox"
          checked={onDevice}
          onChange={(event) => setOnDevice(event.target.checked)}
          className="mt-0.5 size-4 accent-accent"
        />
        <span>
          {key.keep}
          <span className="block text-muted">{key.keepAbout}</span>
        </span>
      </label>
      <div className="flex justify-end gap-2">
        <Button kind="quiet" onClick={onClose}>
          {key.cancel}
        </Button>
        <Button type="submit" disabled={isChecking}>
          {isChecking && <Spinner />}
          {isChecking ? key.checking : key.enter}
        </Button>
      </div>
    </form>
  );
}
