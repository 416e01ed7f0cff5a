"use client";

import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef } from "react";

import { useAnnounce } from "@/components/announcer";
import { ASK_FORM } from "@/components/ask/ask-form";
import { ProblemNote } from "@/components/problem";
import { Badge } from "@/components/ui/badge";
import { Bar } from "@/components/ui/bar";
import { Button } from "@/components/ui/button";
import { Spinner } from "@/components/ui/spinner";
import { useWorkspace, type Turn } from "@/components/workspace";
import type { AnswerResult } from "@/lib/api/schemas";
import type { Answers } from "@/lib/captions";
import type { Picture } from "@/lib/pictures";
import { useAgain, useAnswers } from "@/lib/queries";
import { useLaterStrings } from "@/lib/use-later-strings";
import { useStrings } from "@/lib/use-strings";

/** What was asked about this picture and what was answered, the newest last. */
export function Conversation({ picture }: { picture: Picture }) {
  const { ask } = useLaterStrings();
  const { talks, forget } = useWorkspace();
  const client = useQueryClient();
  const turns = talks[picture.id] ?? [];
  if (!turns.length) return <p className="rounded-2xl bg-sunken p-4 text-muted">{ask.empty}</p>;
  return (
    <section aria-label={ask.history} className="space-y-4">
      <ol className="space-y-5">
        {turns.map((turn) => (
          <li key={turn.id}>
            <TurnView picture={picture} turn={turn} />
          </li>
        ))}
      </ol>
      <Button
        kind="quiet"
        size="small"
        onClick={() => {
          forget(picture.id);
          client.removeQueries({ queryKey: ["answers", picture.id] });
        }}
      >
        {ask.clear}
      </Button>
    </section>
  );
}

function TurnView({ picture, turn }: { picture: Picture; turn: Turn }) {
  const { ask } = useLaterStrings();
  const { describe } = useStrings();
  const { wish } = useWorkspace();
  const again = useAgain();
  const { data, error, failureReason, isFetching } = useAnswers(picture, turn.questions, wish.model);
  useAnswersAnnounced(data);
  const problem = isFetching ? failureReason : error;
  return (
    <div className="space-y-3">
      {turn.questions.map((question, place) => (
        <div key={question} className="space-y-2">
          <p className="ml-auto w-fit max-w-[85%] rounded-2xl rounded-br-md bg-tint px-4 py-2 break-words whitespace-pre-wrap">
            <bdi>{question}</bdi>
          </p>
          {data?.answers[place] && <AnswerView answer={data.answers[place]} />}
        </div>
      ))}
      {problem ? (
        <ProblemNote
          error={problem}
          isRetried={isFetching}
          onAgain={() => void again(["answers", picture.id, turn.questions, wish.model])}
        />
      ) : (
        isFetching && (
          <p className="flex items-center gap-2 text-muted">
            <Spinner /> {ask.thinking}
          </p>
        )
      )}
      {data && (
        <div className="flex flex-wrap gap-2">
          <Badge>{describe.time(data.seconds)}</Badge>
          {data.cached && <Badge title={describe.cachedAbout}>{describe.cached}</Badge>}
        </div>
      )}
    </div>
  );
}

function AnswerView({ answer }: { answer: AnswerResult }) {
  const { ask } = useLaterStrings();
  const { describe } = useStrings();
  return (
    <div data-answer className="w-fit max-w-full rounded-2xl rounded-bl-md border border-line bg-surface px-4 py-3">
      <p className="flex flex-wrap items-center gap-x-4 gap-y-1">
        <strong className="min-w-0 text-lg font-semibold break-words">
          <bdi>{answer.text}</bdi>
        </strong>
        <Share share={answer.probability} label={describe.sure} />
      </p>
      {answer.others.length > 0 && (
        <div className="mt-2 flex flex-wrap items-center gap-x-4 gap-y-1 text-sm">
          <span className="text-muted">{ask.others}</span>
          {answer.others.map(([text, probability]) => (
            <span key={text} className="flex max-w-full items-center gap-2">
              <bdi className="min-w-0 break-words">{text}</bdi>
              <Share share={probability} label={describe.sure} isSmall />
            </span>
          ))}
        </div>
      )}
    </div>
  );
}

function Share({ share, label, isSmall = false }: { share: number; label: string; isSmall?: boolean }) {
  const percent = 100 * share;
  return (
    <span className="inline-flex shrink-0 items-center gap-2 text-sm whitespace-nowrap text-muted">
      <Bar share={share} label={label} className={isSmall ? "w-14 max-sm:hidden" : "w-14"} />
      <span className="tabular-nums">{percent > 0 && percent < 1 ? "< 1" : Math.round(percent)} %</span>
    </span>
  );
}

/** Said as they arrive; not those that a reload brings back. */
function useAnswersAnnounced(data: Answers | undefined) {
  const { ask } = useLaterStrings();
  const announce = useAnnounce();
  const waited = useRef(data === undefined);
  useEffect(() => {
    if (!data || !waited.current) return;
    waited.current = false;
    const isCalm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    document.getElementById(ASK_FORM)?.scrollIntoView({ block: "nearest", behavior: isCalm ? "instant" : "smooth" });
    announce(data.answers.map(({ question, text }) => ask.done(question, text)).join(". "));
  }, [announce, ask, data]);
}
