/** The other thread: a limiter like any other, which answers one question after another. */
import { workerData } from 'node:worker_threads';
import type { Decision } from '../decision.ts';
import { RateLimiter } from '../limiter.ts';
import { ENDED, pack, SENT } from './exchange.ts';
import type { Answer, Asked, Start } from './exchange.ts';
import { withLimits } from './options.ts';

const { port, signal, options } = workerData as Start;

let reported: unknown[] = [];
const limiter = new RateLimiter({
  ...withLimits(options),
  onError: (error) => reported.push(error),
});

process.once('exit', () => {
  Atomics.store(signal, ENDED, 1);
  wake();
});
port.on('message', (asked: Asked) => void answer(asked));
send({ id: 0, reported: [] });

async function answer(asked: Asked): Promise<void> {
  const { id } = asked;
  const outcome = await ask(asked).then(
    (decision) => (decision === undefined ? {} : { decision }),
    (error: unknown) => ({ error }),
  );
  send({ id, ...outcome, reported });
  reported = [];
}

async function ask({ verb, identity, cost }: Asked): Promise<Decision | void> {
  if (verb === 'close') {
    return limiter.close();
  }
  switch (verb) {
    case 'reset':
      return limiter.reset(identity);
    case 'allow':
    case 'peek':
      return limiter[verb](identity, { cost });
  }
}

function send(given: Answer): void {
  port.postMessage(pack(given));
  wake();
}

function wake(): void {
  Atomics.add(signal, SENT, 1);
  Atomics.notify(signal, SENT);
}
