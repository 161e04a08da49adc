import { readLog } from './log.ts';
import type { LogSettings } from './log.ts';
import { makeRequests } from './requests.ts';
import type { MadeTraffic, Requests } from './requests.ts';
import { run } from './run.ts';
import { decisionsOf } from './save.ts';
import { suggest } from './suggest.ts';

/** Where the requests come from: made-up traffic, or the log that was opened last. */
export type Source = MadeTraffic | 'log';

export type Question =
  | { readonly ask: 'open'; readonly file: File; readonly settings: LogSettings }
  | {
      readonly ask: 'run';
      readonly source: Source;
      readonly policies: readonly string[];
      readonly watched: string | undefined;
    }
  | { readonly ask: 'suggest'; readonly source: Source; readonly periodMs: number }
  | { readonly ask: 'save'; readonly source: Source; readonly policies: readonly string[] };

/** What the page and its worker say to each other. */
export interface Asked {
  readonly id: number;
  readonly question: Question;
}

export interface Answer {
  readonly id: number;
  readonly answer?: unknown;
  readonly error?: string;
  readonly progress?: { readonly share: number; readonly lines: number };
}

let log: Requests | undefined;
let made: { readonly of: string; readonly requests: Requests } | undefined;
/** The newest question of each kind: older runs end early. */
const newest = new Map<Question['ask'], number>();

function requestsOf(source: Source): Requests {
  if (source === 'log') {
    if (log === undefined) {
      throw new Error('no log is open');
    }
    return log;
  }
  const of = JSON.stringify(source);
  if (made?.of !== of) {
    made = { of, requests: makeRequests(source) };
  }
  return made.requests;
}

async function answer(id: number, question: Question): Promise<unknown> {
  switch (question.ask) {
    case 'open': {
      let told = 0;
      const read = await readLog(question.file, question.settings, (share, lines) => {
        if (performance.now() - told > 100) {
          told = performance.now();
          tell({ id, progress: { share, lines } });
        }
      });
      log = read.requests;
      return { facts: read.facts, isCut: read.requests.isCut, requests: read.requests.count };
    }
    case 'run':
      return run(
        requestsOf(question.source),
        question.policies,
        question.watched,
        () => newest.get('run') !== id,
      );
    case 'suggest':
      return suggest(requestsOf(question.source), question.periodMs);
    case 'save': {
      const pieces: string[] = [];
      for await (const piece of decisionsOf(requestsOf(question.source), question.policies)) {
        pieces.push(piece);
      }
      return new Blob(pieces, { type: 'application/jsonl' });
    }
    default:
      return question satisfies never;
  }
}

function tell(message: Answer): void {
  self.postMessage(message);
}

self.addEventListener('message', ({ data }: MessageEvent<Asked>) => {
  const { id, question } = data;
  newest.set(question.ask, id);
  answer(id, question).then(
    (given) => tell({ id, answer: given }),
    (error: unknown) => tell({ id, error: error instanceof Error ? error.message : String(error) }),
  );
});
