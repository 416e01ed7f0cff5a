/** Files to pictures that can be shown and sent. Knows the browser's decoder, no service. */

import { shownName } from "@/lib/names";
import { reducedSize, within, type Size } from "@/lib/scaling";

export type Picture = {
  id: string;
  name: string;
  /** What is sent. */
  blob: Blob;
  /** What is shown; empty where the browser cannot read it. */
  preview: string;
  size: Size | null;
  /** Of the file, where it was made smaller. */
  original: Size | null;
};

export class UnusableError extends Error {
  constructor(readonly reason: "kind" | "size") {
    super(reason);
  }
}

const MOST_BYTES = 30_000_000; // the service takes 32 MB a request, form and all
const MOST_SHOWN_SIDE = 2048;
const SMALL_BYTES = 150_000;
const PICTURE_NAME = /\.(?:avif|bmp|gif|heic|heif|ico|jfif|jpe?g|jp2|png|ppm|tga|tiff?|webp)$/i;

export const looksLikePicture = (file: { name: string; type: string }): boolean =>
  file.type.startsWith("image/") ? file.type !== "image/svg+xml" : !file.type && PICTURE_NAME.test(file.name);

/** Raises UnusableError. */
export async function pictureOf(file: File, unnamed: string): Promise<Picture> {
  if (!looksLikePicture(file) || file.size === 0) throw new UnusableError("kind");
  const name = shownName(file.name) || unnamed;
  const id = crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`; // absent without https
  const decoded = await decode(file);
  if (!decoded) {
    if (file.size > MOST_BYTES) throw new UnusableError("size");
    return { id, name, blob: file, preview: "", size: null, original: null };
  }
  const { image, url } = decoded;
  const size = { width: image.naturalWidth, height: image.naturalHeight };
  const smaller = reducedSize(size) ?? (file.size > MOST_BYTES ? within(size, MOST_SHOWN_SIDE) : null);
  if (!smaller) return { id, name, blob: file, preview: url, size, original: null };
  const blob = await drawn(image, smaller, 0.92);
  URL.revokeObjectURL(url);
  return { id, name, blob, preview: URL.createObjectURL(blob), size: smaller, original: size };
}

export function release(picture: Picture): void {
  if (picture.preview.startsWith("blob:")) URL.revokeObjectURL(picture.preview);
}

/** As a data URL, to be kept with the tab: the picture itself where it is small, else a copy of this side. */
export async function smallCopy(picture: Picture, side: number): Promise<string> {
  const blob = picture.blob.size <= SMALL_BYTES ? picture.blob : await reduced(picture.blob, side);
  return await new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(new UnusableError("kind"));
    reader.readAsDataURL(blob);
  });
}

async function reduced(blob: Blob, side: number): Promise<Blob> {
  const decoded = await decode(blob);
  if (!decoded) throw new UnusableError("kind");
  const size = { width: decoded.image.naturalWidth, height: decoded.image.naturalHeight };
  const smaller = await drawn(decoded.image, within(size, side), 0.85);
  URL.revokeObjectURL(decoded.url);
  return smaller;
}

async function decode(blob: Blob): Promise<{ image: HTMLImageElement; url: string } | null> {
  const url = URL.createObjectURL(blob);
  const image = new Image();
  image.src = url;
  try {
    await image.decode();
    return image.naturalWidth > 0 ? { image, url } : null;
  } catch {
    URL.revokeObjectURL(url);
    return null;
  }
}

/** On white, as the service itself lays what is transparent. */
async function drawn(image: HTMLImageElement, { width, height }: Size, quality: number): Promise<Blob> {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  if (!context) throw new UnusableError("size");
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, width, height);
  const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, "image/jpeg", quality));
  canvas.width = canvas.height = 0; // gives the memory back at once
  if (!blob) throw new UnusableError("size");
  return blob;
}
