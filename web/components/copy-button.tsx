"use client";

import { useEffect, useState } from "react";

import { useAnnounce } from "@/components/announcer";
import { Button } from "@/components/ui/button";
import { CopyIcon, TickIcon } from "@/components/ui/icons";
import { useStrings } from "@/lib/use-strings";

const SHOWN_MS = 2000;

type Props = { text: string; label: string; isIcon?: boolean };

export function CopyButton({ text, label, isIcon = false }: Props) {
  const { describe } = useStrings();
  const announce = useAnnounce();
  const [isCopied, setCopied] = useState(false);
  useEffect(() => {
    if (!isCopied) return;
    const timer = window.setTimeout(() => setCopied(false), SHOWN_MS);
    return () => window.clearTimeout(timer);
  }, [isCopied]);
  const copy = async () => {
    const worked = await copied(text);
    setCopied(worked);
    announce(worked ? describe.copied : describe.notCopied);
  };
  const Icon = isCopied ? TickIcon : CopyIcon;
  return (
    <Button
      kind="quiet"
      size={isIcon ? "icon" : "small"}
      aria-label={isIcon ? `${label}: ${text}` : undefined}
      onClick={() => void copy()}
    >
      <Icon className="size-4" />
      {!isIcon && (
        <span className="grid text-left">
          {/* Both in one place, so that the button keeps its width. */}
          <span className={isCopied ? "invisible [grid-area:1/1]" : "[grid-area:1/1]"}>{label}</span>
          <span className={isCopied ? "[grid-area:1/1]" : "invisible [grid-area:1/1]"}>{describe.copied}</span>
        </span>
      )}
    </Button>
  );
}

/** Without https, away from localhost, browsers have no clipboard but the old way. */
async function copied(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "sr-only";
    const focused = document.activeElement as HTMLElement | null;
    document.body.append(area);
    area.select();
    const worked = document.execCommand("copy");
    area.remove();
    focused?.focus();
    return worked;
  }
}
