import { isIP } from 'node:net';
import { clientAddress, identifyByAddress } from 'distributed-rate-limiter/http';
import type { AddressOptions, AddressRequest } from 'distributed-rate-limiter/http';
import {
  dress,
  expectedGroup,
  nearlyAddress,
  randomBytes,
  spell,
} from '../../kit/fakes/spellings.ts';
import type { Random } from '../../kit/random.mjs';
import { Finding } from './area.ts';
import type { Area } from './area.ts';
import { anyText } from './values.ts';

/** One hop as a proxy writes it, or as an attacker forges it. */
function hop(random: Random, forwarded: boolean): string {
  const node = random.chance(50)
    ? dress(spell(randomBytes(random), random), random)
    : random.chance(70)
      ? nearlyAddress(random)
      : anyText(random, 12);
  if (!forwarded) return node;
  const quote = random.chance(60) ? '"' : '';
  const name = random.pick(['for', 'For', 'FOR', 'by', 'host', 'proto', 'fo r', '', 'for=']);
  const pair = `${name}${random.pick(['=', '=', '=', ' = ', ''])}${quote}${node}${quote}`;
  return random.chance(70) ? pair : `${pair};${anyText(random, 8)}`;
}

function anyField(random: Random, forwarded: boolean): string {
  const hops = random.chance(3) ? random.int(0, 900) : random.int(0, 6);
  return Array.from({ length: hops }, () => hop(random, forwarded)).join(
    random.pick([',', ', ', ' ,', ',,', ';', '\t,']),
  );
}

const TRUST: readonly NonNullable<AddressOptions['trustedProxies']>[] = [
  [],
  [],
  1,
  2,
  32,
  ['loopback'],
  ['private'],
  ['unix'],
  ['0.0.0.0/1', '128.0.0.0/1', '::/1', '8000::/1'],
  ['10.0.0.0/8', '2001:db8::/32', '1.2.3.4'],
];

/** One reader per setting, so that cases do not parse options. */
const READERS = [undefined, 32, 48, 64, 128].flatMap((ipv6Prefix) =>
  TRUST.flatMap((trustedProxies) =>
    (['x-forwarded-for', 'forwarded'] as const).map((forwardedHeader) => {
      const options: AddressOptions = {
        forwardedHeader,
        trustedProxies,
        ...(ipv6Prefix === undefined ? {} : { ipv6Prefix }),
      };
      return { options, read: identifyByAddress(options), prefix: ipv6Prefix ?? 64 };
    }),
  ),
);

function isGroup(text: string, prefix: number): boolean {
  const [address = '', bits, ...more] = text.split('/');
  if (more.length > 0) return false;
  if (bits === undefined) return isIP(address) === 4;
  return isIP(address) === 6 && bits === String(prefix) && !address.includes('%');
}

/** Any text in `X-Forwarded-For` and `Forwarded` gives an address's group, or undefined; never an error. */
export const requestHeaders: Area = {
  name: 'request headers',
  percent: 14,

  open: () => ({
    run(random) {
      const { options, read, prefix } = random.pick(READERS);
      const bytes = randomBytes(random);
      const peer = random.chance(85)
        ? spell(bytes, random) + random.pick(['', '', '', '%eth0'])
        : random.pick([undefined, nearlyAddress(random)]);
      const fields: Record<string, string | readonly string[] | undefined> = {};
      for (const name of ['x-forwarded-for', 'forwarded'] as const) {
        const one = (): string => anyField(random, name === 'forwarded');
        if (random.chance(80)) fields[name] = random.chance(80) ? one() : [one(), one()];
      }
      const request: AddressRequest = random.chance(30)
        ? {
            headers: {
              get: (name) => [fields[name] ?? []].flat().join(', ') || null,
            },
            socket: { remoteAddress: peer },
          }
        : {
            headers: fields,
            socket: { remoteAddress: peer, destroyed: random.chance(10) },
          };
      const input = { options, peer, fields };
      let group: string | undefined;
      try {
        group = random.chance(95) ? read(request) : clientAddress(request, options);
      } catch (error) {
        throw new Finding('clientAddress threw', input, error);
      }
      if (group !== undefined && !isGroup(group, prefix)) {
        throw new Finding(`no group of addresses: ${group}`, { ...input, group });
      }
      const believed = Array.isArray(options.trustedProxies)
        ? options.trustedProxies.length > 0
        : options.trustedProxies !== undefined;
      // A zone is written for IPv6 only.
      const plain = peer !== undefined && isIP(peer) > 0 && peer === peer.split('%')[0];
      if (!believed && plain && spelt(peer) && group !== expectedGroup(bytesOf(peer), prefix)) {
        throw new Finding(`the peer itself was to be named, not ${group}`, input);
      }
    },
  }),
};

function spelt(text: string): boolean {
  return isIP(text) === 4 || isIP(text) === 6;
}

/** Parses hosts with the URL standard's own parser. */
function bytesOf(text: string): readonly number[] {
  if (isIP(text) === 4) return text.split('.').map(Number);
  const host = new URL(`http://[${text}]/`).hostname.slice(1, -1);
  const [head = '', tail] = host.split('::');
  const groups = (part: string | undefined): number[] =>
    part === undefined || part === ''
      ? []
      : part.split(':').map((each) => Number.parseInt(each, 16));
  const [before, after] = [groups(head), groups(tail)];
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => 0);
  return [...before, ...zeros, ...after].flatMap((each) => [each >> 8, each & 255]);
}
