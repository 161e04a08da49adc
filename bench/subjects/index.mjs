// @ts-check

/**
 * The libraries compared. A subject's module exports `open`, which connects and resolves with an `Opened`.
 *
 * @typedef {object} Subject
 * @property {string} name as it stands in the tables
 * @property {string} module beside this file
 * @property {boolean} [autoPipelining] whether its ioredis gathers the commands of a turn by itself
 * @property {string} [dist] of this library: the build to measure, a `file:` URL of its folder
 *
 * @typedef {object} OpenOptions
 * @property {number} port of Redis, on loopback
 * @property {number} db the subject's own, so that all have key tables of one size
 * @property {boolean} autoPipelining
 * @property {string | undefined} dist
 *
 * @typedef {object} Opened
 * @property {(identity: string) => Promise<boolean>} decide one call of cost 1; whether it passes
 * @property {(identity: string) => Promise<boolean>} fill a call that leaves the identity in Redis for the whole run
 * @property {() => void} close
 */

const peerModules = ['rate-limiter-flexible', 'rate-limit-redis', 'fastify-rate-limit'];

/** @type {Subject} */
export const ours = { name: 'distributed-rate-limiter', module: 'distributed-rate-limiter.mjs' };

/** @type {readonly Subject[]} */
export const peers = peerModules.flatMap((name) => [
  { name, module: `${name}.mjs`, autoPipelining: false },
  { name: `${name} (auto)`, module: `${name}.mjs`, autoPipelining: true },
]);

/** A limit higher than any scenario reaches: a refusal would be measured in place of a decision that passes. */
export const NEVER_REFUSES = 500_000_000;
