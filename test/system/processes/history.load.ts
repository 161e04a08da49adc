import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Entry, Shape } from '../../../src/script/call-shape.ts';
import { digestIdentity } from '../../../src/base/identity.ts';
import { ClusterTags } from '../../../src/limiter/cluster-tags.ts';
import type { TagCount } from '../../../src/limiter/cluster-tags.ts';
import { startWorkers, waitUntil } from '../../kit/servers/index.mjs';
import type { Member, Phase, Task, Told } from './history.load.worker.mjs';
import { count, total } from './history.replay.ts';
import type { Counts } from './history.replay.ts';
import { scriptThatNotes } from './history.script.ts';
import { entriesTold, shapeAsked } from './history.shapes.ts';

const worker = new URL('history.load.worker.mjs', import.meta.url);

/** One unit takes hours: none recovers, and no key expires. */
export const BURST = 60;

/** What one process has reported so far, and how much of its file has been read. */
class Teller {
  readonly shapes: Shape[] = [];
  real = 0;
  degraded = 0;
  /** Refusals of the scarce identity. */
  spent = 0;
  rests = 0;
  readonly #file: number;
  #rest = '';

  constructor(path: string) {
    this.#file = openSync(path, 'a+');
  }

  /** Reads the new lines. */
  read(): Told[] {
    const chunk = Buffer.alloc(1 << 20);
    let text = this.#rest;
    for (let size; (size = readSync(this.#file, chunk, 0, chunk.length, null)) > 0;) {
      text += chunk.toString('utf8', 0, size);
    }
    const lines = text.split('\n');
    this.#rest = lines.pop()!;
    return lines.map((line) => JSON.parse(line) as Told);
  }

  close(): void {
    closeSync(this.#file);
  }
}

/** Several processes under load, and what they reported. */
export class LoadGroup {
  readonly known = new Map<string, readonly Entry[]>();
  readonly issued = new Map<string, number>();
  readonly admitted = new Map<string, number>();
  /** Script calls with their replies, also those that came too late for the caller. */
  readonly answered: string[] = [];
  /** The reasons of degraded decisions. */
  readonly failures = new Set<string>();
  /** Decisions of each process, as `<index> <identity>`: by Redis, and degraded. */
  readonly realOf = new Map<string, number>();
  readonly degradedOf = new Map<string, number>();
  readonly #plenty: string;
  readonly #burst: number;
  #scarce: string | undefined;
  readonly #namespace: string;
  readonly #tags: TagCount | undefined;
  readonly #folder = mkdtempSync(join(tmpdir(), 'history-'));
  readonly #tellers: Teller[];
  readonly #killed = new Set<number>();
  readonly #group: ReturnType<typeof startWorkers>;

  constructor(
    members: readonly Member[],
    {
      namespace = 'history',
      plenty = 'plenty',
      burst = BURST,
      timeoutMs = 250,
      users = 40,
      tags,
    }: {
      namespace?: string;
      plenty?: string;
      burst?: number;
      timeoutMs?: number;
      users?: number;
      tags?: TagCount | undefined;
    } = {},
  ) {
    this.#namespace = namespace;
    this.#tags = tags;
    this.#plenty = plenty;
    this.#burst = burst;
    this.#enter('common');
    this.#tellers = members.map((_, i) => new Teller(join(this.#folder, `told-${i}`)));
    const task: Task = {
      folder: this.#folder,
      members: [...members],
      source: scriptThatNotes(),
      demand: {
        namespace,
        limits: [
          { rate: 1, period: '5h', burst },
          { algorithm: 'slidingWindow', name: 'window', rate: 10_000, period: '12h' },
        ],
        plenty: [{ rate: 1_000_000, period: '365d' }],
        users,
        timeoutMs,
        ...(tags === undefined ? {} : { cluster: { tags } }),
      },
      plenty,
    };
    this.#group = startWorkers(worker, members.length, task, { timeoutMs: 120_000 });
  }

  get real(): number {
    return this.#tellers.reduce((sum, { real }) => sum + real, 0);
  }

  get degraded(): number {
    return this.#tellers.reduce((sum, { degraded }) => sum + degraded, 0);
  }

  keyOf(identity: string): string {
    return keyOf(this.#namespace, identity, this.#tags);
  }

  /** Waits until all processes are connected, and each has got store decisions. */
  async going(): Promise<void> {
    await this.#group.going;
    await this.decides();
  }

  /** From now on the processes also call for this identity, until its units are spent and after. */
  askFor(scarce: string): void {
    this.#listen();
    this.#scarce = scarce;
    this.#enter(`scarce ${scarce}`);
  }

  /** Waits until every living process, or these processes, has got more store decisions. */
  async decides(who: readonly number[] = this.#living()): Promise<void> {
    await this.#eachHas('real', 10, who);
  }

  /** Waits until something holds of what the processes have reported. */
  async reports(what: string, holds: () => boolean): Promise<void> {
    let failed = false;
    this.#group.results.catch(() => (failed = true));
    await waitUntil(
      what,
      () => {
        this.#listen();
        return holds();
      },
      { timeoutMs: 30_000, giveUp: () => failed },
    );
  }

  /** Waits until every living process, or these processes, was refused for the scarce identity. */
  async exhausts(who: readonly number[] = this.#living()): Promise<void> {
    await this.#eachHas('spent', 1, who);
  }

  /** Kills a process in the midst of its calls. */
  async kill(index: number): Promise<void> {
    this.#killed.add(index);
    this.#group.workers[index]!.kill();
    await this.#group.workers[index]!.result;
  }

  /** Pauses the calls until the next `askFor`. Resolves when all calls are answered and reported. */
  async rest(): Promise<void> {
    // Listens before the phase is announced: a process that rests at once reports it only once.
    const resting = this.#eachHas('rests', 1, this.#living());
    this.#enter('rest');
    await resting;
  }

  /** Ends the processes when all calls are answered. Resolves when everything is reported. */
  async stop(): Promise<void> {
    this.#enter('stop');
    await this.#group.results;
    this.#listen();
  }

  async close(): Promise<void> {
    for (const { kill } of this.#group.workers) kill();
    await this.#group.results.catch(() => {});
    for (const teller of this.#tellers) teller.close();
    rmSync(this.#folder, { recursive: true });
  }

  /**
   * How much more each identity was charged than its bounds allow; must be empty. `lost`: charges, by key, on a server
   * whose history is gone.
   */
  excesses(charged: Counts, lost: Counts = new Map()): string[] {
    return [...this.issued].flatMap(([identity, issued]) => {
      const key = this.keyOf(identity);
      const [admitted, kept] = [this.admitted.get(identity) ?? 0, charged.get(key) ?? 0];
      const gone = lost.get(key) ?? 0;
      const most = identity === this.#plenty ? Infinity : this.#burst;
      const isWithin =
        admitted <= kept + gone && kept + gone <= issued && kept <= most && gone <= most;
      return isWithin
        ? []
        : [`${identity}: admitted ${admitted}, charged ${kept}, lost ${gone}, issued ${issued}`];
    });
  }

  summary(charged: Counts, lost: Counts = new Map()): string {
    return (
      `${this.real} real, ${this.degraded} degraded; admitted ${total(this.admitted)} <= ` +
      `charged ${total(charged)}${lost.size > 0 ? ` and lost ${total(lost)}` : ''} <= issued ${total(this.issued)}`
    );
  }

  #enter(phase: Phase): void {
    writeFileSync(join(this.#folder, 'phase'), phase);
  }

  #living(): number[] {
    return this.#tellers.map((_, i) => i).filter((i) => !this.#killed.has(i));
  }

  async #eachHas(
    what: 'real' | 'spent' | 'rests',
    more: number,
    who: readonly number[],
  ): Promise<void> {
    this.#listen();
    const wanted = who.map((i) => ({ teller: this.#tellers[i]!, i }));
    const goals = new Map(wanted.map(({ teller }) => [teller, teller[what] + more]));
    await this.reports(`${more} more of ${what} in processes ${who.join(' ')}`, () =>
      [...goals].every(([teller, goal]) => teller[what] >= goal),
    );
  }

  #listen(): void {
    for (const teller of this.#tellers) {
      for (const told of teller.read()) this.#note(teller, told);
    }
  }

  #note(teller: Teller, told: Told): void {
    switch (told[0]) {
      case 'shape':
        teller.shapes.push(shapeAsked(told[1]));
        break;
      case 'encoded':
        this.known.set(told[1], entriesTold(told[2], teller.shapes));
        break;
      case 'answered':
        this.answered.push(told[1]);
        break;
      case 'issued':
        count(this.issued, told[1], told[2]);
        break;
      case 'decided': {
        const [, identity, units, outcome, reason] = told;
        const who = `${this.#tellers.indexOf(teller)} ${identity}`;
        count(outcome === 'degraded' ? this.degradedOf : this.realOf, who, 1);
        if (outcome === 'degraded') {
          teller.degraded += 1;
          this.failures.add(reason);
        } else teller.real += 1;
        if (outcome === 'admitted') count(this.admitted, identity, units);
        if (outcome === 'refused' && identity === this.#scarce) teller.spent += 1;
        break;
      }
      case 'resting':
        teller.rests += 1;
    }
  }
}

/** The key of an identity under its unnamed limit. */
export function keyOf(namespace: string, identity: string, tags?: TagCount): string {
  const digest = digestIdentity(identity, undefined);
  const head =
    tags === undefined ? `${namespace}:` : new ClusterTags(namespace, tags).headOf(digest);
  return `${head}token_bucket:${digest}`;
}
