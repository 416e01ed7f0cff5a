"use client";

import { useRef, type ChangeEvent } from "react";

import { Button } from "@/components/ui/button";
import { CameraIcon, UploadIcon } from "@/components/ui/icons";
import { useWorkspace } from "@/components/workspace";
import { classes } from "@/lib/classes";
import { first, type Found } from "@/lib/dropped";
import { useStrings } from "@/lib/use-strings";

type Props = {
  label: string;
  kind?: "main" | "plain";
  size?: "usual" | "small";
  className?: string;
  /** Where they go; else among the pictures of the page. */
  take?: (found: Found) => void;
};

/** The browser's file picker and, where there is a touch screen, its camera. */
export function Picker({ label, kind = "main", size = "usual", className, take: onTaken }: Props) {
  const { drop } = useStrings();
  const { add } = useWorkspace();
  const files = useRef<HTMLInputElement>(null);
  const camera = useRef<HTMLInputElement>(null);
  const take = (event: ChangeEvent<HTMLInputElement>) => {
    const chosen = [...(event.target.files ?? [])];
    event.target.value = ""; // the same file may be chosen again
    if (chosen.length) void (onTaken ?? add)(first(chosen));
  };
  return (
    <div className={classes("flex flex-wrap gap-2", className)}>
      <Button kind={kind} size={size} onClick={() => files.current?.click()}>
        <UploadIcon />
        {label}
      </Button>
      <input ref={files} type="file" accept="image/*" multiple hidden onChange={take} data-intake="files" />
      <Button kind="plain" size={size} className="hidden pointer-coarse:inline-flex" onClick={() => camera.current?.click()}>
        <CameraIcon />
        {drop.camera}
      </Button>
      <input ref={camera} type="file" accept="image/*" capture="environment" hidden onChange={take} data-intake="camera" />
    </div>
  );
}
