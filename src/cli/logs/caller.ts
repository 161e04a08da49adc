import { groupOf, isDotted, parseNode } from '../../http/address/address.ts';
import { ownText } from './own-text.ts';

/** The network of one customer, as guards group IPv6 addresses by default. */
const IPV6_PREFIX = 64;
const MOST_KNOWN = 10_000;
/** A longer identity is refused by a limiter. */
const MOST_BYTES = 1_024;

const known = new Map<string, string>();

/**
 * The client of an address as a guard identifies it: IPv4 dotted, IPv6 by its /64, without a port. Text that is no
 * address, such as a host name, is its own client. Undefined for no text, `-` and what no limiter takes as identity.
 */
export function clientOf(text: string): string | undefined {
  if (isDotted(text)) {
    return ownText(text);
  }
  let client = known.get(text);
  if (client === undefined) {
    const address = parseNode(text);
    const named = address === undefined ? callerOf(ownText(text)) : groupOf(address, IPV6_PREFIX);
    if (named === undefined) {
      return undefined;
    }
    client = named;
    if (known.size >= MOST_KNOWN) {
      known.clear();
    }
    known.set(ownText(text), client);
  }
  return client;
}

/** A caller named by a field of the log. */
export function callerOf(value: unknown): string | undefined {
  if (typeof value === 'number' || typeof value === 'bigint') {
    return String(value);
  }
  return typeof value === 'string' && value !== '' && value !== '-' && fits(value)
    ? value
    : undefined;
}

function fits(text: string): boolean {
  return (
    text.isWellFormed() && (text.length * 3 <= MOST_BYTES || Buffer.byteLength(text) <= MOST_BYTES)
  );
}

/** The right-most address of `X-Forwarded-For`: the one that the proxy itself has seen. */
export function lastForwarded(list: string): string {
  return list.slice(list.lastIndexOf(',') + 1).trim();
}

/** A cost as a field gives it; undefined for what is no cost. */
export function costOf(value: unknown): number | undefined {
  const cost = typeof value === 'string' && /^\d{1,10}$/.test(value) ? Number(value) : value;
  return typeof cost === 'number' && Number.isInteger(cost) && cost >= 0 && cost <= 1_000_000_000
    ? cost
    : undefined;
}
