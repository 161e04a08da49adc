import { blockOf } from '../docs.mjs';
import { ask, areReal, askInTurn, fields, statuses } from '../requests.mjs';

/** @type {import('../trial.mjs').Trial} */
export const next = {
  name: 'next',
  title: 'Next.js 16 with Turbopack, by URL: route handler, server action, proxy.ts',
  run: (trial) => tryNext(trial, []),
};

/** @type {import('../trial.mjs').Trial} */
export const nextWebpack = {
  name: 'next-webpack',
  title: 'The same, built with webpack',
  run: (trial) => tryNext(trial, ['--webpack']),
};

/**
 * @param {import('../trial.mjs').TrialRun} trial
 * @param {readonly string[]} flags of `next build`
 */
async function tryNext(trial, flags) {
  const packages = [
    'ioredis',
    'next',
    'react',
    'react-dom',
    'typescript@5.9.3',
    '@types/react',
    '@types/node',
  ];
  const project = await trial.installed(packages);
  const route = blockOf(
    'docs/http.md',
    trial.redis.url,
    'distributed-rate-limiter/web',
    'export const GET',
  );
  project.write('app/api/hello/route.ts', `${limiter('route', 3)}${route}`);
  project.write('app/action.ts', `'use server';\n${limiter('action', 3)}${ACTION}`);
  project.write('app/page.tsx', PAGE);
  project.write('app/layout.tsx', LAYOUT);
  project.write('app/api/behind/route.ts', BEHIND);
  project.write('proxy.ts', `${limiter('proxy', 3)}${PROXY}`);
  await build(trial, project, flags);

  const { url, output } = await start(project);
  const key = { headers: { 'x-api-key': 'secret' } };
  const answers = await askInTurn(4, `${url}/api/hello`, key);
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

  const behind = await askInTurn(4, `${url}/api/behind`);
  trial.must(
    'proxy.ts: 3 requests pass, then none',
    statuses(behind) === '200 ×3, 429 ×1',
    statuses(behind),
  );

  const reasons = await act(url, 4);
  const wanted = 'within_limit,within_limit,within_limit,limited';
  trial.must('server action: 3 calls pass, then none', reasons.join() === wanted, reasons.join());
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
  const { url, output } = await start(project);
  const answers = await askInTurn(2, `${url}/api/hello`, { headers: { 'x-api-key': 'secret' } });
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
  const env = { NEXT_TELEMETRY_DISABLED: '1' };
  const command = ['next', 'build', ...flags];
  const printed = await trial.step(command.join(' '), project.run(command, { env }));
  trial.mustNotWarn(printed);
}

/** @param {import('../project.mjs').Project} project */
async function start(project) {
  const running = project.start(['next', 'start', '--port', '0', '--hostname', '127.0.0.1'], {
    NEXT_TELEMETRY_DISABLED: '1',
  });
  const [url] = await running.printed(/http:\/\/127\.0\.0\.1:[1-9]\d*/);
  await running.printed(/Ready/);
  return { url, output: running.output };
}

/**
 * Submits the page's form as a browser without JavaScript does.
 * @param {string} url
 * @param {number} times
 */
async function act(url, times) {
  const reasons = [];
  for (let i = 0; i < times; i++) {
    const page = await ask(url);
    const [action = ''] = /\$ACTION_ID_\w+/.exec(page.body) ?? [];
    const form = new FormData();
    form.set(action, '');
    const answer = await ask(url, {
      method: 'POST',
      body: form,
      redirect: 'manual',
      headers: { origin: url },
    });
    reasons.push(
      /reason=(\w+)/.exec(answer.headers.get('location') ?? '')?.[1] ?? `status ${answer.status}`,
    );
  }
  return reasons;
}

/**
 * @param {string} namespace
 * @param {number} rate
 */
function limiter(namespace, rate) {
  return `import { RateLimiter } from 'distributed-rate-limiter';

const redis = process.env.REDIS_URL ?? 'redis://localhost:6379';
const limiter = new RateLimiter({ redis, namespace: '${namespace}', rate: ${rate}, period: '1h' });

`;
}

const ACTION = `
import { redirect } from 'next/navigation';

export async function order() {
  const { reason } = await limiter.allow('user:12345');
  redirect('/?reason=' + reason);
}
`;

const PAGE = `
import { order } from './action';

export const dynamic = 'force-dynamic';

export default function Page() {
  return <form action={order}><button>order</button></form>;
}
`;

const LAYOUT = `
import type { ReactNode } from 'react';

export default function Layout({ children }: { children: ReactNode }) {
  return <html><body>{children}</body></html>;
}
`;

const BEHIND = `
export const dynamic = 'force-dynamic';

export function GET() {
  return new Response('hello');
}
`;

const PROXY = `
import { NextResponse } from 'next/server';

export async function proxy() {
  const { allowed, degraded } = await limiter.allow('everybody');
  if (degraded) return new NextResponse('degraded', { status: 503 });
  return allowed ? NextResponse.next() : new NextResponse('slow down', { status: 429 });
}

export const config = { matcher: '/api/behind' };
`;
