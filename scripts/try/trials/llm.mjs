import { blockOf } from '../docs.mjs';

/** @type {import('../trial.mjs').Trial} */
export const llm = {
  name: 'llm',
  title: 'An LLM gateway: docs/reservations.md with a provider that tells its usage afterwards',
  async run(trial) {
    const project = await trial.installed(['ioredis']);
    // The documented function is TypeScript; this removes its two type annotations.
    const documented = blockOf('docs/reservations.md', trial.redis.url, 'reserve(', 'settle(usage')
      .replace('prompt: string', 'prompt')
      .replace(': Promise<string | undefined>', '');
    project.write('main.js', `${HEAD}${documented}${TAIL}`);
    const printed = await trial.step('node main.js', project.run(['node', 'main.js']));
    /** @type {{ answered: (string | null)[], left: number, afterFailure: number, degraded: boolean }} */
    const got = JSON.parse(printed.trim().split('\n').at(-1) ?? '');
    trial.must('the answer comes through', got.answered[0] === 'You said hello', got.answered[0]);
    trial.must(
      'what the completion did not use is given back',
      got.left === 10_000 - 1_500,
      `${got.left} tokens left of 10000`,
    );
    trial.must(
      'a provider that fails costs nothing',
      got.afterFailure === got.left,
      `${got.afterFailure} tokens left`,
    );
    trial.must(
      'calls at once reserve no more than is left: 2 of 4 are let through',
      got.answered.slice(1).filter((answer) => answer !== null).length === 2,
      got.answered.slice(1),
    );
    trial.must('every decision is made in Redis', !got.degraded, `degraded: ${got.degraded}`);
  },
};

const HEAD = `
import { RateLimiter } from 'distributed-rate-limiter';

const limiter = new RateLimiter({
  redis: process.env.REDIS_URL,
  namespace: 'tokens',
  rate: 10_000,
  period: '1d',
});

async function complete(prompt) {
  await new Promise((resolve) => setTimeout(resolve, 50));
  if (prompt === 'fail') throw new Error('the provider is overloaded');
  return { text: 'You said ' + prompt, usage: { total_tokens: 1_500 } };
}
`;

const TAIL = `
const answered = [await answer('hello')];
const { remaining: left } = await limiter.peek('user:12345');
await answer('fail').catch(() => {});
const { remaining: afterFailure, degraded } = await limiter.peek('user:12345');
answered.push(...await Promise.all(['a', 'b', 'c', 'd'].map((prompt) => answer(prompt))));
console.log(JSON.stringify({ answered: answered.map((text) => text ?? null), left, afterFailure, degraded }));
await limiter.close();
`;
