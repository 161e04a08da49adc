import type { Answer, Question } from '../engine/worker.ts';
import type { LogFacts } from '../../../src/cli/logs/read-log.ts';
import type { Run } from '../engine/run.ts';
import type { Suggestions } from '../engine/suggest.ts';

interface Answers {
  open: { readonly facts: LogFacts; readonly isCut: boolean; readonly requests: number };
  /** Undefined if a later question took its place. */
  run: Run | undefined;
  suggest: Suggestions;
  save: Blob;
}

type Progress = (share: number, lines: number) => void;

interface Pending {
  readonly resolve: (answer: never) => void;
  readonly reject: (error: Error) => void;
  readonly onProgress: Progress | undefined;
}

/** Asks the worker, which decides and reads logs, so that the page stays alive. */
export class Client {
  readonly #worker = new Worker(new URL('../engine/worker.ts', import.meta.url), {
    type: 'module',
  });
  readonly #pending = new Map<number, Pending>();
  #lastId = 0;

  constructor() {
    this.#worker.addEventListener('message', ({ data }: MessageEvent<Answer>) => {
      const pending = this.#pending.get(data.id);
      if (data.progress !== undefined) {
        pending?.onProgress?.(data.progress.share, data.progress.lines);
        return;
      }
      this.#pending.delete(data.id);
      if (data.error === undefined) {
        pending?.resolve(data.answer as never);
      } else {
        pending?.reject(new Error(data.error));
      }
    });
  }

  ask<Q extends Question>(question: Q, onProgress?: Progress): Promise<Answers[Q['ask']]> {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject, onProgress });
      this.#worker.postMessage({ id, question });
    });
  }

  close(): void {
    this.#worker.terminate();
  }
}
