import { blockOf } from '../docs.mjs';

const PROCESSES = 20;
/** A script that does not end by itself is ended after this time. */
const TIMEOUT_MS = 60_000;

/** @type {import('../trial.mjs').Trial} */
export const quickstart = {
  name: 'quickstart',
  title: `The README's example and its login limiter by URL, ${PROCESSES} processes started at once`,
  async run(trial) {
    const project = await trial.installed(['ioredis']);

    const first = blockOf(
      'README.md',
      trial.redis.url,
      "redis: process.env['REDIS_URL']",
      'allow(',
    ).replace(CLOSE, "console.log('GOT', allowed, remaining);\n$&");
    project.write('first.js', first);
    const seen = await startAtOnce(project, 'first.js');
    trial.must(
      `${PROCESSES} processes start at once: every first call is decided in Redis`,
      seen.every((line) => /^true \d+$/.test(line)),
      seen.join(' | '),
    );

    const closed = blockOf(
      'README.md',
      trial.redis.url,
      "failStrategy: 'closed'",
      'timeoutMs: 100',
    );
    project.write(
      'login.js',
      `${closed}\nconsole.log('GOT', decision.reason);\nawait logins.close();`,
    );
    const reasons = await startAtOnce(project, 'login.js');
    const within = reasons.filter((reason) => reason === 'within_limit').length;
    trial.must(
      "so it is under `failStrategy: 'closed'` and `timeoutMs: 100`: 5 pass and the others are limited",
      within === 5 && reasons.every((reason) => /^(within_limit|limited)$/.test(reason)),
      reasons.join(' | '),
    );
  },
};

/** The last line of the README's example. */
const CLOSE = 'await limiter.close();';

/**
 * @param {import('../project.mjs').Project} project
 * @param {string} file
 * @returns {Promise<string[]>} what each process printed
 */
async function startAtOnce(project, file) {
  const ended = await Promise.all(
    Array.from({ length: PROCESSES }, () => project.run(['node', file], { timeoutMs: TIMEOUT_MS })),
  );
  return ended.map(({ code, output }) => {
    const got = /^GOT (.*)$/m.exec(output)?.[1];
    if (code !== 0 || got === undefined) return `exit code ${code}: ${output.slice(-500)}`;
    const warning = /Warning: (.*)/.exec(output)?.[1];
    return warning === undefined ? got : `${got} (${warning})`;
  });
}
