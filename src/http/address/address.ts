import { isIP } from 'node:net';

/**
 * An address by its bytes, independent of its spelling: 4 for IPv4, 16 for IPv6. An IPv4-mapped one (`::ffff:0:0/96`,
 * RFC 4291 §2.5.5.2) is IPv4.
 */
export type Address = Uint8Array;

const DOT = 0x2e;
const COLON = 0x3a;
const ZERO = 0x30;

/**
 * Parses an address; undefined for any other text. Strict: an octet has no leading zero, no octal and no hexadecimal
 * form. The zone of an IPv6 address is dropped. Never throws; linear in the length of the text.
 */
export function parseAddress(text: string): Address | undefined {
  const ipv4 = parseIPv4(text, 0, text.length);
  const bytes = ipv4 >= 0 ? bytesOf(ipv4) : parseIPv6(text);
  // A second opinion: text that the runtime's own parser refuses is no address.
  if (bytes === undefined || isIP(text) === 0) {
    return undefined;
  }
  return isMapped(bytes) ? bytes.slice(12) : bytes;
}

/** Whether `text` is IPv4 in dotted form, the only spelling of that address. */
export function isDotted(text: string): boolean {
  return text.length <= 15 && parseIPv4(text, 0, text.length) >= 0;
}

/**
 * Parses a node of RFC 7239 §6, as in `Forwarded` and `X-Forwarded-For`: an address, IPv6 with brackets or without,
 * and with a port or without: `1.2.3.4:80`, `[::1]:80`, `[::1]`. Undefined for any other text, which includes
 * `unknown` and obfuscated names.
 */
export function parseNode(text: string): Address | undefined {
  if (text.startsWith('[')) {
    const close = text.indexOf(']');
    const inside = text.slice(1, Math.max(1, close));
    return inside.includes(':') && isPort(text, close + 1) ? parseAddress(inside) : undefined;
  }
  const colon = text.indexOf(':');
  // IPv6 has at least two colons.
  if (colon < 0 || text.includes(':', colon + 1)) {
    return parseAddress(text);
  }
  return isPort(text, colon) ? parseAddress(text.slice(0, colon)) : undefined;
}

/** Whether the rest is empty, or a colon and a port, which under RFC 7239 may also be an obfuscated name. */
function isPort(text: string, from: number): boolean {
  const port = text.slice(from);
  return (
    port === '' ||
    (/^:[0-9]{1,5}$/.test(port) && Number(port.slice(1)) <= 65_535) ||
    /^:_[A-Za-z0-9._-]+$/.test(port)
  );
}

/** The 32 bits of a dotted IPv4 address as a whole number; -1 for any other text. */
function parseIPv4(text: string, from: number, end: number): number {
  if (end - from < 7 || end - from > 15) {
    return -1;
  }
  let bits = 0;
  let at = from;
  for (let octets = 1; octets <= 4; octets++) {
    const start = at;
    let octet = 0;
    for (; at < end; at++) {
      const digit = text.charCodeAt(at) - ZERO;
      if (digit < 0 || digit > 9) {
        break;
      }
      octet = octet * 10 + digit;
    }
    const digits = at - start;
    if (digits === 0 || octet > 255 || (digits > 1 && text.charCodeAt(start) === ZERO)) {
      return -1;
    }
    bits = bits * 256 + octet;
    if (octets < 4 && text.charCodeAt(at++) !== DOT) {
      return -1;
    }
  }
  return at === end ? bits : -1;
}

function bytesOf(ipv4: number): Address {
  return Uint8Array.of(ipv4 >>> 24, ipv4 >>> 16, ipv4 >>> 8, ipv4);
}

/** Parses RFC 4291 §2.2, with or without a zone (RFC 4007 §11). */
function parseIPv6(text: string): Address | undefined {
  const percent = text.indexOf('%');
  const end = percent < 0 ? text.length : percent;
  if (end < 2 || end > 45) {
    return undefined;
  }
  const bytes = new Uint8Array(16);
  let length = 0;
  let gap = -1;
  let at = 0;
  if (text.charCodeAt(0) === COLON) {
    if (text.charCodeAt(1) !== COLON) {
      return undefined;
    }
    gap = 0;
    at = 2;
  }
  while (at < end) {
    const start = at;
    let group = 0;
    for (; at < end; at++) {
      const digit = hexDigit(text.charCodeAt(at));
      if (digit < 0) {
        break;
      }
      group = group * 16 + digit;
    }
    if (text.charCodeAt(at) === DOT && at < end) {
      const ipv4 = parseIPv4(text, start, end);
      if (ipv4 < 0 || length > 12) {
        return undefined;
      }
      bytes.set(bytesOf(ipv4), length);
      length += 4;
      break;
    }
    if (at === start || at - start > 4 || length > 14) {
      return undefined;
    }
    bytes[length++] = group >>> 8;
    bytes[length++] = group;
    if (at === end) {
      break;
    }
    if (text.charCodeAt(at++) !== COLON || at === end) {
      return undefined;
    }
    if (text.charCodeAt(at) === COLON) {
      if (gap >= 0) {
        return undefined;
      }
      gap = length;
      at++;
    }
  }
  // `::` stands for at least one group of zeros.
  if (gap < 0 ? length !== 16 : length > 14) {
    return undefined;
  }
  if (gap >= 0) {
    bytes.copyWithin(16 - (length - gap), gap, length);
    bytes.fill(0, gap, 16 - (length - gap));
  }
  return bytes;
}

