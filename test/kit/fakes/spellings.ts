import ipaddr from 'ipaddr.js';
import type { Random } from '../random.mjs';

/** Bytes as an attacker would choose them: many 0x00, many 0xff, IPv4 in every notation. */
export function randomBytes(random: Random): readonly number[] {
  const ipv4 = Array.from({ length: 4 }, () => random.pick([0, 1, 255, random.int(0, 255)]));
  const zeros = (length: number): number[] => Array.from({ length }, () => 0);
  switch (random.int(0, 9)) {
    case 0:
    case 1:
      return ipv4;
    case 2:
      return [...zeros(10), 255, 255, ...ipv4];
    case 3:
      return [...zeros(12), ...ipv4];
    case 4:
      return [0, 0x64, 0xff, 0x9b, ...zeros(8), ...ipv4];
    default:
      return Array.from({ length: 8 }, () =>
        random.chance(45) ? [0, 0] : [random.pick([0, random.int(0, 255)]), random.int(0, 255)],
      ).flat();
  }
}

/** A random notation of the address, without port or brackets. IPv4 may be written as an IPv4-mapped IPv6 address. */
export function spell(bytes: readonly number[], random: Random): string {
  if (bytes.length === 4) {
    return random.chance(40)
      ? bytes.join('.')
      : spell([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, ...bytes], random);
  }
  const embedded = random.chance(35);
  const groups = Array.from({ length: embedded ? 6 : 8 }, (_, i) =>
    digits(bytes[i * 2]! * 256 + bytes[i * 2 + 1]!, random),
  );
  const zeros = groups.map((group, i) => (/^0+$/.test(group) ? i : -1)).filter((i) => i >= 0);
  const tail = embedded ? [bytes.slice(12).join('.')] : [];
  if (zeros.length === 0 || random.chance(25)) {
    return [...groups, ...tail].join(':');
  }
  // `::` may stand for any run of zeros, not only the longest.
  const start = random.pick(zeros);
  let end = start + 1;
  while (zeros.includes(end) && random.chance(80)) end++;
  return `${groups.slice(0, start).join(':')}::${[...groups.slice(end), ...tail].join(':')}`;
}

function digits(group: number, random: Random): string {
  const plain = group.toString(16);
  return Array.from(plain.padStart(random.int(plain.length, 4), '0'))
    .map((digit) => (random.chance(50) ? digit.toUpperCase() : digit))
    .join('');
}

/** Adds to the notation what proxies and sockets add: brackets, a port, a zone. */
export function dress(spelling: string, random: Random): string {
  const port = random.pick(['', `:${random.int(0, 65_535)}`, ':_obfuscated-1']);
  if (!spelling.includes(':')) return spelling + port;
  const zoned = random.chance(25)
    ? `${spelling}%${random.pick(['eth0', '1', 'en-0.1'])}`
    : spelling;
  return random.chance(50) ? `[${zoned}]${port}` : zoned;
}

/**
 * Computes an address's group a second way: by arithmetic on one large number, and by the form that the URL standard
 * gives to IPv6 hosts, which follows RFC 5952.
 */
export function expectedGroup(bytes: readonly number[], prefix: number): string {
  const value = bytes.reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);
  const high = value >> 32n;
  if (bytes.length === 4 || high === 0xffffn || high === 0x64ff9b0000000000000000n) {
    return bytes.slice(-4).join('.');
  }
  const cut = BigInt(128 - prefix);
  const network = ((value >> cut) << cut).toString(16).padStart(32, '0');
  const host = new URL(`http://[${network.match(/.{4}/g)!.join(':')}]/`).hostname;
  return `${host.slice(1, -1)}/${prefix}`;
}

/** Reads the address with ipaddr.js. It takes `::1.2.3.4` for a mapped address, and `0::1.2.3.4` for what both are. */
export function bytesByIpaddr(text: string): readonly number[] {
  const zone = text.indexOf('%');
  const bare = zone < 0 ? text : text.slice(0, zone);
  return ipaddr.process(/^::[0-9]+\./.test(bare) ? `0${bare}` : bare).toByteArray();
}

const ALPHABET = [
  ...Array.from('0123456789abcdefABCDEF:::::......%[]/ xg-_\n\0é１'),
  '::',
  '::ffff:',
  '255',
  '1.2.3.4',
];

/** A text that is an address or, more often, nearly one. */
export function nearlyAddress(random: Random): string {
  return random.chance(25) ? noise(random) : damaged(random);
}

function noise(random: Random): string {
  return random.list(0, 20, () => random.pick(ALPHABET)).join('');
}

/** A valid notation with up to three characters removed, inserted or replaced. */
function damaged(random: Random): string {
  let text = spell(randomBytes(random), random);
  if (random.chance(20)) text = dress(text, random);
  for (const _ of random.steps(0, 3)) {
    const at = random.int(0, text.length);
    text = text.slice(0, at) + random.pick(['', ...ALPHABET]) + text.slice(at + random.int(0, 1));
  }
  return text;
}
