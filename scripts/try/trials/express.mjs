import { blockOf } from '../docs.mjs';
import { areReal, ask, askInTurn, fields, statuses } from '../requests.mjs';

const RATE = 100;
const PERIOD_MS = 60_000;

/** @type {import('../trial.mjs').Trial} */
export const express = {
  name: 'express',
  title: 'Express 5 and TypeScript behind a proxy: "HTTP" of the README',
  async run(trial) {
    const packages = ['ioredis', 'express', 'typescript', '@types/express', '@types/node'];
    const project = await trial.installed(packages);
    project.write(
      'main.ts',
      `${blockOf('README.md', trial.redis.url, '/express', 'app.post')}${TAIL}`,
    );
    project.write('tsconfig.json', JSON.stringify({ compilerOptions: COMPILER_OPTIONS }));
    await trial.step('tsc, strict and without skipLibCheck', project.run(['tsc']));

    const { url, output } = await project.serve(['node', 'main.js']);
    const alice = { headers: { 'x-forwarded-for': '203.0.113.7' } };
    const started = performance.now();
    const answers = await askInTurn(RATE + 20, url, alice);
    const refilled = Math.floor(((performance.now() - started) * RATE) / PERIOD_MS);
    const passed = answers.filter(({ status }) => status === 200);
    trial.must(
      'every decision is made in Redis, the first one too',
      areReal(answers),
      fields(answers[0]),
    );
    trial.must(
      `the first ${RATE} requests pass`,
      answers.slice(0, RATE).every(({ status }) => status === 200),
      statuses(answers),
    );
    trial.must(
      `no more pass than ${RATE} and the ${refilled} that come back meanwhile`,
      passed.length <= RATE + refilled && answers.some(({ status }) => status === 429),
      `${passed.length} passed`,
    );
    trial.must(
      'a refused request is told when to come again',
      Number(fields(answers.find(({ status }) => status === 429))['retry-after']) >= 1,
      fields(answers.find(({ status }) => status === 429)),
    );
    const bob = await ask(url, { headers: { 'x-forwarded-for': '203.0.113.8' } });
    trial.must(
      'another client behind the proxy has a limit of its own',
      bob.status === 200,
      bob.status,
    );
    const carol = { method: 'POST', headers: { 'x-forwarded-for': '203.0.113.9' } };
    const logins = await askInTurn(6, `${url}/login`, carol);
    trial.must(
      '5 failed logins, then none',
      statuses(logins) === '401 ×5, 429 ×1',
      statuses(logins),
    );
    const spoofing = { ...carol, headers: { 'x-forwarded-for': '198.51.100.1, 203.0.113.9' } };
    const spoofed = await ask(`${url}/login`, spoofing);
    trial.must(
      'an address that the client wrote itself is not believed',
      spoofed.status === 429,
      spoofed.status,
    );
    trial.mustNotWarn(output());
  },
};

const TAIL = `
app.get('/', (_request, response) => { response.send('hello'); });
const server = app.listen(0, () => { console.log('listening', (server.address() as { port: number }).port); });
`;

const COMPILER_OPTIONS = {
  module: 'nodenext',
  target: 'es2023',
  types: ['node'],
  strict: true,
  noUncheckedIndexedAccess: true,
  exactOptionalPropertyTypes: true,
  skipLibCheck: false,
};
