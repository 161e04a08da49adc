/** @type {import('../trial.mjs').Trial} */
export const migrants = {
  name: 'migrants',
  title: 'Coming from other libraries with their options, doing what the errors say',
  async run(trial) {
    const project = await trial.installed(['ioredis']);
    project.write('main.js', MAIN);
    const printed = await trial.step('node main.js', project.run(['node', 'main.js']));
    /** @type {{ from: string, messages: string[], options: object, policy: { limit: number, recoversMs: number } | null }[]} */
    const stories = JSON.parse(printed);
    for (const { from, messages, options, policy } of stories) {
      for (const message of messages) console.log(`         ${from}: ${message}`);
      const [wantedLimit = 0, wantedMs = 0] = WANTED[from] ?? [];
      trial.must(
        `${from}: who follows the errors gets ${wantedLimit} per ${wantedMs / 1_000} s`,
        policy?.limit === wantedLimit && Math.abs(policy.recoversMs - wantedMs) <= 1,
        { policy, options },
      );
      trial.must(`${from}: two runs are enough`, messages.length <= 2, `${messages.length} errors`);
    }
  },
};

/**
 * The same limits in the other library's terms: units, and the period in milliseconds.
 *
 * @type {Record<string, [number, number]>}
 */
const WANTED = {
  'express-rate-limit': [100, 900_000],
  'rate-limiter-flexible': [50, 60_000],
  '@nestjs/throttler': [10, 60_000],
  '@fastify/rate-limit': [30, 60_000],
};

/**
 * Follows each error as a user does. Removes an unknown option, moves its value to the option that the error names, and
 * takes a spelling that the error suggests.
 */
const MAIN = `
import { RateLimiter } from 'distributed-rate-limiter';

const redis = process.env.REDIS_URL;
const given = {
  'express-rate-limit': { redis, namespace: 'a', windowMs: 900_000, limit: 100 },
  'rate-limiter-flexible': { storeClient: redis, keyPrefix: 'b', points: 50, duration: 60 },
  '@nestjs/throttler': { redis, namespace: 'c', ttl: 60_000, limit: 10 },
  '@fastify/rate-limit': { redis, nameSpace: 'd', timeWindow: '1 minute', max: 30 },
};

function follow(options, message) {
  const next = { ...options };
  for (const name of Object.keys(options)) {
    const line = message.split('\\n').find((each) => each.includes('\`' + name + '\`'));
    if (line === undefined) continue;
    const spelt = /\`(\\w+): '([^'\`]+)'\`/.exec(line);
    const instead = /Did you mean \`(\\w+)\`/.exec(line);
    if (spelt === null && instead === null) continue;
    delete next[name];
    if (spelt === null) next[instead[1]] = options[name];
    else next[spelt[1]] = spelt[2];
  }
  return next;
}

const stories = [];
for (const [from, first] of Object.entries(given)) {
  const messages = [];
  let options = first;
  let policy = null;
  for (let run = 0; run < 6; run++) {
    try {
      const limiter = new RateLimiter(options);
      await limiter.ready();
      const before = await limiter.peek('user');
      const all = await limiter.allow('user', { cost: before.remaining });
      policy = { limit: before.remaining, recoversMs: all.resetAfterMs };
      await limiter.close();
      break;
    } catch (error) {
      messages.push(error.message);
      const next = follow(options, error.message);
      if (JSON.stringify(next) === JSON.stringify(options)) break;
      options = next;
    }
  }
  const { redis: _, storeClient: __, ...shown } = options;
  stories.push({ from, messages, options: shown, policy });
}
console.log(JSON.stringify(stories));
`;
