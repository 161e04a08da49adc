import { existsSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { LIMIT_BRAND } from '../../algorithms/limit.ts';
import type { AnyLimit } from '../../algorithms/limit.ts';
import { carries, RateLimiterError } from '../../base/errors.ts';
import type { Given, OptionTable } from '../kit/command.ts';
import { UsageError } from '../kit/io.ts';
import type { Io } from '../kit/io.ts';
import { LIMIT_SYNTAX, readLimitText } from './limit-text.ts';

/** Limits that govern calls together, and what to call them. */
export interface PolicyText {
  readonly name: string;
  /** The options of a `RateLimiter` that say its limits, without where it keeps its states. */
  readonly options: Readonly<Record<string, unknown>>;
  /** What `--limit` calls each limit, by its name. */
  readonly labels?: ReadonlyMap<string, string>;
}

/** The option that says what keys share on a cluster, for limits that come without a module. */
export const TAGS_OPTION: OptionTable = {
  tags: {
    type: 'string',
    value: '<count>',
    help: 'The `cluster.tags` of your limiter: 16, 64 or 256 (default: those of the module)',
  },
};

export const POLICY_OPTIONS: OptionTable = {
  limit: {
    type: 'string',
    multiple: true,
    value: '<limit>',
    help: `A policy: ${LIMIT_SYNTAX}`,
  },
  limits: {
    type: 'string',
    multiple: true,
    value: '<file.mjs>',
    help: 'A policy from a module: its default export, or `limits`: limits, or options of a RateLimiter',
  },
};

/**
 * Options that say where states live or who hears of decisions, which a command line decides for itself. (Of `cluster`
 * the tags are left, which are part of every key.)
 */
const NOT_LIMITS = [
  'redis',
  'store',
  'timeoutMs',
  'maxInFlight',
  'sharding',
  'failStrategy',
  'onAllow',
  'onBlock',
  'onError',
  'denyCache',
  'prepay',
];

/** Reads the policies of a command line, in the order of their kind. */
export async function readPolicies(given: Given, io: Io): Promise<readonly PolicyText[]> {
  const texts = given.texts('limit').map((text) => {
    const limits = readLimitText(text);
    const labels = new Map(text.split(',').map((each, i) => [limits[i]!.name, each.trim()]));
    return { name: text.trim(), options: { limits }, labels };
  });
  const modules: PolicyText[] = [];
  for (const file of given.texts('limits')) {
    modules.push(await loadPolicy(file, io));
  }
  const all = [...texts, ...modules];
  if (all.length === 0) {
    throw new UsageError(
      "name the limits: --limit '100/1m burst 20', or --limits file.mjs for those of your code.",
    );
  }
  return all;
}

/** Reads the one policy of a command about an identity, and the tags of its keys. */
export async function readPolicy(given: Given, io: Io): Promise<PolicyText> {
  const policies = await readPolicies(given, io);
  const [policy] = policies;
  if (policy === undefined || policies.length > 1) {
    throw new UsageError('name one policy: one --limit with all limits, or one --limits.');
  }
  const tags = given.text('tags');
  return tags === undefined
    ? policy
    : { ...policy, options: { ...policy.options, cluster: { tags: readTagCount(tags) } } };
}

function readTagCount(text: string): number {
  if (!['16', '64', '256'].includes(text)) {
    throw new UsageError(
      `--tags must be 16, 64 or 256, got '${text}'. Write the \`cluster.tags\` of your limiter.`,
    );
  }
  return Number(text);
}

async function loadPolicy(file: string, io: Io): Promise<PolicyText> {
  const at = path.resolve(io.cwd, file);
  if (!existsSync(at)) {
    throw new UsageError(`--limits ${file}: there is no such file.`);
  }
  let module: Readonly<Record<string, unknown>>;
  try {
    module = (await import(pathToFileURL(at).href)) as Readonly<Record<string, unknown>>;
  } catch (error) {
    const said = error instanceof Error ? error.message : String(error);
    // Node 20 takes a file for CommonJS where no package.json says "type": "module".
    const isTakenForCommonJs =
      error instanceof SyntaxError && /outside a module|token 'export'/.test(said);
    const cure = isTakenForCommonJs
      ? `. Name it ${path.basename(file, path.extname(file))}.mjs, or set "type": "module" in package.json.`
      : '';
    throw new UsageError(`--limits ${file} could not be loaded: ${said}${cure}`);
  }
  const exported = module['default'] ?? module['limits'];
  const name = path.basename(file);
  if (Array.isArray(exported)) {
    return { name, options: { limits: exported as readonly AnyLimit[] } };
  }
  if (carries(exported, LIMIT_BRAND)) {
    return { name, options: { limits: [exported] } };
  }
  if (typeof exported === 'object' && exported !== null && isPlain(exported)) {
    const { cluster, ...others } = exported as Readonly<Record<string, unknown>>;
    const options = Object.fromEntries(
      Object.entries(others).filter(([option]) => !NOT_LIMITS.includes(option)),
    );
    return { name, options: { ...options, ...readTags(cluster) } };
  }
  throw new UsageError(
    `--limits ${file} must export limits or options of a RateLimiter, as default or as \`limits\`. Write: export default [tokenBucket({ rate: 100, period: '1m' })];`,
  );
}

/** What the option `cluster` of a module says of keys. */
function readTags(cluster: unknown): { readonly cluster?: { readonly tags: unknown } } {
  return typeof cluster === 'object' && cluster !== null && 'tags' in cluster
    ? { cluster: { tags: cluster.tags } }
    : {};
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** Runs what the library may refuse, so that its refusal is one of the command line. */
export function asUsage<T>(policy: PolicyText, run: () => T): T {
  try {
    return run();
  } catch (error) {
    throw error instanceof RateLimiterError
      ? new UsageError(`the limits '${policy.name}': ${error.message}`)
      : error;
  }
}
