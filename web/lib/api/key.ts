/** The API key, kept for this tab, or on this device where the person asks for that. Knows the browser's storage alone. */

const NAME = "openblip.key";

export function readKey(): string {
  return storage("session")?.getItem(NAME) ?? storage("local")?.getItem(NAME) ?? "";
}

export function keepKey(key: string, onDevice: boolean): void {
  forgetKey();
  storage(onDevice ? "local" : "session")?.setItem(NAME, key);
}

export function forgetKey(): void {
  storage("session")?.removeItem(NAME);
  storage("local")?.removeItem(NAME);
}

function storage(kind: "session" | "local"): Storage | null {
  try {
    return kind === "session" ? window.sessionStorage : window.localStorage;
  } catch {
    return null; // a browser that forbids it
  }
}
