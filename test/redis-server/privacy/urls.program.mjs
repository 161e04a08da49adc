// @ts-check
/** Uses a URL with a password and closes the limiter; then reports whether a heap snapshot contains the password. */
import process from 'node:process';
import { getHeapSnapshot } from 'node:v8';
import { RateLimiter } from 'distributed-rate-limiter';

const [port = '', drowssap = ''] = process.argv.slice(2);

/** Callers of this function never hold the whole string: the search must not put the password on the heap. */
const passwordOf = () => drowssap.split('').toReversed().join('');

async function use() {
  const limiter = new RateLimiter({
    redis: `redis://:${passwordOf()}@127.0.0.1:${port}`,
    rate: 5,
    period: '1m',
  });
  await limiter.ready();
  await limiter.allow('user');
  await limiter.close();
}
await use();
await use();

/** @returns {Promise<string>} */
async function heap() {
  globalThis.gc?.();
  const parts = [];
  for await (const part of getHeapSnapshot()) parts.push(part.toString());
  return parts.join('');
}
for (let attempt = 0; ; attempt++) {
  await new Promise((resolve) => setTimeout(resolve, 100));
  const found = (await heap()).includes(passwordOf());
  if (!found || attempt === 10) {
    console.log(found ? 'found' : 'forgotten');
    process.exit();
  }
}
