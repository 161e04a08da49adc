/** The worker thread: an ordinary limiter, which answers one question after another. */
import type { Decision } from '../base/decision.ts';
import { RateLimiter } from '../limiter/rate-limiter.ts';
import { pack, SENT } from './exchange.ts';
import type { Answer, Asked, Start } from './exchange.ts';
import { withLimits } from './options.ts';

/** Called once, by the code that loads this file in the thread. */
export function start({ port, signal, options }: Start): void {
  let reported: unknown[] = [];
  const limiter = new RateLimiter<string, string>({
    ...withLimits(options),
    onError: (error) => reported.push(error),
  });

  const send = (answer: Answer): void => {
    port.postMessage(pack(answer));
    Atomics.add(signal, SENT, 1);
    Atomics.notify(signal, SENT);
  };

  const answer = async (asked: Asked): Promise<void> => {
    const outcome = await ask(limiter, asked).then(
      (decision) => (decision === undefined ? {} : { decision }),
      (error: unknown) => ({ error }),
    );
    send({ id: asked.id, ...outcome, reported });
    reported = [];
  };

  port.on('message', (asked: Asked) => void answer(asked));
  send({ id: 0, reported: [] });
}

async function ask(
  limiter: RateLimiter<string, string>,
  { verb, identity, cost }: Asked,
): Promise<Decision | void> {
  if (verb === 'close') {
    return limiter.close();
  }
  switch (verb) {
    case 'reset':
      return limiter.reset(identity);
    case 'allow':
    case 'peek':
      return limiter[verb](identity, cost === undefined ? {} : { cost });
  }
}
