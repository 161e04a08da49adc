/** What the examples share: where limits live, how an address is printed, how a process ends. */
import { once } from 'node:events';
import process from 'node:process';
import { MemoryStore } from 'distributed-rate-limiter';

/**
 * Redis where `REDIS_URL` names one, shared by all processes; else the memory of this one.
 * @type {{ redis: string } | { store: MemoryStore }}
 */
export const place =
  process.env['REDIS_URL'] === undefined
    ? { store: new MemoryStore() }
    : { redis: process.env['REDIS_URL'] };

/** 0 is a free port. */
export const port = Number(process.env['PORT'] ?? 0);

/**
 * Prints where a server listens, and closes what has to be closed when the process is told to end.
 * @param {number} listeningPort
 * @param {() => unknown} close
 */
export async function runUntilTold(listeningPort, close) {
  console.log(`http://127.0.0.1:${listeningPort}`);
  await Promise.race([once(process, 'SIGTERM'), once(process, 'SIGINT')]);
  await close();
}
