"use client";

import { useEffect, useState } from "react";

import { UploadIcon } from "@/components/ui/icons";
import { useWorkspace } from "@/components/workspace";
import { filesOf } from "@/lib/dropped";
import { useStrings } from "@/lib/use-strings";

/** The whole page takes what is dropped, and what is pasted outside of a text field or holds no text. */
export function DropEverywhere() {
  const { drop } = useStrings();
  const { add, taker } = useWorkspace();
  const [isOver, setOver] = useState(false);

  useEffect(() => {
    let depth = 0; // dragenter and dragleave come for every element on the way
    const hasFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
    const take = (event: Event, data: DataTransfer) => {
      const where = event.target instanceof Element ? event.target : null;
      void filesOf(data).then((found) => (taker ? taker.take(found, where) : add(found)));
    };
    const enter = (event: DragEvent) => {
      if (hasFiles(event)) setOver(++depth > 0);
    };
    const leave = (event: DragEvent) => {
      if (hasFiles(event)) setOver((depth = Math.max(0, depth - 1)) > 0);
    };
    const over = (event: DragEvent) => hasFiles(event) && event.preventDefault();
    const dropped = (event: DragEvent) => {
      if (!event.dataTransfer || !hasFiles(event)) return;
      event.preventDefault();
      depth = 0;
      setOver(false);
      take(event, event.dataTransfer);
    };
    const pasted = (event: ClipboardEvent) => {
      const data = event.clipboardData;
      if (!data?.files.length || data.types.includes("text/plain")) return;
      event.preventDefault();
      take(event, data);
    };
    const listening: [string, (event: never) => void][] = [
      ["dragenter", enter],
      ["dragleave", leave],
      ["dragover", over],
      ["drop", dropped],
      ["paste", pasted],
    ];
    for (const [name, heard] of listening) window.addEventListener(name, heard as EventListener);
    return () => {
      for (const [name, heard] of listening) window.removeEventListener(name, heard as EventListener);
    };
  }, [add, taker]);

  if (!isOver) return null;
  return (
    <div className="pointer-events-none fixed inset-0 z-40 grid place-items-center bg-page/80 p-6">
      <p className="flex items-center gap-3 rounded-2xl border-2 border-dashed border-accent bg-surface px-8 py-6 text-lg font-medium">
        <UploadIcon className="size-6 text-accent" />
        {taker?.now ?? drop.now}
      </p>
    </div>
  );
}
