// @ts-check

/**
 * The libraries compared. A subject's module exports `open`, which connects and resolves with an `Opened`.
 *
 * @typedef {object} Subject
 * @property {string} name as it stands in the tables
 * @property {string} module beside this file
 * @property {boolean} [autoPipelining] whether its ioredis gathers the commands of a turn by itself
 * @property {Limits} [limits] of this library: the limits of its limiter
 * @property {string} [dist] of this library: the build to measure, a `file:` URL of its folder
 * @property {boolean} [memoryOnly] whether it makes no decisions but those that fill Redis
 *
 * @typedef {'token bucket' | 'fixed window' | 'sliding window' | 'two limits' | 'four limits'} Limits
 *
 * @typedef {object} OpenOptions
 * @property {number} port of Redis, on loopback
 * @property {number} db the subject's own, so that all have key tables of one size
 * @property {boolean} autoPipelining
 * @property {Limits | undefined} limits
 * @property {string | undefined} dist
 *
 * @typedef {object} Opened
 * @property {(identity: string) => Promise<boolean>} decide one call of cost 1; whether it passes
 * @property {(identity: string) => Promise<boolean>} fill a call that leaves the identity in Redis for the whole run
 * @property {() => void} close
 */

const peerModules = ['rate-limiter-flexible', 'rate-limit-redis', 'fastify-rate-limit'];

const module = 'distributed-rate-limiter.mjs';

/** This library, under the limits that its users have. @type {readonly (Subject & { limits: Limits })[]} */
export const ours = [
  { name: 'distributed-rate-limiter', module, limits: 'token bucket' },
  { name: 'ours, fixed window', module, limits: 'fixed window' },
  { name: 'ours, sliding window', module, limits: 'sliding window' },
  { name: 'ours, two limits', module, limits: 'two limits' },
  { name: 'ours, four limits', module, limits: 'four limits', memoryOnly: true },
];

/** @type {readonly Subject[]} */
export const peers = peerModules.flatMap((name) => [
  { name, module: `${name}.mjs`, autoPipelining: false },
  { name: `${name} (auto)`, module: `${name}.mjs`, autoPipelining: true },
]);

/** Libraries that are compared where decisions are made without a call to Redis only. @type {readonly Subject[]} */
export const localPeers = [false, true].map((autoPipelining) => ({
  name: `@upstash/ratelimit over ioredis${autoPipelining ? ' (auto)' : ''}`,
  module: 'upstash-ratelimit.mjs',
  autoPipelining,
}));

/** A limit higher than any scenario reaches: a refusal would be measured in place of a decision that passes. */
export const NEVER_REFUSES = 500_000_000;
