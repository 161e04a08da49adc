/** All that the address of the page says: whoever opens it sees the same picture. A log's content is never part of it. */
export interface PageState {
  readonly policies: readonly string[];
  readonly traffics: readonly string[];
  readonly length: string;
  readonly seed: number;
  /** The caller whose remaining requests are shown; undefined for the busiest. */
  readonly watched: string | undefined;
  /** The instant that is pointed at, in milliseconds from the start; undefined for none. */
  readonly atMs: number | undefined;
}

const MOST_POLICIES = 6;
const MOST_TRAFFICS = 6;

/** Reads what follows the `#`; undefined if it says no limit. What it does not say is as in `usual`. */
export function readHash(hash: string, usual: PageState): PageState | undefined {
  const given = new URLSearchParams(hash.replace(/^#/, ''));
  const policies = given.getAll('limit').slice(0, MOST_POLICIES);
  if (policies.length === 0) {
    return undefined;
  }
  const traffics = given.getAll('traffic').slice(0, MOST_TRAFFICS);
  const at = given.get('at');
  return {
    policies,
    traffics: traffics.length === 0 ? usual.traffics : traffics,
    length: given.get('for') ?? usual.length,
    seed: readSeed(given.get('seed') ?? '') ?? usual.seed,
    watched: given.get('caller') ?? undefined,
    atMs: at !== null && /^\d{1,15}$/.test(at) ? Number(at) : undefined,
  };
}

export function writeHash(state: PageState): string {
  const said = new URLSearchParams();
  for (const policy of state.policies) {
    said.append('limit', policy);
  }
  for (const traffic of state.traffics) {
    said.append('traffic', traffic);
  }
  said.set('for', state.length);
  said.set('seed', String(state.seed));
  if (state.watched !== undefined) {
    said.set('caller', state.watched);
  }
  if (state.atMs !== undefined) {
    said.set('at', String(state.atMs));
  }
  // Slashes and commas may stand in an address, and are easier to read.
  return `#${said.toString().replaceAll('%2F', '/').replaceAll('%2C', ',')}`;
}

/** A seed of the generator of random traffic; undefined for text that is none. */
export function readSeed(text: string): number | undefined {
  return /^\d{1,9}$/.test(text.trim()) ? Number(text) : undefined;
}
