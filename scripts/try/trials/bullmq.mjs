/** @type {import('../trial.mjs').Trial} */
export const bullmq = {
  name: 'bullmq',
  title: "A BullMQ worker that keeps to somebody else's limit, on the queue's own Redis",
  async run(trial) {
    const project = await trial.installed(['ioredis', 'bullmq']);
    project.write('main.js', MAIN);
    for (const way of ['url', 'client']) {
      const { code, printed, output } = await project.run(['node', 'main.js', way], {
        timeoutMs: 60_000,
      });
      const { done, failed, spacings } = JSON.parse(
        printed || '{"done":0,"failed":-1,"spacings":[]}',
      );
      trial.must(`by ${way}: 10 jobs end, in order, and none fails`, done === 10 && failed === 0, {
        done,
        failed,
        code,
      });
      const least = Math.min(...spacings);
      trial.must(
        `by ${way}: no two jobs begin less than 200 ms apart`,
        // The worker's timers are whole milliseconds, and a job starts a moment after the limiter admits it.
        spacings.length === 9 &&
          spacings.every((/** @type {number} */ ms) => ms > 100) &&
          sum(spacings) >= 1_750,
        `least ${least} ms, ${sum(spacings)} ms in all`,
      );
      trial.mustNotWarn(output);
    }
  },
};

/** @param {readonly number[]} values */
function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}

const MAIN = `
import { Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import { limited } from 'distributed-rate-limiter/limited';

const url = process.env.REDIS_URL;
// What BullMQ demands of a worker's connection; and nothing may be sent twice.
const connection = new Redis(url, { maxRetriesPerRequest: null, autoResendUnfulfilledCommands: false });
const begun = [];
const call = limited(async (job) => { begun.push({ at: performance.now(), id: job.data.i }); }, {
  limiter: {
    redis: process.argv[2] === 'url' ? url : connection,
    namespace: 'crm-' + process.argv[2],
    rate: 5,
    period: '1s',
    burst: 1,
  },
  identify: 'api.crm.example',
  wait: { timeoutMs: 30_000 },
});

const queue = new Queue('mail', { connection });
const worker = new Worker('mail', (job) => call(job), { connection, concurrency: 4 });
let done = 0;
let failed = 0;
const all = new Promise((resolve) => {
  const settled = () => { if (done + failed === 10) resolve(); };
  worker.on('completed', () => { done += 1; settled(); });
  worker.on('failed', (_job, error) => { console.error(error); failed += 1; settled(); });
});
await queue.addBulk(Array.from({ length: 10 }, (_, i) => ({ name: 'send', data: { i } })));
await all;
const spacings = begun.slice(1).map(({ at }, i) => Math.round(at - begun[i].at));
console.log(JSON.stringify({ done, failed, spacings }));
await worker.close();
await queue.close();
await call.limiter.close();
await connection.quit();
`;
