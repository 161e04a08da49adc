import { invalidOption } from '../base/errors.ts';
import { CLUSTER } from '../options/option-sets.ts';
import { openSwitch, readBoolean } from '../options/read-options.ts';
import type { TagCount } from './cluster-tags.ts';

/** How the keys of a limiter are spread over a Redis Cluster. */
export interface ClusterOptions {
  /**
   * How many hash tags the keys share: 16, 64 or 256, evenly spread over the slots. The digest of an identity chooses
   * its tag, and calls of one turn with the same tag share a script call. Choose at least 4 for each primary, and at
   * most a quarter of the calls that a process has in flight. Every key says the number: with another one, or none,
   * every identity starts afresh.
   */
  tags: TagCount;
  /**
   * False for the URL of a single server that keeps the same keys. Leave it out with a client, which knows what it is
   * connected to. Default true.
   */
  enabled?: boolean;
}

/** What `cluster` says of the URL, and of the keys. */
export interface ClusterSettings {
  /** Undefined where nothing is said. */
  readonly enabled: boolean | undefined;
  readonly tags: TagCount | undefined;
}

/** Reads `cluster`: true or false, or an object with `tags`. */
export function readCluster(value: unknown): ClusterSettings {
  if (typeof value === 'boolean') {
    return { enabled: value, tags: undefined };
  }
  const given = openSwitch(CLUSTER, value, '{ tags: 64 }')!;
  const settings = {
    enabled: given.optional('enabled', readBoolean, undefined),
    tags: given.required('tags', readTagCount),
  };
  given.end();
  return settings;
}

function readTagCount(option: string, value: unknown): TagCount {
  if (value !== 16 && value !== 64 && value !== 256) {
    throw invalidOption(
      option,
      '16, 64 or 256',
      value,
      'Choose at least 4 for each primary, and at most a quarter of the calls that a process has in flight.',
    );
  }
  return value;
}
