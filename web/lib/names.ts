/** Names of files as they may be shown and saved. Knows no files. */

const MOST_SHOWN = 80;
const MOST_SAVED = 60;

/** Without what would turn around, hide or break the text beside it. */
export function shownName(name: string): string {
  const plain = name
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cs}]/gu, "")
    .replace(/\s+/g, " ")
    .trim();
  const letters = Array.from(plain);
  if (letters.length <= MOST_SHOWN) return plain;
  return `${letters.slice(0, MOST_SHOWN - 21).join("")}…${letters.slice(-20).join("")}`;
}

/** Of a file to be saved: letters and digits of any script, no path, no second ending. */
export function savedName(name: string, ending: string): string {
  const base = shownName(name.replace(/^.*[\\/]/, "")).replace(/\.[^.]*$/, "");
  const plain = Array.from(base.replace(/[^\p{L}\p{N}_-]+/gu, "-").replace(/^-+|-+$/g, ""))
    .slice(0, MOST_SAVED)
    .join("");
  return `${plain || "picture"}.${ending}`;
}
