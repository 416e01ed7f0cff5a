"use client";

import { createContext, useCallback, useContext, useEffect, useMemo, useRef, useState, type ReactNode } from "react";

import { FIRST_WISH, type Wish } from "@/lib/asking";
import type { Found } from "@/lib/dropped";
import { keepPictures, keptPictures } from "@/lib/kept";
import { pictureOf, release, UnusableError, type Picture } from "@/lib/pictures";
import { recall, remember } from "@/lib/session";
import { useStrings } from "@/lib/use-strings";

/** The questions that were sent together about one picture. */
export type Turn = { id: string; questions: string[] };
export type Refusals = { kind: string[]; size: string[]; cut: boolean; empty: boolean };

type Kept = { wish: Wish; begin: string; draft: string; chosen: string; talks: Record<string, Turn[]>;
  /** What is looked for in each picture, and which of it is lit. */
  phrases: Record<string, string[]>;
  lit: Record<string, string>;
  sought: string;
};

/** A view that has another use for what is dropped and pasted. now: says so. where: on what it fell. */
export type Taker = { now: string; take: (found: Found, where: Element | null) => void };

type Workspace = Kept & {
  taker: Taker | null;
  setTaker: (taker: Taker | null) => void;
  pictures: readonly Picture[];
  reading: number;
  refusals: Refusals | null;
  add: (found: Found) => Promise<void>;
  remove: (id: string) => void;
  clear: () => void;
  dismiss: () => void;
  /** Told where there is anything to tell. */
  refuse: (refusals: Refusals) => void;
  change: (changes: Partial<Kept>) => void;
  ask: (picture: string, questions: string[]) => void;
  forget: (picture: string) => void;
};

const NAME = "work";
const NOTHING: Kept = { wish: FIRST_WISH, begin: "", draft: "", chosen: "", talks: {}, phrases: {}, lit: {}, sought: "" };

const Context = createContext<Workspace | null>(null);

export function useWorkspace(): Workspace {
  const found = useContext(Context);
  if (!found) throw new Error("useWorkspace outside of WorkspaceProvider");
  return found;
}

/** What the person has put in: pictures, words, questions. What the service made of them is in the query client. */
export function WorkspaceProvider({ children }: { children: ReactNode }) {
  const strings = useStrings();
  const [pictures, setPictures] = useState<readonly Picture[]>([]);
  const [kept, setKept] = useState<Kept>(NOTHING);
  const [reading, setReading] = useState(0);
  const [refusals, setRefusals] = useState<Refusals | null>(null);
  const [taker, setTaker] = useState<Taker | null>(null);
  const isRestored = useRef(false);

  useEffect(() => {
    // After the first render, which must be what the export holds.
    // eslint-disable-next-line react-hooks/set-state-in-effect
    setPictures((now) => [...keptPictures(), ...now]);
    setKept((now) => ({ ...now, ...recall<Partial<Kept>>(NAME) }));
    isRestored.current = true;
  }, []);
  useEffect(() => {
    if (isRestored.current) void keepPictures(pictures);
  }, [pictures]);
  useEffect(() => {
    if (isRestored.current && kept !== NOTHING) remember(NAME, kept);
  }, [kept]);

  const change = useCallback((changes: Partial<Kept>) => setKept((now) => ({ ...now, ...changes })), []);

  const refuse = useCallback((refused: Refusals) => {
    const { cut, empty, kind, size } = refused;
    setRefusals(cut || empty || kind.length || size.length ? refused : null);
  }, []);

  const add = useCallback(
    async ({ files, cut }: Found) => {
      const refused: Refusals = { kind: [], size: [], cut, empty: files.length === 0 };
      setRefusals(null);
      setReading((now) => now + files.length);
      for (const file of files) {
        try {
          const picture = await pictureOf(file, strings.picture.unnamed);
          setPictures((now) => [...now, picture]);
        } catch (error) {
          refused[error instanceof UnusableError ? error.reason : "kind"].push(file.name);
        } finally {
          setReading((now) => now - 1);
        }
      }
      refuse(refused);
    },
    [refuse, strings],
  );

  const drop = useCallback((gone: (picture: Picture) => boolean) => {
    setPictures((now) => {
      now.filter(gone).forEach(release);
      return now.filter((picture) => !gone(picture));
    });
  }, []);

  const value = useMemo<Workspace>(
    () => ({
      ...kept,
      pictures,
      reading,
      refusals,
      taker,
      setTaker,
      add,
      refuse,
      change,
      remove: (id) => drop((picture) => picture.id === id),
      clear: () => drop(() => true),
      dismiss: () => setRefusals(null),
      ask: (picture, questions) =>
        setKept((now) => {
          const turn = { id: `${Date.now()}-${Math.random()}`, questions };
          return { ...now, talks: { ...now.talks, [picture]: [...(now.talks[picture] ?? []), turn] } };
        }),
      forget: (picture) => setKept((now) => ({ ...now, talks: { ...now.talks, [picture]: [] } })),
    }),
    [kept, pictures, reading, refusals, taker, add, refuse, change, drop],
  );
  return <Context value={value}>{children}</Context>;
}
