import { invalidOption } from '../../base/errors.ts';
import { readInteger } from '../../options/read-options.ts';
import { contains, isMasked, parseNetwork, showNetwork } from './address.ts';
import type { Address, Network } from './address.ts';
import { MAX_HOPS } from './forwarded.ts';

/**
 * The proxies that are believed about their peer: a list of addresses, of networks in CIDR notation, and of names:
 *
 * - `'loopback'`: `127.0.0.0/8`, `::1`
 * - `'linklocal'`: `169.254.0.0/16`, `fe80::/10`
 * - `'private'`: `10.0.0.0/8`, `172.16.0.0/12`, `192.168.0.0/16`, `fc00::/7`
 * - `'uniquelocal'`: the name of `'private'` in Express and Fastify
 * - `'unix'`: any peer on a Unix domain socket
 *
 * Or a number of hops, from 1 to 32: exactly that many proxies stand before the server, at any address. Use it only
 * if no client can reach the server past them: such a client could choose its own address with one header entry.
 */
export type TrustedProxies = number | readonly string[];

/** Decides which hops of a request are trusted. */
export interface Trust {
  /** True if no proxy is trusted. */
  readonly none: boolean;
  /** Whether the proxy at this distance from the server is trusted; the peer is at distance 0. */
  trusts(address: Address, distance: number): boolean;
  /** Whether a peer on a Unix domain socket is trusted. */
  readonly unix: boolean;
}

const NAMES: Readonly<Record<string, readonly string[]>> = {
  loopback: ['127.0.0.0/8', '::1/128'],
  linklocal: ['169.254.0.0/16', 'fe80::/10'],
  private: ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7'],
  uniquelocal: ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7'],
  unix: [],
};

const LIST =
  "a list of addresses, CIDRs and names, or a number of hops from 1 to 32, such as ['loopback', '10.0.0.0/8']";
const EVERYONE =
  'If every sender is trusted, every client writes its own address: name the proxies that stand before the server.';

export function readTrustedProxies(value: unknown): Trust {
  if (value === undefined) {
    return { none: true, unix: false, trusts: () => false };
  }
  if (typeof value === 'number') {
    const hops = readInteger('trustedProxies', value, 1, MAX_HOPS);
    return { none: false, unix: true, trusts: (_, distance) => distance < hops };
  }
  if (!Array.isArray(value)) {
    throw invalidOption('trustedProxies', LIST, value, cureOf(value));
  }
  const entries: readonly unknown[] = Array.from(value);
  const networks = entries.flatMap((entry, i) => readEntry(`trustedProxies[${i}]`, entry));
  return {
    none: entries.length === 0,
    unix: entries.includes('unix'),
    trusts: (address) => networks.some((network) => contains(network, address)),
  };
}

function cureOf(value: unknown): string {
  if (value === true || value === '*') {
    return EVERYONE;
  }
  if (typeof value === 'string') {
    return 'Put it into a list, one entry for each address.';
  }
  return value === false ? 'Leave it out, or pass [].' : 'Pass a list of addresses.';
}

function readEntry(option: string, entry: unknown): readonly Network[] {
  if (entry === '*') {
    throw invalidOption(option, 'an address, a CIDR or a name', entry, EVERYONE);
  }
  if (typeof entry === 'string' && Object.hasOwn(NAMES, entry)) {
    return NAMES[entry]!.map((network) => parseNetwork(network)!);
  }
  const network = typeof entry === 'string' ? parseNetwork(entry) : undefined;
  if (network === undefined) {
    throw invalidOption(
      option,
      `an address, a CIDR or one of ${Object.keys(NAMES)
        .map((name) => `'${name}'`)
        .join(', ')}`,
      entry,
      "Write it as '192.0.2.1', '192.0.2.0/24' or '2001:db8::/32', without port, brackets or zone.",
    );
  }
  if (network.prefix === 0) {
    throw invalidOption(option, 'less than every address there is', entry, EVERYONE);
  }
  if (!isMasked(network)) {
    throw invalidOption(
      option,
      'a network by its first address',
      entry,
      `Write '${showNetwork(network)}', or one address without a prefix.`,
    );
  }
  return [network];
}
