/** The words in the person's language. The built page is in English, so the first render is too. */

import { useSyncExternalStore } from "react";

import { languages, stringsFor, type Strings } from "@/lib/strings";

const english = languages.en as Strings;
const subscribe = (changed: () => void) => {
  window.addEventListener("languagechange", changed);
  return () => window.removeEventListener("languagechange", changed);
};

export const useStrings = (): Strings =>
  useSyncExternalStore(
    subscribe,
    () => stringsFor(navigator.languages),
    () => english,
  );
