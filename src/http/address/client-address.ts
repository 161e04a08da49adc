import { invalidOption, optionError, show } from '../../base/errors.ts';
import { CLIENT_ADDRESS, IDENTIFY_BY_ADDRESS } from '../../options/http-option-sets.ts';
import { GivenOptions, readInteger, readOneOf } from '../../options/read-options.ts';
import { groupOf, isDotted, parseNode } from './address.ts';
import type { Address } from './address.ts';
import { hopsFromTheRight } from './forwarded.ts';
import type { ForwardedHeader } from './forwarded.ts';
import { readTrustedProxies } from './trusted-proxies.ts';
import type { Trust, TrustedProxies } from './trusted-proxies.ts';

/** Options that say where a client's address comes from. */
export interface AddressOptions {
  /**
   * The proxies whose `X-Forwarded-For` or `Forwarded` is believed. By default the header is not read, and the client
   * is the peer. `[]` has the same effect, and is deliberate: such a header then causes no warning.
   */
  trustedProxies?: TrustedProxies;
  /**
   * The one header that the trusted proxies write. Default `'x-forwarded-for'`. The other is never read: a proxy that
   * writes one passes the other on as the client sent it.
   */
  forwardedHeader?: ForwardedHeader;
  /**
   * The number of leading bits of an IPv6 address that identify one client, from 32 to 128. Default 64, the smallest
   * network that a customer gets, with 2^64 addresses at its disposal.
   */
  ipv6Prefix?: number;
}

/**
 * A request of any framework: an `IncomingMessage`, the request of Express or Fastify, Koa's context, a web-standard
 * `Request` (which knows no socket).
 */
export interface AddressRequest {
  readonly headers:
    | Readonly<Record<string, string | readonly string[] | undefined>>
    | { get(name: string): string | null };
  readonly socket?:
    | {
        readonly remoteAddress?: string | undefined;
        readonly localAddress?: string | undefined;
        readonly destroyed?: boolean;
      }
    | null
    | undefined;
}

/** The used facts of a request, for objects of another shape. */
export interface AddressSource {
  /** The peer's address; undefined if unknown. */
  readonly remoteAddress: string | undefined;
  /** Whether the peer is on a Unix domain socket, and so has no address. Default false. */
  readonly unix?: boolean;
  /** A header's value, by its name in lower case; the values of repeated lines joined by commas, in order. */
  header(name: ForwardedHeader): string | null | undefined;
}

/** Options of `clientAddress`. */
export interface ClientAddressOptions extends AddressOptions {
  /** The peer's address, for a request that does not know it: a web-standard `Request`. */
  remoteAddress?: string | undefined;
}

/** Whether the process has been warned about calls of `clientAddress`, which keep no state of their own. */
let warnedOfCalls = false;

/**
 * The client's address, as text to limit by: an IPv4 address in dotted form (`203.0.113.7`); for an IPv6 address, its
 * network with the prefix (`2001:db8:1:2::/64`, RFC 5952, for any `ipv6Prefix`: `2001:db8::1/128`). An IPv4-mapped
 * address is IPv4 in every notation, and an address in NAT64's `64:ff9b::/96` is the IPv4 address in it. Ports and
 * zones are ignored.
 *
 * The walk begins at the peer and goes through the header from right to left, as long as the current address is a
 * trusted proxy's. It ends at a hop that is no address, and at the end of what is read: 32 hops and 8 KiB. The result
 * is then the last trusted address, never text that an untrusted client chose.
 *
 * Every call reads the options; for more than a few requests use `identifyByAddress`.
 *
 * @returns undefined if the address is unknown: the connection is gone, or is a Unix domain socket, or the request
 * does not know it.
 * @throws {RateLimiterError} `ERR_INVALID_OPTION` for a misspelt or wrong option, and for a value that is no request.
 * @example
 * import { clientAddress } from 'distributed-rate-limiter/http';
 *
 * clientAddress(request);                                          // '203.0.113.7'
 * clientAddress(request, { trustedProxies: ['loopback'] });        // who nginx on this machine says it is
 */
export function clientAddress(
  request: AddressRequest | AddressSource,
  options: ClientAddressOptions = {},
): string | undefined {
  const given = new GivenOptions(CLIENT_ADDRESS, options);
  const remoteAddress = given.optional('remoteAddress', readRemoteAddress, undefined);
  const read = addressReader(given, warnedOfCalls, () => {
    warnedOfCalls = true;
  });
  if (remoteAddress === undefined) {
    return read(request);
  }
  remoteAddressOf(request);
  return read({ remoteAddress, header: (name) => headerOf(request, name) });
}

/**
 * Makes a function for a guard's `identify` that returns a request's client address, as `clientAddress` does. The
 * options are read once, here.
 *
 * @throws {RateLimiterError} `ERR_INVALID_OPTION`, naming the option and the cure.
 * @example
 * import { identifyByAddress } from 'distributed-rate-limiter/http';
 *
 * const identify = identifyByAddress({ trustedProxies: ['10.0.0.0/8'] });
 * identify(request); // '203.0.113.7'
 */
export function identifyByAddress(
  options: AddressOptions = {},
): (request: AddressRequest | AddressSource) => string | undefined {
  return addressReader(new GivenOptions(IDENTIFY_BY_ADDRESS, options), false, () => {});
}

function readRemoteAddress(option: string, value: unknown): string {
  if (typeof value !== 'string') {
    throw invalidOption(option, 'a string', value, "Pass the peer's address.");
  }
  return value;
}

function readHeaderName(option: string, value: unknown): ForwardedHeader {
  return readOneOf(option, value, ['x-forwarded-for', 'forwarded']);
}

