import { runs } from '../requests.mjs';

/** @type {import('../trial.mjs').Trial} */
export const commonjs = {
  name: 'commonjs',
  title: 'A plain CommonJS script',
  async run(trial) {
    const project = await trial.installed(['ioredis'], { type: 'commonjs' });
    project.write('main.js', MAIN);
    const output = await trial.step(
      'node main.js ends by itself',
      project.run(['node', 'main.js']),
    );
    const reasons = /** @type {string[]} */ (JSON.parse(output));
    const got = runs(reasons);
    trial.must(
      '3 calls pass, then none, each decided in Redis',
      got === 'within_limit ×3, limited ×1',
      got,
    );
  },
};

const MAIN = `
const { RateLimiter } = require('distributed-rate-limiter');

async function main() {
  const limiter = new RateLimiter({ redis: process.env.REDIS_URL, rate: 3, period: '1h' });
  const reasons = [];
  for (let i = 0; i < 4; i++) reasons.push((await limiter.allow('user:12345')).reason);
  console.log(JSON.stringify(reasons));
  await limiter.close();
}
main();
`;
