"use client";

import type { ReactNode } from "react";

import { CopyButton } from "@/components/copy-button";
import { buttonClasses } from "@/components/ui/button";
import { SaveIcon } from "@/components/ui/icons";
import { altAttribute } from "@/lib/alt";
import type { CaptionResult } from "@/lib/api/schemas";
import { savedName } from "@/lib/names";
import type { Picture } from "@/lib/pictures";
import { useStrings } from "@/lib/use-strings";

type Props = { picture: Picture; caption: CaptionResult; children?: ReactNode };

export function CaptionActions({ picture, caption, children }: Props) {
  const { describe } = useStrings();
  const save = (content: string, kind: string, ending: string) => () => {
    const url = URL.createObjectURL(new Blob([content], { type: kind }));
    const link = document.createElement("a");
    link.href = url;
    link.download = savedName(picture.name, ending);
    link.click();
    window.setTimeout(() => URL.revokeObjectURL(url), 10_000);
  };
  const saveText = save(`${caption.text}\n`, "text/plain", "txt");
  const saveJson = save(`${JSON.stringify({ file: picture.name, ...caption }, null, 2)}\n`, "application/json", "json");
  const look = buttonClasses({ kind: "quiet", size: "small" });
  return (
    <div className="-mx-3 mt-auto flex flex-wrap gap-y-1">
      <CopyButton text={caption.text} label={describe.copy} />
      <CopyButton text={altAttribute(caption.text)} label={describe.copyAlt} />
      <button type="button" className={look} aria-label={describe.textAbout} onClick={saveText}>
        <SaveIcon className="size-4" />
        {describe.text}
      </button>
      <button type="button" className={look} aria-label={describe.jsonAbout} onClick={saveJson}>
        <SaveIcon className="size-4" />
        {describe.json}
      </button>
      {children}
    </div>
  );
}
