/** What a trial gets: projects, a Redis server, and methods to check what a user sees. */
import { Project } from './project.mjs';

/**
 * @typedef {object} Trial
 * @property {string} name by which it is chosen
 * @property {string} title who tries what
 * @property {(run: TrialRun) => Promise<void>} run
 */

/** @typedef {'ok' | 'FAILED' | 'gap'} Result */

export class TrialRun {
  /** @type {import('../../test/kit/servers/index.mjs').RedisServer} */
  redis;
  /** @type {{ claim: string, result: Result }[]} */
  claims = [];
  #tarball;
  /** @type {(() => Promise<unknown>)[]} */
  #endings = [];

  /**
   * @param {import('../../test/kit/servers/index.mjs').RedisServer} redis
   * @param {string} tarball
   */
  constructor(redis, tarball) {
    this.redis = redis;
    this.#tarball = tarball;
  }

  /** @param {{ type?: 'module' | 'commonjs', redisUrl?: string }} [options] */
  project({ type = 'module', redisUrl = this.redis.url } = {}) {
    const project = new Project(this.#tarball, redisUrl, type);
    this.onEnd(() => project.close());
    return project;
  }

  /**
   * A project with these packages, by `name` or `name@version`. The trial ends if they cannot be installed.
   *
   * @param {readonly string[]} packages
   * @param {Parameters<TrialRun['project']>[0]} [options]
   */
  async installed(packages, options) {
    const project = this.project(options);
    await this.step(`npm install ${packages.join(' ')}`, project.install(...packages));
    return project;
  }

  /**
   * Checks what a user must see. A trial goes on after a failure, because later claims may tell more.
   *
   * @param {string} claim
   * @param {boolean} holds
   * @param {unknown} got what was seen, as it is printed
   */
  must(claim, holds, got) {
    this.#record(claim, holds ? 'ok' : 'FAILED', got);
  }

  /**
   * Checks that no warning was printed: a user without mistakes gets none.
   *
   * @param {string} output of a program, both streams
   */
  mustNotWarn(output) {
    const lines = output.split('\n').filter((line) => /Warning|\bwarn/.test(line));
    this.must(
      'nothing is warned of',
      lines.length === 0,
      lines.slice(0, 5).join(' / ') || 'nothing',
    );
  }

  /**
   * Records a known gap. It counts neither as passed nor as failed. Once it works, it fails, so that it gets removed.
   *
   * @param {string} claim
   * @param {boolean} holds
   * @param {unknown} got
   */
  gap(claim, holds, got) {
    if (holds)
      this.#record(`${claim} (a known gap that is none any more: call must())`, 'FAILED', got);
    else this.#record(claim, 'gap', got);
  }

  /**
   * Runs a step that must succeed for the trial to go on.
   *
   * @param {string} what
   * @param {Promise<import('./project.mjs').Ended>} step
   * @returns {Promise<string>} what it printed on stdout
   */
  async step(what, step) {
    const started = performance.now();
    const { code, printed, output } = await step;
    const seconds = `${((performance.now() - started) / 1_000).toFixed(1)} s`;
    this.must(
      what,
      code === 0,
      code === 0 ? seconds : `exit code ${code}: ${output.slice(-3_000)}`,
    );
    if (code !== 0) throw new Stopped();
    return printed;
  }

  /**
   * Called when the trial is over, in reverse order.
   *
   * @param {() => Promise<unknown>} ending
   */
  onEnd(ending) {
    this.#endings.unshift(ending);
  }

  async end() {
    for (const ending of this.#endings) await ending();
  }

  /**
   * @param {string} claim
   * @param {Result} result
   * @param {unknown} got
   */
  #record(claim, result, got) {
    this.claims.push({ claim, result });
    const shown = typeof got === 'string' ? got : JSON.stringify(got);
    console.log(`  ${result.padEnd(6)} ${claim}: ${shown}`);
  }
}

/** Ends a trial whose failure is already recorded. */
export class Stopped extends Error {}
