"use client";

import { createContext, useCallback, useContext, useState, type ReactNode } from "react";

const Announce = createContext<(text: string) => void>(() => {});

/** Tells screen readers what has come about without moving the focus: whole captions and answers, not each word. */
export const useAnnounce = () => useContext(Announce);

export function Announcer({ children }: { children: ReactNode }) {
  const [text, setText] = useState("");
  const announce = useCallback((next: string) => {
    setText(""); // the same words twice are to be said twice
    window.setTimeout(() => setText(next), 50);
  }, []);
  return (
    <Announce value={announce}>
      {children}
      <p role="status" aria-live="polite" className="sr-only">
        {text}
      </p>
    </Announce>
  );
}
