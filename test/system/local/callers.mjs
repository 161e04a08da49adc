// @ts-check
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startWorkers } from '../../kit/servers/index.mjs';

/** @typedef {import('./caller.worker.mjs').Tally} Tally */
/** @typedef {import('./envelope.mjs').Admission} Admission */

const worker = new URL('caller.worker.mjs', import.meta.url);

/** Processes that call for one identity, and the calls that passed. */
export class Callers {
  #folder = mkdtempSync(join(tmpdir(), 'local-'));
  #count;
  #group;

  /** @param {Omit<import('./caller.worker.mjs').Task, 'folder' | 'clients'> & { clients?: number }} task */
  constructor(task) {
    this.#count = task.doors.length;
    const data = { clients: 1, ...task, folder: this.#folder };
    this.#group = startWorkers(worker, this.#count, data, { timeoutMs: 180_000 });
  }

  /** Resolves when all are connected and begin to call. */
  get going() {
    return this.#group.going;
  }

  /** Ends a process as a crash would. @param {number} index */
  async kill(index) {
    this.#worker(index).kill();
    await this.#worker(index).result;
  }

  /** Freezes a process, or lets it go on. @param {number} index @param {'SIGSTOP' | 'SIGCONT'} signal */
  signal(index, signal) {
    process.kill(this.#worker(index).pid, signal);
  }

  /** From here on decisions are counted. */
  count() {
    writeFileSync(join(this.#folder, 'count'), '');
  }

  /** Ends the calls. Returns what each process that lives counted. @returns {Promise<Tally[]>} */
  async stop() {
    writeFileSync(join(this.#folder, 'stop'), '');
    return (await this.#group.results).filter((tally) => tally !== undefined);
  }

  /** All calls that have passed so far, those of killed processes included. @returns {Admission[]} */
  get admissions() {
    const files = Array.from({ length: this.#count }, (_, index) => index);
    return files.flatMap((index) => {
      const bytes = readFileSync(join(this.#folder, `admitted-${index}`));
      return Array.from({ length: Math.floor(bytes.length / 16) }, (_, i) => ({
        before: bytes.readDoubleLE(16 * i),
        after: bytes.readDoubleLE(16 * i + 8),
      }));
    });
  }

  async close() {
    for (const { kill } of this.#group.workers) kill();
    await this.#group.results.catch(() => {});
    rmSync(this.#folder, { recursive: true });
  }

  /** @param {number} index */
  #worker(index) {
    const found = this.#group.workers[index];
    if (found === undefined) throw new Error(`there is no process ${index}`);
    return found;
  }
}