function readPrefix(option: string, value: unknown): number {
  return readInteger(option, value, 32, 128);
}

/** Reads the last options, and throws all problems. */
function addressReader(
  given: GivenOptions,
  alreadyWarned: boolean,
  onWarning: () => void,
): (request: AddressRequest | AddressSource) => string | undefined {
  const { trustedProxies } = given.values;
  const trust = given.attempt('trustedProxies', () => readTrustedProxies(trustedProxies));
  const header = given.optional('forwardedHeader', readHeaderName, 'x-forwarded-for');
  const prefix = given.optional('ipv6Prefix', readPrefix, 64);
  given.end();

  if (!trust.none) {
    return (request) => {
      const address = walk(request, trust, header);
      return address === undefined ? undefined : groupOf(address, prefix);
    };
  }
  let watching = trustedProxies === undefined && !alreadyWarned;
  return (request) => {
    const peer = remoteAddressOf(request);
    if (watching && isForwarded(request) && !isNamed(peer, request)) {
      watching = false;
      onWarning();
      process.emitWarning(
        'A request came with an `X-Forwarded-For` or `Forwarded` header, which was not read: no proxy is trusted. ' +
          'If the server is behind a proxy, all its clients count as one: name it in `trustedProxies`. ' +
          'If it is not, a client made the header up: pass `trustedProxies: []`.',
        { type: 'RateLimiterWarning', code: 'DRL_UNTRUSTED_FORWARDED' },
      );
    }
    return groupOfPeer(peer, prefix);
  };
}

function walk(
  request: AddressRequest | AddressSource,
  trust: Trust,
  header: ForwardedHeader,
): Address | undefined {
  const text = remoteAddressOf(request);
  let address = text === undefined ? undefined : parsePeer(text);
  if (address === undefined ? !(trust.unix && isUnix(request)) : !trust.trusts(address, 0)) {
    return address;
  }
  const value = headerOf(request, header);
  if (value === undefined) {
    return address;
  }
  let distance = 0;
  for (const hop of hopsFromTheRight(value, header)) {
    if (hop === undefined) {
      return address;
    }
    address = hop;
    distance++;
    if (!trust.trusts(address, distance)) {
      return address;
    }
  }
  return address;
}

const MAPPED = '::ffff:';

/** Handles the common cases without parsing bytes: IPv4, and IPv4 as a dual-stack socket shows it. */
function groupOfPeer(text: string | undefined, prefix: number): string | undefined {
  if (text === undefined || isDotted(text)) {
    return text;
  }
  if (text.startsWith(MAPPED)) {
    const rest = text.slice(MAPPED.length);
    if (isDotted(rest)) {
      return rest;
    }
  }
  const address = parsePeer(text);
  return address === undefined ? undefined : groupOf(address, prefix);
}

/** A socket's zone is the name of an interface, which may hold characters that `net.isIP` refuses. */
function parsePeer(text: string): Address | undefined {
  const zone = text.indexOf('%');
  return parseNode(zone < 0 ? text : text.slice(0, zone));
}

/** @throws for a value that is no request, so it is called first. */
function remoteAddressOf(request: AddressRequest | AddressSource): string | undefined {
  const { socket } = request as Partial<AddressRequest>;
  if (socket !== undefined && socket !== null) {
    return socket.remoteAddress;
  }
  if ('remoteAddress' in request) {
    return request.remoteAddress;
  }
  if (!('headers' in request)) {
    throw optionError(
      'request',
      'have `headers` and a `socket`, or `remoteAddress` and `header()`',
      `got ${show(request)}`,
      "Pass the framework's request itself: `ctx.req` in Koa, `c.env.incoming` in Hono on Node.",
    );
  }
  return undefined;
}

/**
 * A TCP connection that has ended shows no address either. It is not taken for a Unix domain socket, because its
 * headers may come from any client.
 */
function isUnix(request: AddressRequest | AddressSource): boolean {
  const { socket } = request as Partial<AddressRequest>;
  return socket === undefined || socket === null
    ? (request as Partial<AddressSource>).unix === true
    : socket.destroyed === false && socket.localAddress === undefined;
}

function headerOf(
  request: AddressRequest | AddressSource,
  name: ForwardedHeader,
): string | undefined {
  const { headers } = request as Partial<AddressRequest>;
  if (headers === undefined) {
    return (request as AddressSource).header(name) ?? undefined;
  }
  // A header may be called `get`, and is then no function.
  if (typeof headers.get === 'function') {
    return headers.get(name) ?? undefined;
  }
  const value = (headers as Readonly<Record<string, string | readonly string[] | undefined>>)[name];
  return typeof value === 'object' ? value.join(', ') : value;
}

/**
 * Whether the peer's address appears in a forwarding header. Then the application has read that header itself, as
 * behind a platform that hides the connection, and needs no warning.
 */
function isNamed(peer: string | undefined, request: AddressRequest | AddressSource): boolean {
  const address = peer === undefined ? undefined : parsePeer(peer);
  if (address === undefined) {
    return false;
  }
  for (const header of ['x-forwarded-for', 'forwarded'] as const) {
    for (const hop of hopsFromTheRight(headerOf(request, header) ?? '', header)) {
      if (hop !== undefined && hop.join() === address.join()) {
        return true;
      }
    }
  }
  return false;
}

function isForwarded(request: AddressRequest | AddressSource): boolean {
  return (
    headerOf(request, 'x-forwarded-for') !== undefined ||
    headerOf(request, 'forwarded') !== undefined
  );
}