function hexDigit(code: number): number {
  if (code >= ZERO && code <= 0x39) {
    return code - ZERO;
  }
  const lower = code | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

const MAPPED = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff);
/** `64:ff9b::/96`, under which a NAT64 shows IPv4 hosts to IPv6 hosts (RFC 6052 §2.1). */
const NAT64 = Uint8Array.of(0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0);

function isMapped(bytes: Address): boolean {
  return bytes.length === 16 && sharesBits(bytes, MAPPED, 96);
}

/**
 * The group of clients that an address belongs to, as text. An IPv4 address is its own group, dotted. For an IPv6
 * address it is the network of `prefix` bits, in the form of RFC 5952 §4 with its length: `2001:db8:1:2::/64`. A
 * NAT64 address is the IPv4 address in it; otherwise all of IPv4 would be one group.
 */
export function groupOf(address: Address, prefix: number): string {
  if (address.length === 4) {
    return dotted(address, 0);
  }
  if (sharesBits(address, NAT64, 96)) {
    return dotted(address, 12);
  }
  return `${compressed(maskedTo(prefix, address))}/${prefix}`;
}

function dotted(bytes: Address, from: number): string {
  return `${bytes[from]}.${bytes[from + 1]}.${bytes[from + 2]}.${bytes[from + 3]}`;
}

/** RFC 5952 §4: lower case, no leading zeros, `::` for the first of the longest runs of at least two zero groups. */
function compressed(bytes: Address): string {
  const longest = { start: 8, length: 1 };
  for (let group = 0; group < 8; group++) {
    const start = group;
    while (group < 8 && bytes[group * 2] === 0 && bytes[group * 2 + 1] === 0) {
      group++;
    }
    if (group - start > longest.length) {
      longest.start = start;
      longest.length = group - start;
    }
  }
  let text = '';
  let separator = '';
  for (let group = 0; group < 8; group++) {
    if (group === longest.start) {
      text += '::';
      separator = '';
      group += longest.length - 1;
    } else {
      text += separator + hexOf(bytes[group * 2]!, bytes[group * 2 + 1]!);
      separator = ':';
    }
  }
  return text;
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16));

function hexOf(high: number, low: number): string {
  if (high === 0) {
    return HEX[low]!;
  }
  return low < 16 ? `${HEX[high]}0${HEX[low]}` : HEX[high]! + HEX[low]!;
}

/** The addresses that share their first `prefix` bits with `address`. */
export interface Network {
  readonly address: Address;
  readonly prefix: number;
}

/**
 * Parses a network: an address, which is a network of one, or CIDR notation (RFC 4632 §3.1). A prefix of mapped
 * addresses is one of IPv4. Undefined for any other text. Bits after the prefix are kept as written.
 */
export function parseNetwork(text: string): Network | undefined {
  const slash = text.indexOf('/');
  const written = slash < 0 ? text : text.slice(0, slash);
  const address = written.includes('%') ? undefined : parseAddress(written);
  if (address === undefined) {
    return undefined;
  }
  const bits = address.length * 8;
  if (slash < 0) {
    return { address, prefix: bits };
  }
  const length = text.slice(slash + 1);
  if (!/^(?:0|[1-9][0-9]{0,2})$/.test(length)) {
    return undefined;
  }
  const prefix = Number(length) - (bits === 32 && written.includes(':') ? 96 : 0);
  return prefix >= 0 && prefix <= bits ? { address, prefix } : undefined;
}

export function contains(network: Network, address: Address): boolean {
  return (
    network.address.length === address.length &&
    sharesBits(network.address, address, network.prefix)
  );
}

/** The network without the bits after its prefix, as it should be written. */
export function showNetwork({ address, prefix }: Network): string {
  const masked = maskedTo(prefix, address);
  return `${address.length === 4 ? dotted(masked, 0) : compressed(masked)}/${prefix}`;
}

/** Whether the bits after the prefix are all zero. */
export function isMasked({ address, prefix }: Network): boolean {
  return sharesBits(address, maskedTo(prefix, address), address.length * 8);
}

function maskedTo(prefix: number, address: Address): Address {
  const bytes = address.slice();
  const whole = prefix >>> 3;
  if (whole < bytes.length) {
    bytes[whole]! &= 0xff00 >>> (prefix & 7);
    bytes.fill(0, whole + 1);
  }
  return bytes;
}

function sharesBits(a: Address, b: Address, bits: number): boolean {
  const whole = bits >>> 3;
  for (let i = 0; i < whole; i++) {
    if (a[i] !== b[i]) {
      return false;
    }
  }
  return (bits & 7) === 0 || ((a[whole]! ^ b[whole]!) & (0xff00 >>> (bits & 7)) & 0xff) === 0;
}
