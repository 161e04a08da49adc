import { blockOf } from '../docs.mjs';
import { LAYOUT, NEXT_PACKAGES, buildNext, serveNext } from '../next-server.mjs';
import { areReal, askInTurn, fields, statuses } from '../requests.mjs';

/** @type {import('../trial.mjs').Trial} */
export const next = {
  name: 'next',
  title:
    'Next.js 16 with Turbopack: the route handler of docs/http.md, with a client library and without',
  run: (trial) => tryNext(trial, []),
};

/** @type {import('../trial.mjs').Trial} */
export const nextWebpack = {
  name: 'next-webpack',
  title: 'The same, built with webpack',
  run: (trial) => tryNext(trial, ['--webpack']),
};

const KEY = { headers: { 'x-api-key': 'secret' } };

/**
 * @param {import('../trial.mjs').TrialRun} trial
 * @param {readonly string[]} flags of `next build`
 */
async function tryNext(trial, flags) {
  const project = await trial.installed(['ioredis', ...NEXT_PACKAGES]);
  const route = blockOf(
    'docs/http.md',
    trial.redis.url,
    'distributed-rate-limiter/web',
    'export const GET',
  );
  project.write('app/api/hello/route.ts', `${LIMITER}${route}`);
  project.write('app/layout.tsx', LAYOUT);
  await build(trial, project, flags);

  const { url, output } = await serveNext(project, ['start']);
  const answers = await askInTurn(4, `${url}/api/hello`, KEY);
  trial.must(
    'route handler: 3 requests pass, then none',
    statuses(answers) === '200 ×3, 429 ×1',
    statuses(answers),
  );
  trial.must(
    'route handler: every decision is made in Redis',
    areReal(answers),
    fields(answers[0]),
  );
  trial.mustNotWarn(output());

  await withoutClient(trial, project, flags);
}

/**
 * Without a client library the first call must say so. This is a mistake of the program, not an outage of Redis.
 *
 * @param {import('../trial.mjs').TrialRun} trial
 * @param {import('../project.mjs').Project} project
 * @param {readonly string[]} flags
 */
async function withoutClient(trial, project, flags) {
  await trial.step(
    'npm uninstall ioredis',
    project.run(['npm', 'uninstall', 'ioredis', '--no-audit']),
  );
  await build(trial, project, flags);
  const { url, output } = await serveNext(project, ['start']);
  const answers = await askInTurn(2, `${url}/api/hello`, KEY);
  trial.must(
    'without a client library no request passes',
    statuses(answers) === '500 ×2',
    statuses(answers),
  );
  trial.must(
    'the error says what to install',
    output().includes('ERR_CLIENT_MISSING'),
    /^.*ERR_CLIENT_MISSING.*$|RateLimiterError: .*/m.exec(output())?.[0] ?? output().slice(-600),
  );
}

/**
 * @param {import('../trial.mjs').TrialRun} trial
 * @param {import('../project.mjs').Project} project
 * @param {readonly string[]} flags
 */
async function build(trial, project, flags) {
  const command = ['next', 'build', ...flags].join(' ');
  trial.mustNotWarn(await trial.step(command, buildNext(project, flags)));
}

const LIMITER = `import { RateLimiter } from 'distributed-rate-limiter';

const redis = process.env.REDIS_URL ?? 'redis://localhost:6379';
const limiter = new RateLimiter({ redis, namespace: 'route', rate: 3, period: '1h' });

`;
