import { BlockList, isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import { describe, expect, test } from 'vitest';
import {
  contains,
  groupOf,
  isDotted,
  isMasked,
  parseAddress,
  parseNetwork,
  parseNode,
  showNetwork,
} from '../../../src/http/address/address.ts';
import { casesOf, check } from '../../kit/random.mjs';
import {
  bytesByIpaddr,
  dress,
  expectedGroup,
  nearlyAddress,
  randomBytes,
  spell,
} from '../../kit/fakes/spellings.ts';

describe('an address', () => {
  test.each<[text: string, group: string]>([
    ['0.0.0.0', '0.0.0.0'],
    ['255.255.255.255', '255.255.255.255'],
    ['::', '::/128'],
    ['::1', '::1/128'],
    ['1::', '1::/128'],
    // `::` may stand for a single group, but is written only for two or more, and for the first of two equal runs.
    ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0/128'],
    ['::2:3:4:5:6:7:8', '0:2:3:4:5:6:7:8/128'],
    ['1:0:0:2:0:0:3:4', '1::2:0:0:3:4/128'],
    ['1:0:0:2:0:0:0:4', '1:0:0:2::4/128'],
    ['2001:DB8::00AB', '2001:db8::ab/128'],
    // Mapped addresses, in three notations: IPv4 by their bits.
    ['::ffff:1.2.3.4', '1.2.3.4'],
    ['::FFFF:102:304', '1.2.3.4'],
    ['0:0:0:0:0:ffff:0102:0304', '1.2.3.4'],
    ['0::ffff:1.2.3.4%eth0', '1.2.3.4'],
    // Neighbouring prefixes are not mapped.
    ['::fffe:1.2.3.4', '::fffe:102:304/128'],
    ['::ffff:0:1.2.3.4', '::ffff:0:102:304/128'],
    ['::1:ffff:1.2.3.4', '::1:ffff:102:304/128'],
    ['::1.2.3.4', '::102:304/128'],
    ['2001:db8::1.2.3.4', '2001:db8::102:304/128'],
    ['2001:db8::ffff:1.2.3.4', '2001:db8::ffff:102:304/128'],
    // NAT64's well-known prefix, and its neighbour for local use (RFC 8215), which has many forms.
    ['64:ff9b::1.2.3.4', '1.2.3.4'],
    ['64:ff9b:1::1.2.3.4', '64:ff9b:1::102:304/128'],
    ['fe80::1%eth0', 'fe80::1/128'],
  ])('the address %s belongs to the group %s', (text, group) => {
    expect(groupOf(parseAddress(text)!, 128)).toBe(group);
  });

  test.each<[why: string, text: string]>([
    ['nothing', ''],
    ['three octets', '1.2.3'],
    ['five octets', '1.2.3.4.5'],
    ['an octet of 256', '1.2.3.256'],
    ['an octet of a thousand', '1.2.3.1000'],
    ['a leading zero', '01.2.3.4'],
    ['octal', '0177.0.0.1'],
    ['hexadecimal', '0x7f.0.0.1'],
    ['one number', '2130706433'],
    ['an empty octet', '1..2.3'],
    ['a last dot', '1.2.3.4.'],
    ['a sign', '+1.2.3.4'],
    ['a space before', ' 1.2.3.4'],
    ['a line end after', '1.2.3.4\n'],
    ['digits of another script', '١.2.3.4'],
    ['IPv4 with a zone', '1.2.3.4%eth0'],
    ['one colon', ':'],
    ['three colons', ':::'],
    ['two gaps', '1::2::3'],
    ['seven groups', '1:2:3:4:5:6:7'],
    ['nine groups', '1:2:3:4:5:6:7:8:9'],
    ['a gap for no group', '1:2:3:4::5:6:7:8'],
    ['a gap before eight groups', '::1:2:3:4:5:6:7:8'],
    ['a colon before', ':1:2:3:4:5:6:7'],
    ['a colon after', '1:2:3:4:5:6:7:'],
    ['five digits', '::12345'],
    ['five digits, four of them zeros', '::00001'],
    ['a digit that is none', '::g'],
    ['IPv4 first', '1.2.3.4::'],
    ['IPv4 in the middle', '::1.2.3.4:5'],
    ['IPv4 too late', '1:2:3:4:5:6:7:1.2.3.4'],
    ['IPv4 too early', '1:2:3:4:5:1.2.3.4'],
    ['lenient IPv4 inside', '::ffff:1.2.3.04'],
    ['an octet of 256 inside', '::ffff:1.2.3.256'],
    ['an empty zone', 'fe80::1%'],
    ['a zone of spaces', 'fe80::1% '],
    ['two zones', 'fe80::1%a%b'],
    ['brackets', '[::1]'],
    ['a name', 'localhost'],
    ['a megabyte of digits', '1'.repeat(2 ** 20)],
    ['a megabyte of colons', ':'.repeat(2 ** 20)],
  ])('%s is no address', (_, text) => {
    expect(isIP(text)).toBe(0);
    expect(parseAddress(text)).toBeUndefined();
    expect(isDotted(text)).toBe(false);
  });
});

describe('a node of a forwarding header', () => {
  test.each<[text: string, group: string | undefined]>([
    ['1.2.3.4:80', '1.2.3.4'],
    ['1.2.3.4:_x', '1.2.3.4'],
    ['[::1]', '::1/128'],
    ['[::1]:80', '::1/128'],
    ['[::ffff:1.2.3.4]:65535', '1.2.3.4'],
    ['[fe80::1%eth0]:80', 'fe80::1/128'],
    // Without brackets the last group could be a port; it is read as a group.
    ['2001:db8::1:80', '2001:db8::1:80/128'],
    ['1.2.3.4:', undefined],
    ['1.2.3.4:65536', undefined],
    ['1.2.3.4:123456', undefined],
    ['1.2.3.4:8a', undefined],
    ['1.2.3.4:-1', undefined],
    ['1.2.3.4:_', undefined],
    ['1.2.3.4:80:80', undefined],
    ['[1.2.3.4]', undefined],
    ['[1.2.3.4]:80', undefined],
    ['[::1', undefined],
    ['::1]', undefined],
    ['[]', undefined],
    ['[', undefined],
    ['[::1]80', undefined],
    ['[::1]:', undefined],
    ['[[::1]]', undefined],
    ['unknown', undefined],
    ['_hidden', undefined],
    ['_SEVKISEK', undefined],
    ['localhost:80', undefined],
  ])('the node %s belongs to the group %s', (text, group) => {
    const address = parseNode(text);
    expect(address && groupOf(address, 128)).toBe(group);
  });
});

/** Random addresses of each test, and five spellings of each. */
const ADDRESSES = casesOf(20_000);

test('all spellings of random addresses fall into the right groups', async () => {
  const groups = new Set<string>();
  let spellings = 0;
  await check(ADDRESSES, (random) => {
    const bytes = randomBytes(random);
    const prefix = random.pick([64, 64, 128, 56, 48, 32, random.int(32, 128)]);
    const expected = expectedGroup(bytes, prefix);
    groups.add(expected);
    for (const _ of random.steps(5)) {
      spellings++;
      const spelling = spell(bytes, random);
      const dressed = dress(spelling, random);
      random.note('spelling', { spelling, dressed, prefix });
      const bare = parseAddress(spelling);
      const node = parseNode(dressed);
      const found = [bare, node].map((it) => it && groupOf(it, prefix));
      const agrees = bare !== undefined && bytesByIpaddr(spelling).join() === bare.join();
      if (found.some((group) => group !== expected) || !agrees || isIP(spelling) === 0) {
        expect.fail(JSON.stringify({ expected, found, agrees }));
      }
    }
  });
  expect(spellings).toBe(5 * ADDRESSES);
  expect(groups.size).toBeGreaterThan(ADDRESSES / 2);
});

/** The normal run checks a part of them. */
const strings = Number(process.env['DRL_FUZZ'] ?? casesOf(50_000));

test(
  `${strings} random strings are addresses exactly when net.isIP says so`,
  { timeout: 600_000 },
  async () => {
    let addresses = 0;
    await check(strings, (random) => {
      const text = nearlyAddress(random);
      random.note('text', text);
      const address = parseAddress(text);
      // Neither throws, for any text.
      parseNode(text);
      parseNetwork(text);
      const version = isIP(text);
      addresses += version === 0 ? 0 : 1;
      const right =
        version === 0 ? address === undefined : address?.join() === bytesByIpaddr(text).join();
      if (!right || isDotted(text) !== (version === 4)) expect.fail(String(address));
    });
    // Both kinds occurred.
    expect(addresses).toBeGreaterThan(strings / 10);
    expect(addresses).toBeLessThan(strings * 0.9);
  },
);

describe('a network', () => {
  test.each<[text: string, shown: string | undefined]>([
    ['10.0.0.0/8', '10.0.0.0/8'],
    ['192.0.2.1', '192.0.2.1/32'],
    ['2001:DB8::/32', '2001:db8::/32'],
    ['::1', '::1/128'],
    ['::/0', '::/0'],
    // A prefix of mapped addresses is a prefix of IPv4.
    ['::ffff:10.0.0.0/104', '10.0.0.0/8'],
    ['::ffff:0:0/96', '0.0.0.0/0'],
    ['::ffff:0:0/95', undefined],
    ['10.0.0.0/33', undefined],
    ['::/129', undefined],
    ['10.0.0.0/', undefined],
    ['10.0.0.0/08', undefined],
    ['10.0.0.0/+8', undefined],
    ['10.0.0.0/8/8', undefined],
    ['10.0.0.0/255.0.0.0', undefined],
    ['10.0.0/8', undefined],
    ['/8', undefined],
    ['fe80::%eth0/10', undefined],
    ['[::1]/128', undefined],
    ['127.0.0.1:80', undefined],
  ])('the network %s is read as %s', (text, shown) => {
    const network = parseNetwork(text);
    expect(network && showNetwork(network)).toBe(shown);
  });

  test('bits set behind the prefix are detected', () => {
    expect(isMasked(parseNetwork('10.0.0.1/8')!)).toBe(false);
    expect(showNetwork(parseNetwork('10.0.0.1/8')!)).toBe('10.0.0.0/8');
    expect(isMasked(parseNetwork('2001:db8:8000::/33')!)).toBe(true);
    expect(isMasked(parseNetwork('2001:db8:8000::/32')!)).toBe(false);
  });

  test('a network contains the random addresses that net.BlockList says', async () => {
    let inside = 0;
    await check(ADDRESSES, (random) => {
      const bytes = randomBytes(random);
      const family = bytes.length === 4 ? 'ipv4' : 'ipv6';
      const plain = (it: readonly number[]): string => ipaddr.fromByteArray([...it]).toString();
      const prefix = random.int(1, bytes.length * 8);
      // Changes one bit, near the prefix.
      const other = [...bytes];
      const bit = Math.min(bytes.length * 8 - 1, Math.max(0, prefix + random.int(-3, 3)));
      other[bit >> 3]! ^= random.chance(80) ? 0x80 >> (bit & 7) : 0;
      const [network, address] = [plain(bytes), plain(other)];
      // A mapped address is IPv4 here, and in no IPv6 network.
      if (
        parseAddress(network)!.length !== bytes.length ||
        parseAddress(address)!.length !== bytes.length
      ) {
        return;
      }
      random.note('row', { network, prefix, address });
      const list = new BlockList();
      list.addSubnet(network, prefix, family);
      const held = list.check(address, family);
      inside += held ? 1 : 0;
      expect(contains(parseNetwork(`${network}/${prefix}`)!, parseAddress(address)!)).toBe(held);
    });
    expect(inside).toBeGreaterThan(ADDRESSES / 4);
    expect(inside).toBeLessThan((3 * ADDRESSES) / 4);
  });

  test('no IPv6 network contains an IPv4 address, and vice versa', () => {
    expect(contains(parseNetwork('::/1')!, parseAddress('::ffff:1.2.3.4')!)).toBe(false);
    expect(contains(parseNetwork('0.0.0.0/1')!, parseAddress('::1')!)).toBe(false);
  });
});
