/** Captions as alternative texts. Knows strings alone. */

/** As a screen reader should say it: no "a picture of", which it says by itself; a capital and no final stop. */
export function altText(caption: string): string {
  const plain = caption
    .trim()
    .replace(/^(?:an?|the)\s+(?:picture|photo|photograph|image)\s+(?:of|showing)\s+/i, "")
    .replace(/\s*\.+$/, "");
  return plain.charAt(0).toUpperCase() + plain.slice(1);
}

/** The attribute to paste into a page. */
export function altAttribute(caption: string): string {
  const escaped = altText(caption)
    .replace(/&/g, "&amp;")
    .replace(/"/g, "&quot;")
    .replace(/</g, "&lt;")
    .replace(/>/g, "&gt;");
  return `alt="${escaped}"`;
}
