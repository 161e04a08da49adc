import { runs } from '../requests.mjs';

/** @type {import('../trial.mjs').Trial} */
export const nodeRedis = {
  name: 'node-redis',
  title: 'Beside node-redis 4, 5 and 6: the install, a passed client, and by URL',
  async run(trial) {
    for (const version of ['4', '5', '6']) {
      const project = trial.project();
      const installed = await project.install(`redis@${version}`);
      const refusal =
        /ERESOLVE|peer .*/.exec(installed.output)?.[0] ?? installed.output.slice(-300);
      trial.must(
        `npm install redis@${version}`,
        installed.code === 0,
        installed.code === 0 ? 'installed' : refusal,
      );
      if (installed.code !== 0) continue;
      project.write('main.js', MAIN);
      for (const way of version === '4' ? ['client'] : ['client', 'url']) {
        const { printed, output } = await project.run(['node', 'main.js', `${way}-${version}`], {
          timeoutMs: 30_000,
        });
        const reasons = /** @type {string[]} */ (
          printed.startsWith('[') ? JSON.parse(printed) : [output]
        );
        trial.must(
          `redis@${version} by ${way}`,
          runs(reasons) === 'within_limit ×3, limited ×1',
          runs(reasons),
        );
      }
    }
  },
};

const MAIN = `
import { createClient } from 'redis';
import { RateLimiter } from 'distributed-rate-limiter';

const url = process.env.REDIS_URL;
const [, , way] = process.argv;
const client = createClient({ url, disableOfflineQueue: true });
client.on('error', (error) => console.error(error));
await client.connect();
const redis = way.startsWith('url') ? url : client;
const limiter = new RateLimiter({ redis, namespace: way, rate: 3, period: '1h' });
const reasons = [];
for (let i = 0; i < 4; i++) reasons.push((await limiter.allow('user:12345')).reason);
console.log(JSON.stringify(reasons));
await limiter.close();
client.destroy?.() ?? await client.disconnect();
`;
