import { invalidOption, RateLimiterError, show } from '../../base/errors.ts';
import { CLIENT_ADDRESS, IDENTIFY_BY_ADDRESS } from '../../options/http-option-sets.ts';
import { GivenOptions, readInteger, readOneOf } from '../../options/read-options.ts';
import { groupOf, isDotted, parseNode } from './address.ts';
import type { Address } from './address.ts';
import { hopsFromTheRight } from './forwarded.ts';
import type { ForwardedHeader } from './forwarded.ts';
import { readTrustedProxies } from './trusted-proxies.ts';
import type { Trust, TrustedProxies } from './trusted-proxies.ts';

/** What may be said about where a client's address comes from. */
export interface AddressOptions {
  /**
   * Whose `X-Forwarded-For` or `Forwarded` is believed. Default nobody's: the header is not read, and the client is who
   * is connected. `[]` says the same, and that it is meant: there is no warning when such a header arrives.
   */
  trustedProxies?: TrustedProxies;
  /**
   * The one header that the trusted proxies write. Default `'x-forwarded-for'`. The other is never read: a proxy that
   * writes one passes the other on as the client sent it.
   */
  forwardedHeader?: ForwardedHeader;
  /**
   * How many leading bits of an IPv6 address make one client, from 32 to 128. Default 64, the smallest network that
   * a customer gets, who may use all of its 2^64 addresses.
   */
  ipv6Prefix?: number;
}

/**
 * A request as any framework has it: an `IncomingMessage`, the request of Express or Fastify, Koa's context, a
 * web-standard `Request` (which knows no socket).
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

/** The few facts of a request that matter here, for what is not shaped like one. */
export interface AddressSource {
  /** Who is connected; undefined where that is not known. */
  readonly remoteAddress: string | undefined;
  /** Whether the peer is on a Unix domain socket, and so has no address. Default false. */
  readonly unix?: boolean;
  /** A header's value, by its name in lower case; the values of repeated lines joined by commas, in order. */
  header(name: ForwardedHeader): string | null | undefined;
}

/** What one call of `clientAddress` may say. */
export interface ClientAddressOptions extends AddressOptions {
  /** Who is connected, for a request that does not know: a web-standard `Request`. */
  remoteAddress?: string | undefined;
}

/** Whether the process has been warned about calls of `clientAddress`, which leave no reader behind. */
let warnedOfCalls = false;

/**
 * Whose request it is, as text to limit by: an IPv4 address in dotted form (`203.0.113.7`), of an IPv6 address its
 * network with the prefix (`2001:db8:1:2::/64`, RFC 5952, whatever `ipv6Prefix` is: `2001:db8::1/128`). An IPv4-mapped
 * address is IPv4 in every notation, one of NAT64's `64:ff9b::/96` is the IPv4 address in it; ports and zones count
 * for nothing.
 *
 * The walk begins at who is connected and goes on, through the header from right to left, for as long as the address it
 * stands at is a trusted proxy's. A hop that is no address ends it there, and so does the end of what is read, 32 hops
 * and 8 KiB: the result is then the last trusted address, never text that somebody else chose.
 *
 * It reads the options at every call; for more than a few requests take `identifyByAddress`.
 *
 * @returns undefined where nothing is known: the connection is gone, is a Unix domain socket, or is not told of.
 * @throws {RateLimiterError} `ERR_INVALID_OPTION` for an option that is misspelt or makes no sense, and for what is no
 * request.
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
 * A function that names the client of a request by its address, as `clientAddress` does, for a guard's `identify`. The
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
    throw invalidOption(option, 'a string', value, 'Pass the address of who is connected.');
  }
  return value;
}

function readHeaderName(option: string, value: unknown): ForwardedHeader {
  return readOneOf(option, value, ['x-forwarded-for', 'forwarded']);
}

function readPrefix(option: string, value: unknown): number {
  return readInteger(option, value, 32, 128);
}

/** Ends the reading of the options. */
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

/** The common cases without bytes: IPv4, and IPv4 as a socket that listens for both shows it. */
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

/** @throws for what is no request, so it is asked first. */
function remoteAddressOf(request: AddressRequest | AddressSource): string | undefined {
  const { socket } = request as Partial<AddressRequest>;
  if (socket !== undefined && socket !== null) {
    return socket.remoteAddress;
  }
  if ('remoteAddress' in request) {
    return request.remoteAddress;
  }
  if (!('headers' in request)) {
    throw new RateLimiterError(
      'ERR_INVALID_OPTION',
      `\`request\` must have \`headers\` and a \`socket\`, or \`remoteAddress\` and \`header()\`, got ${show(request)}. ` +
        "Pass the framework's request itself: `ctx.req` in Koa, `c.env.incoming` in Hono on Node.",
    );
  }
  return undefined;
}

/**
 * A TCP connection that has ended shows no address either. It is not taken for a Unix domain socket: its headers are
 * anybody's.
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
 * Whether the address of who is connected stands in a forwarding header: then the application has read that header
 * itself, as behind a platform that hides the connection, and there is nothing to warn of.
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
