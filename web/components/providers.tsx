"use client";

import { QueryClientProvider } from "@tanstack/react-query";
import { createContext, useContext, useEffect, useMemo, useState, type ReactNode } from "react";

import { Announcer } from "@/components/announcer";
import { SignIn } from "@/components/service/sign-in";
import { WorkspaceProvider } from "@/components/workspace";
import { forgetKey } from "@/lib/api/key";
import { hasFailedAs, keepResults, makeClient, restoreResults } from "@/lib/client";
import { MODELS } from "@/lib/queries";

type Door = { isLocked: boolean; signIn: () => void; signOut: () => void };

const DoorContext = createContext<Door>({ isLocked: false, signIn: () => {}, signOut: () => {} });

/** Whether a key is wanted, and how to give or forget one. */
export const useDoor = () => useContext(DoorContext);

export function Providers({ children }: { children: ReactNode }) {
  const [isLocked, setLocked] = useState(false);
  const [isOpen, setOpen] = useState(false);
  const [client] = useState(() =>
    makeClient(() => {
      setLocked(true);
      setOpen(true);
    }),
  );

  useEffect(() => {
    restoreResults(client);
    let later = 0;
    const stop = client.getQueryCache().subscribe(() => {
      window.clearTimeout(later);
      later = window.setTimeout(() => keepResults(client), 300);
    });
    return () => {
      window.clearTimeout(later);
      stop();
    };
  }, [client]);

  const door = useMemo<Door>(
    () => ({
      isLocked,
      signIn: () => setOpen(true),
      signOut: () => {
        forgetKey();
        void client.resetQueries({ queryKey: MODELS });
      },
    }),
    [client, isLocked],
  );
  const enter = () => {
    setLocked(false);
    setOpen(false);
    void client.refetchQueries({ predicate: hasFailedAs("key") });
  };
  return (
    <QueryClientProvider client={client}>
      <DoorContext value={door}>
        <Announcer>
          <WorkspaceProvider>{children}</WorkspaceProvider>
          <SignIn open={isOpen} onClose={() => setOpen(false)} onDone={enter} />
        </Announcer>
      </DoorContext>
    </QueryClientProvider>
  );
}
