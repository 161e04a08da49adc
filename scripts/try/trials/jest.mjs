import process from 'node:process';

/** @type {import('../trial.mjs').Trial} */
export const jest = {
  name: 'jest',
  title: 'Jest in its default mode, which is CommonJS: the test of docs/testing.md',
  async run(trial) {
    const project = await trial.installed(['jest'], { type: 'commonjs' });
    project.write('limit.test.js', TEST);
    const { output } = await project.run(['jest']);
    const passes = /Tests:\s+1 passed/.test(output);
    const said =
      output.split('\n').find((line) => /passed|require|import/i.test(line)) ?? output.slice(-300);
    const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
    const requiresModules = major > 24 || (major === 24 && minor >= 9);
    const claim = 'a test that requires the package passes';
    if (requiresModules) trial.must(claim, passes, said);
    else trial.gap(`${claim} on Node ${process.versions.node}`, passes, said);
  },
};

const TEST = `
const { MemoryStore, RateLimiter } = require('distributed-rate-limiter');
const { ManualClock } = require('distributed-rate-limiter/testing');

test('one unit is back after two seconds', async () => {
  const clock = new ManualClock();
  const limiter = new RateLimiter({ store: new MemoryStore({ clock }), rate: 5, period: '10s' });
  await limiter.allow('a', { cost: 5 });
  expect((await limiter.allow('a')).allowed).toBe(false);
  clock.advance('2s');
  expect((await limiter.allow('a')).allowed).toBe(true);
});
`;
