// @ts-check
import { openSync, readFileSync, writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { runAsWorker } from '../../kit/servers/index.mjs';
import { limitOf } from './asked.mjs';
import { RateLimiter, connectionOfClient } from './built.mjs';
import { openDoor } from './clients.mjs';
import { recordingScript } from './history.recorder.mjs';

/**
 * A process that calls on while something is done to Redis, or to itself. All that it asks for and hears it writes to a
 * file at once, so that its history outlives it.
 *
 * @typedef {import('./asked.mjs').Numbers} Numbers
 *
 * @typedef {object} Member
 * @property {import('./clients.mjs').Door} door
 * @property {'open' | 'closed'} failStrategy
 *
 * @typedef {object} Task
 * @property {string} folder of the files: `phase` holds what to do now, `told-<index>` what each process tells
 * @property {Member[]} members one for each process
 * @property {import('../../../src/redis/connection/script.ts').ScriptSource} source the production script that notes every execution
 *   in a list; the tag of its slot comes as one more argument
 * @property {{ namespace: string, limits: Numbers[], plenty: Numbers[], users: number, timeoutMs: number, cluster?: import('../../../src/limiter/cluster-options.ts').ClusterOptions }} demand
 * @property {string} plenty an identity that never comes to its end
 *
 * @typedef {'common' | `scarce ${string}` | 'rest' | 'stop'} Phase `scarce` names an identity that is asked for, too
 *
 * @typedef {import('./history.recorder.mjs').ToldOfScript
 *   | ['issued', identity: string, units: number]
 *   | ['decided', identity: string, units: number, 'admitted' | 'refused' | 'degraded', reason: string]
 *   | ['resting']} Told
 */

const EVERY_MS = 4;

await runAsWorker(
  /** @param {{ index: number, data: Task, ready: () => Promise<void> }} context */
  async ({ index, data, ready }) => {
    const { folder, members, source, demand } = data;
    const member = members[index];
    if (member === undefined) throw new Error('more processes than members');
    const file = openSync(`${folder}/told-${index}`, 'a');
    /** @param {Told} told */
    const tell = (...told) => writeSync(file, `${JSON.stringify(told)}\n`);

    const recording = recordingScript(source, tell);
    const client = await openDoor(member.door);
    // Limiters on one client share its connection, so the limiter's own calls use this script, too.
    connectionOfClient(client, recording);
    const limiter = new RateLimiter({
      redis: client,
      namespace: demand.namespace,
      ...(demand.cluster && { cluster: demand.cluster }),
      limits: demand.limits.map(limitOf),
      failStrategy: member.failStrategy,
      timeoutMs: demand.timeoutMs,
      onError: () => {},
    });
    const plenty = demand.plenty.map(limitOf);
    while ((await limiter.peek(data.plenty)).degraded) await sleep(20);
    await ready();

    /** @param {string} identity @param {number} cost */
    const ask = async (identity, cost) => {
      tell('issued', identity, cost);
      const options = identity === data.plenty ? { cost, limits: plenty } : { cost };
      const { degraded, allowed, reason } = await limiter.allow(identity, options);
      const outcome = degraded ? 'degraded' : allowed ? 'admitted' : 'refused';
      tell('decided', identity, cost, outcome, reason);
    };
    /** @returns {Phase} */
    const phase = () => /** @type {Phase} */ (readFileSync(`${folder}/phase`, 'utf8'));

    /** @type {Promise<void>[]} */
    let pending = [];
    for (let round = 0, now = phase(); now !== 'stop'; now = phase()) {
      if (now === 'rest') {
        if (pending.length > 0) {
          await Promise.all(pending);
          pending = [];
          tell('resting');
        }
      } else {
        if (now.startsWith('scarce ')) pending.push(ask(now.slice('scarce '.length), 1));
        pending.push(ask(data.plenty, 1 + (round % 3)));
        if (round % 4 === index % 4) {
          pending.push(ask(`user-${Math.floor(round / 4) % demand.users}`, 1));
        }
        round += 1;
      }
      await sleep(EVERY_MS);
    }
    await Promise.all(pending);
  },
);
