import { describe, expect, test, vi } from 'vitest';
import { clientAddress, identifyByAddress } from '../../../src/http/address/client-address.ts';
import type { AddressOptions, AddressRequest } from '../../../src/http/address/client-address.ts';
import { hostileProxy, notWholeNumbers, refusal, refusalOf } from '../../kit/fakes/values.ts';
import { casesOf, check } from '../../kit/random.mjs';
import { collectWarnings } from '../../kit/fakes/warnings.ts';
import { dress, expectedGroup, randomBytes, spell } from '../../kit/fakes/spellings.ts';

const warnings = collectWarnings();
const PROXY = '10.0.0.1';
const CLIENT = '203.0.113.7';

function request(
  remoteAddress: string | undefined,
  headers: Record<string, string | string[]> = {},
): AddressRequest {
  return { headers, socket: { remoteAddress, localAddress: '192.0.2.80', destroyed: false } };
}

/** The peer's address, the text of `X-Forwarded-For`, the expected client. */
type Row = readonly [why: string, peer: string, header: string | string[], client: string];

function expectRows(options: AddressOptions, rows: readonly Row[]): void {
  const header = options.forwardedHeader ?? 'x-forwarded-for';
  const identify = identifyByAddress(options);
  for (const [why, peer, value, client] of rows) {
    expect(identify(request(peer, { [header]: value })), why).toBe(client);
    expect(clientAddress(request(peer, { [header]: value }), options), why).toBe(client);
  }
}

describe('by default', () => {
  test('the client is the peer, and no header counts', async () => {
    const headers = {
      'x-forwarded-for': '1.1.1.1',
      forwarded: 'for=1.1.1.1',
      'x-real-ip': '1.1.1.1',
      'x-client-ip': '1.1.1.1',
      'cf-connecting-ip': '1.1.1.1',
      'true-client-ip': '1.1.1.1',
      get: '1.1.1.1',
    };
    expect(clientAddress(request(CLIENT, headers))).toBe(CLIENT);
    expect(identifyByAddress()(request(CLIENT, headers))).toBe(CLIENT);
    expect(identifyByAddress({ trustedProxies: [] })(request(CLIENT, headers))).toBe(CLIENT);
    expect(await warnings()).toHaveLength(2);
  });

  test('an IPv6 client is its /64, and a mapped one its IPv4 address', () => {
    expect(clientAddress(request('2001:db8:1:2:a:b:c:d'))).toBe('2001:db8:1:2::/64');
    expect(clientAddress(request('2001:db8:1:2::'))).toBe('2001:db8:1:2::/64');
    expect(clientAddress(request('::1'))).toBe('::/64');
    expect(clientAddress(request('fe80::1%eth0'))).toBe('fe80::/64');
    expect(clientAddress(request('fe80::1%veth_0@if3'))).toBe('fe80::/64');
    expect(clientAddress(request('::ffff:203.0.113.7'))).toBe(CLIENT);
    expect(clientAddress(request('::ffff:cb00:7107'))).toBe(CLIENT);
    expect(clientAddress(request('0:0:0:0:0:FFFF:203.0.113.7'))).toBe(CLIENT);
  });

  test('there is no client when nothing is known', () => {
    expect(clientAddress(request(undefined))).toBeUndefined();
    expect(clientAddress(request(''))).toBeUndefined();
    expect(clientAddress(request('localhost'))).toBeUndefined();
    expect(clientAddress({ headers: {} })).toBeUndefined();
    expect(clientAddress({ headers: {}, socket: null })).toBeUndefined();
    expect(clientAddress(new Request('http://localhost/'))).toBeUndefined();
  });
});

test.each([
  [32, '2001:db8::/32'],
  [48, '2001:db8:ffff::/48'],
  [56, '2001:db8:ffff:ff00::/56'],
  [63, '2001:db8:ffff:fffe::/63'],
  [64, '2001:db8:ffff:ffff::/64'],
  [65, '2001:db8:ffff:ffff:8000::/65'],
  [127, '2001:db8:ffff:ffff:ffff:ffff:ffff:fffe/127'],
  [128, '2001:db8:ffff:ffff:ffff:ffff:ffff:ffff/128'],
])('an IPv6 client is identified by its first %i bits', (ipv6Prefix, client) => {
  const peer = request('2001:db8:ffff:ffff:ffff:ffff:ffff:ffff');
  expect(clientAddress(peer, { ipv6Prefix })).toBe(client);
  expect(clientAddress(request(CLIENT), { ipv6Prefix })).toBe(CLIENT);
});

describe('the walk from right to left stops at the first untrusted hop', () => {
  test('finds the client behind addresses and networks', () => {
    expectRows({ trustedProxies: ['10.0.0.0/8', '2001:db8:ffff::/48', '192.0.2.1'] }, [
      ['one proxy', PROXY, CLIENT, CLIENT],
      ['two proxies', PROXY, `${CLIENT}, 192.0.2.1`, CLIENT],
      ['two proxies, one by IPv6', '2001:db8:ffff::9', `${CLIENT},10.9.9.9`, CLIENT],
      ['what the client says of itself', PROXY, `1.1.1.1, ${CLIENT}`, CLIENT],
      ['a trusted address that the client made up', PROXY, `10.1.1.1, ${CLIENT}`, CLIENT],
      ['who is connected is not trusted', '198.51.100.1', CLIENT, '198.51.100.1'],
      ['a neighbour of the trusted address', '192.0.2.2', CLIENT, '192.0.2.2'],
      ['a mapped peer is trusted as IPv4', '::ffff:10.0.0.1', CLIENT, CLIENT],
      ['a mapped hop is trusted as IPv4', PROXY, `${CLIENT}, ::ffff:10.0.0.2`, CLIENT],
      ['an IPv6 client', PROXY, '2001:db8:1:2::3', '2001:db8:1:2::/64'],
      ['all are trusted: the one furthest away', PROXY, '10.0.0.3, 10.0.0.2', '10.0.0.3'],
      ['ports', PROXY, `${CLIENT}:1234, 10.0.0.2:80`, CLIENT],
      ['brackets and a port', PROXY, '[2001:db8:1:2::3]:443', '2001:db8:1:2::/64'],
      ['spaces and tabs', PROXY, `\t ${CLIENT} \t,10.0.0.2\t`, CLIENT],
      ['repeated lines, in order', PROXY, ['1.1.1.1', CLIENT, '10.0.0.2'], CLIENT],
      [
        'repeated lines with several each',
        PROXY,
        [`1.1.1.1, ${CLIENT}`, '10.0.0.3,10.0.0.2'],
        CLIENT,
      ],
    ]);
  });

  test('finds the client behind named proxies', () => {
    const trusts = (name: string, peer: string): boolean =>
      clientAddress(request(peer, { 'x-forwarded-for': CLIENT }), { trustedProxies: [name] }) ===
      CLIENT;
    const trusted = (name: string): string[] =>
      [
        '127.0.0.1',
        '127.255.255.255',
        '::1',
        '128.0.0.1',
        '::2',
        '169.254.0.1',
        '169.253.0.1',
        'fe80::1',
        'febf::1%eth0',
        'fec0::1',
        '10.0.0.1',
        '11.0.0.1',
        '172.16.0.1',
        '172.31.0.1',
        '172.32.0.1',
        '172.15.0.1',
        '192.168.0.1',
        '192.169.0.1',
        'fc00::1',
        'fdff::1',
        'fe00::1',
        '100.64.0.1',
      ].filter((peer) => trusts(name, peer));
    expect(trusted('loopback')).toEqual(['127.0.0.1', '127.255.255.255', '::1']);
    expect(trusted('linklocal')).toEqual(['169.254.0.1', 'fe80::1', 'febf::1%eth0']);
    const own = ['10.0.0.1', '172.16.0.1', '172.31.0.1', '192.168.0.1', 'fc00::1', 'fdff::1'];
    expect(trusted('private')).toEqual(own);
    expect(trusted('uniquelocal')).toEqual(own);
    expect(trusted('unix')).toEqual([]);
  });

  test('finds the client behind a number of hops', () => {
    expectRows({ trustedProxies: 1 }, [
      ['what the one proxy wrote', '198.51.100.1', CLIENT, CLIENT],
      ['and nothing further left', '198.51.100.1', `1.1.1.1, ${CLIENT}`, CLIENT],
      ['by IPv6', '2001:db8::1', `10.0.0.1, ${CLIENT}`, CLIENT],
    ]);
    expectRows({ trustedProxies: 2 }, [
      ['what the second wrote', '198.51.100.1', `1.1.1.1, ${CLIENT}, 198.51.100.2`, CLIENT],
      ['as far as the header goes', '198.51.100.1', CLIENT, CLIENT],
      ['the nearest wrote none', '198.51.100.1', `${CLIENT}, unknown`, '198.51.100.1'],
    ]);
    expect(clientAddress(request(CLIENT), { trustedProxies: 1 })).toBe(CLIENT);
  });

  test('a Unix domain socket has no address and is trusted by name or as a hop', () => {
    const headers = { 'x-forwarded-for': `1.1.1.1, ${CLIENT}` };
    const unix = { headers, socket: { destroyed: false } };
    expect(clientAddress(unix)).toBeUndefined();
    expect(clientAddress(unix, { trustedProxies: ['loopback'] })).toBeUndefined();
    expect(clientAddress(unix, { trustedProxies: ['unix'] })).toBe(CLIENT);
    expect(clientAddress(unix, { trustedProxies: 1 })).toBe(CLIENT);
    expect(clientAddress({ ...unix, headers: {} }, { trustedProxies: ['unix'] })).toBeUndefined();
    const unknown = { ...unix, headers: { 'x-forwarded-for': 'unknown' } };
    expect(clientAddress(unknown, { trustedProxies: ['unix'] })).toBeUndefined();
  });

  test('a closed TCP connection is not taken for a Unix domain socket', () => {
    const headers = { 'x-forwarded-for': CLIENT };
    for (const trustedProxies of [['unix'], ['loopback', 'unix'], 1]) {
      for (const socket of [{ destroyed: true }, { destroyed: false, localAddress: '127.0.0.1' }]) {
        expect(clientAddress({ headers, socket }, { trustedProxies })).toBeUndefined();
      }
    }
  });
});

describe('a hop that is not an address ends the walk at the last trusted hop', () => {
  test.each([
    '',
    ' ',
    ',',
    '1.1.1.1,',
    '1.1.1.1, ,',
    'unknown',
    '_hidden',
    '_SEVKISEK',
    'localhost',
    '1.2.3',
    '1.2.3.256',
    '0x7f.1',
    '1.2.3.4:99999',
    '1.2.3.4.',
    '1.2.3.4 5.6.7.8',
    '1.2.3.4;5.6.7.8',
    '"1.2.3.4"',
    'for=1.2.3.4',
    '[1.2.3.4]',
    '[::1',
    '::1]:80',
    '\u00a01.2.3.4',
    '１.2.3.4',
    '__proto__',
    'null',
  ])('the hop %j ends the walk', (hop) => {
    expectRows({ trustedProxies: ['private'] }, [
      ['at once', PROXY, hop, PROXY],
      ['behind another proxy', PROXY, `${hop}, 10.0.0.2`, '10.0.0.2'],
      ['before what a client wrote', PROXY, `1.1.1.1, ${hop}`, PROXY],
      ['further left it is never reached', PROXY, `${hop}, ${CLIENT}`, CLIENT],
    ]);
  });
});

describe('the header Forwarded', () => {
  const options: AddressOptions = { trustedProxies: ['private'], forwardedHeader: 'forwarded' };

  test('is read as RFC 7239 specifies', () => {
    expectRows(options, [
      ['the client alone', PROXY, `for=${CLIENT}`, CLIENT],
      ['names in any case', PROXY, `For=${CLIENT};PROTO=http`, CLIENT],
      ['not the first of the parameters', PROXY, `by=10.0.0.1;proto=https;for=${CLIENT}`, CLIENT],
      ['quoted', PROXY, `for="${CLIENT}"`, CLIENT],
      ['quoted, with a port', PROXY, `for="${CLIENT}:4711"`, CLIENT],
      ['with an obfuscated port', PROXY, `for="${CLIENT}:_p"`, CLIENT],
      ['IPv6', PROXY, 'for="[2001:db8:1:2::3]"', '2001:db8:1:2::/64'],
      ['IPv6 with a port', PROXY, 'for="[2001:db8:1:2::3]:80"', '2001:db8:1:2::/64'],
      ['escapes in a quoted string', PROXY, 'for="\\2\\0\\3.0.113.7"', CLIENT],
      ['a port without quotes, as some write it', PROXY, `for=${CLIENT}:80`, CLIENT],
      ['brackets without quotes, too', PROXY, 'for=[2001:db8:1:2::3]:80', '2001:db8:1:2::/64'],
      ['two proxies', PROXY, `for=${CLIENT}, for=10.0.0.2;by=10.0.0.1`, CLIENT],
      ['repeated lines', PROXY, [`for=${CLIENT}`, 'for=10.0.0.2'], CLIENT],
      ['spaces around', PROXY, ` for=${CLIENT} ; proto=http ,\tfor=10.0.0.2 `, CLIENT],
      ['empty pairs', PROXY, `;;for=${CLIENT};;by=_x;`, CLIENT],
      [
        'commas and quotes in other parameters',
        PROXY,
        `for=${CLIENT};host="a, for=1.1.1.1;\\"b\\\\"`,
        CLIENT,
      ],
      ['made up by the client', PROXY, `for=1.1.1.1, for=${CLIENT}`, CLIENT],
    ]);
  });

  test.each([
    'for=unknown',
    'for=_hidden',
    'for="_hidden:_port"',
    'proto=https',
    'by=1.1.1.1',
    '1.1.1.1',
    '',
    'for',
    'for=',
    'for=""',
    '=1.1.1.1',
    'for =1.1.1.1',
    'for= "1.1.1.1"',
    'for="1.1.1.1',
    'for=1.1.1.1"',
    'for="1.1.1.1"x',
    'for="1.1.1.1"for=1.1.1.1',
    'for="1.1.1.1\\"',
    'for=1.1.1.1 proto=http',
    'for=1.1.1.1;for=2.2.2.2',
    'for=1.1.1.1;FOR="2.2.2.2"',
    'for=1.1.1.1;"proto"=http',
    'for=1.1.1.1;proto',
    'for=\u00a01.1.1.1',
    'xfor=1.1.1.1',
  ])('the element %j names no client', (element) => {
    expectRows(options, [
      ['at once', PROXY, element, PROXY],
      ['behind another proxy', PROXY, `${element}, for=10.0.0.2`, '10.0.0.2'],
      ['further left it is never reached', PROXY, `${element}, for=${CLIENT}`, CLIENT],
    ]);
  });

  test('only the configured header is read', () => {
    const headers = { forwarded: 'for=1.1.1.1', 'x-forwarded-for': '2.2.2.2' };
    expect(clientAddress(request(PROXY, headers), options)).toBe('1.1.1.1');
    expect(clientAddress(request(PROXY, headers), { trustedProxies: ['private'] })).toBe('2.2.2.2');
    const { forwarded } = headers;
    expect(clientAddress(request(PROXY, { forwarded }), { trustedProxies: ['private'] })).toBe(
      PROXY,
    );
    const other = { 'x-forwarded-for': '2.2.2.2' };
    expect(clientAddress(request(PROXY, other), options)).toBe(PROXY);
  });
});

describe('reading ends at 8 KiB and 32 hops, counted from the right', () => {
  const chain = (length: number): string[] => Array.from({ length }, (_, i) => `10.0.1.${i}`);

  test.each<[why: string, header: string, client: string]>([
    ['31 trusted hops and the client', [CLIENT, ...chain(31)].join(), CLIENT],
    ['32 trusted hops: the last of them', [CLIENT, ...chain(32)].join(), '10.0.1.0'],
    ['200 trusted hops', chain(200).join(), '10.0.1.168'],
    ['8 KiB', `1.1.1.1,${' '.repeat(8_191 - CLIENT.length)}${CLIENT}`, CLIENT],
    ['one byte more', `1.1.1.1,${' '.repeat(8_192 - CLIENT.length)}${CLIENT}`, PROXY],
    [
      'an element that begins where reading ends',
      `${CLIENT}${' '.repeat(8_192 - CLIENT.length)}`,
      CLIENT,
    ],
    ['or just before', `1.1.1.1,${CLIENT}${' '.repeat(8_192 - CLIENT.length)}`, PROXY],
    ['a megabyte before the client', `${'1.1.1.1, '.repeat(120_000)}${CLIENT}`, CLIENT],
    ['a megabyte of commas', ','.repeat(2 ** 20), PROXY],
    ['a megabyte of nothing', ' '.repeat(2 ** 20), PROXY],
  ])('finds the client with %s', (why, header, client) => {
    expectRows({ trustedProxies: ['private'] }, [[why, PROXY, header, client]]);
  });

  test('Forwarded is read within the same bounds', () => {
    const options: AddressOptions = { trustedProxies: ['private'], forwardedHeader: 'forwarded' };
    const hops = chain(32).map((hop) => `for=${hop}`);
    expectRows(options, [
      ['31 hops', PROXY, [`for=${CLIENT}`, ...hops.slice(1)].join(', '), CLIENT],
      ['32 hops', PROXY, [`for=${CLIENT}`, ...hops].join(', '), '10.0.1.0'],
      ['a megabyte of quotes', PROXY, `${'"\\'.repeat(2 ** 19)}, for=${CLIENT}`, CLIENT],
      ['a megabyte of quotes last', PROXY, '"\\'.repeat(2 ** 19), PROXY],
    ]);
  });
});

test('nothing that a client writes changes what its proxy wrote', async () => {
  const pieces = [
    '"',
    '\\',
    ',',
    ';',
    '=',
    ' ',
    'for=',
    'for="',
    '1.1.1.1',
    '[::1]',
    '_x',
    'by="a',
    '\t',
    '%',
    ':',
  ];
  const readers = (['x-forwarded-for', 'forwarded'] as const).map((header) => ({
    header,
    identify: identifyByAddress({ trustedProxies: ['10.0.0.1'], forwardedHeader: header }),
  }));
  await check(casesOf(20_000), (random) => {
    const junk = random.list(0, 12, () => random.pick(pieces)).join('');
    const bytes = randomBytes(random);
    const written = dress(spell(bytes, random), random);
    const expected = expectedGroup(bytes, 64);
    random.note('client and proxy', { junk, written });
    for (const { header, identify } of readers) {
      const own = header === 'forwarded' ? `for="${written}";proto=https` : written;
      if (expected !== PROXY) {
        expect(identify(request(PROXY, { [header]: `${junk},${own}` })), header).toBe(expected);
      }
    }
  });
});

describe('the shapes of a request', () => {
  test('reads headers with `get`', () => {
    const headers = new Headers([
      ['x-forwarded-for', '1.1.1.1'],
      ['X-Forwarded-For', CLIENT],
    ]);
    const socket = { remoteAddress: PROXY };
    expect(clientAddress({ headers, socket }, { trustedProxies: ['private'] })).toBe(CLIENT);
  });

  test('reads a web-standard Request beside its remoteAddress', () => {
    const web = new Request('http://localhost/', { headers: { 'x-forwarded-for': CLIENT } });
    expect(clientAddress(web, { remoteAddress: '198.51.100.1' })).toBe('198.51.100.1');
    const trustedProxies = ['private'];
    expect(clientAddress(web, { trustedProxies, remoteAddress: PROXY })).toBe(CLIENT);
    expect(clientAddress(web, { trustedProxies, remoteAddress: undefined })).toBeUndefined();
  });

  test('reads an object with remoteAddress and header(), and only headers of trusted peers', () => {
    const asked: string[] = [];
    const source = (remoteAddress: string | undefined, unix?: boolean) => ({
      remoteAddress,
      ...(unix === undefined ? {} : { unix }),
      header(name: string) {
        asked.push(name);
        return name === 'x-forwarded-for' ? CLIENT : null;
      },
    });
    const identify = identifyByAddress({ trustedProxies: ['private', 'unix'] });
    expect(identify(source(PROXY))).toBe(CLIENT);
    expect(identify(source(undefined, true))).toBe(CLIENT);
    expect(asked).toEqual(['x-forwarded-for', 'x-forwarded-for']);
    expect(identify(source('198.51.100.1'))).toBe('198.51.100.1');
    expect(identify(source(undefined))).toBeUndefined();
    expect(identify(source(undefined, false))).toBeUndefined();
    expect(identifyByAddress({ trustedProxies: [] })(source(CLIENT))).toBe(CLIENT);
    // The header of an untrusted peer is not even read.
    expect(asked).toHaveLength(2);
  });

  test.each<[string, unknown]>([
    ['an empty object', {}],
    ["Hono's own request", { header: () => CLIENT, raw: {} }],
    ['a promise', Promise.resolve()],
  ])('%s fails with a hint what to pass', (_, wrong) => {
    const told = refusal('request', 'an object', /^must have `headers`/, /`ctx\.req`/);
    for (const options of [{}, { trustedProxies: ['private'] }, { trustedProxies: [] }]) {
      expect(refusalOf(() => identifyByAddress(options)(wrong as AddressRequest))).toEqual(told);
    }
    const remoteAddress = PROXY;
    expect(refusalOf(() => clientAddress(wrong as AddressRequest, { remoteAddress }))).toEqual(
      told,
    );
  });
});

describe('the warning DRL_UNTRUSTED_FORWARDED', () => {
  const secret = '203.0.113.99';
  const forwarded = request('198.51.100.77', { 'x-forwarded-for': secret });

  test('is emitted once per reader when a forwarded header arrives without trusted proxies, without an address', async () => {
    const one = identifyByAddress();
    const other = identifyByAddress({ ipv6Prefix: 56 });
    one(request('198.51.100.77'));
    expect(await warnings()).toEqual([]);
    for (let i = 0; i < 5; i++) one(forwarded);
    expect(await warnings()).toHaveLength(1);
    other(request('198.51.100.77', { forwarded: `for=${secret}` }));
    other(forwarded);
    const emitted = await warnings();
    expect(emitted).toHaveLength(2);
    for (const warning of emitted) {
      expect(warning).toMatchObject({
        name: 'RateLimiterWarning',
        code: 'DRL_UNTRUSTED_FORWARDED',
      });
      expect(warning.message).toContain('`trustedProxies`');
      expect(warning.message).not.toMatch(/\d+\.\d+\.\d+|::/);
    }
  });

  test('is emitted once for all calls of clientAddress', async () => {
    // Earlier tests may have caused the warning already.
    vi.resetModules();
    const fresh = await import('../../../src/http/address/client-address.ts');
    fresh.clientAddress(forwarded, { trustedProxies: [] });
    expect(await warnings()).toEqual([]);
    for (let i = 0; i < 5; i++) fresh.clientAddress(forwarded);
    fresh.clientAddress(forwarded, { ipv6Prefix: 56 });
    expect(await warnings()).toHaveLength(1);
  });

  test('is not emitted when trusted proxies are configured, or none', async () => {
    for (const trustedProxies of [[], ['loopback'], ['unix'], 1]) {
      identifyByAddress({ trustedProxies })(forwarded);
    }
    expect(await warnings()).toEqual([]);
  });
});

describe('address options', () => {
  const make = (options: unknown) => () => identifyByAddress(options as AddressOptions);
  const everyone = /every client writes its own address: name the proxies/;

  test.each<[shown: string, value: unknown, rule: RegExp, cure: RegExp]>([
    ['true', true, /^must be a list/, everyone],
    ['"*"', '*', /^must be a list/, everyone],
    ['false', false, /^must be a list/, /Leave it out/],
    ['null', null, /^must be a list/, /list/],
    ['"loopback"', 'loopback', /^must be a list/, /Put it into a list/],
    ['"10.0.0.0/8, loopback"', '10.0.0.0/8, loopback', /^must be a list/, /one entry for each/],
    ['an object', {}, /^must be a list/, /list/],
    ['an object', new Set(['loopback']), /^must be a list/, /list/],
    ['a function', () => true, /^must be a list/, /list/],
    ['0', 0, /^must be a whole number from 1 to 32/, /range/],
    ['33', 33, /^must be a whole number from 1 to 32/, /range/],
    ['1.5', 1.5, /^must be a whole number from 1 to 32/, /range/],
    ['NaN', Number.NaN, /^must be a whole number from 1 to 32/, /range/],
    ['Infinity', Number.POSITIVE_INFINITY, /^must be a whole number from 1 to 32/, /range/],
  ])('refuses trustedProxies: %s (%#)', (shown, value, rule, cure) => {
    expect(refusalOf(make({ trustedProxies: value }))).toEqual(
      refusal('trustedProxies', shown, rule, cure),
    );
  });

  const form = /^must be an address, a CIDR or one of 'loopback', 'linklocal', 'private'/;
  test.each<[shown: string, value: unknown, rule: RegExp, cure: RegExp]>([
    ['"*"', '*', /address/, everyone],
    ['"0.0.0.0/0"', '0.0.0.0/0', /every address/, everyone],
    ['"::/0"', '::/0', /every address/, everyone],
    ['"1.2.3.4/0"', '1.2.3.4/0', /every address/, everyone],
    ['"0:0:0:0:0:0:0:0/0"', '0:0:0:0:0:0:0:0/0', /every address/, everyone],
    ['"::ffff:0:0/96"', '::ffff:0:0/96', /every address/, everyone],
    ['"::ffff:0.0.0.0/96"', '::ffff:0.0.0.0/96', /every address/, everyone],
    ['"10.0.0.1/8"', '10.0.0.1/8', /first address/, /'10\.0\.0\.0\/8'/],
    ['"2001:db8::1/32"', '2001:db8::1/32', /first address/, /'2001:db8::\/32'/],
    ['"Loopback"', 'Loopback', form, /without port/],
    ['"localhost"', 'localhost', form, /without port/],
    ['"constructor"', 'constructor', form, /without port/],
    ['""', '', form, /without port/],
    ['"127.0.0.1:80"', '127.0.0.1:80', form, /without port/],
    ['"[::1]"', '[::1]', form, /without port/],
    ['"fe80::1%eth0"', 'fe80::1%eth0', form, /zone/],
    ['"10.0.0.0/255.0.0.0"', '10.0.0.0/255.0.0.0', form, /\/24/],
    ['"10.0.0.0/33"', '10.0.0.0/33', form, /\/24/],
    ['"010.0.0.0/8"', '010.0.0.0/8', form, /\/24/],
    ['"10.0.0.0/8 "', '10.0.0.0/8 ', form, /\/24/],
    ['true', true, form, /\/24/],
    ['10', 10, form, /\/24/],
    ['null', null, form, /\/24/],
    ['an array of 1', ['loopback'], form, /\/24/],
    ['an object', hostileProxy, form, /\/24/],
  ])('refuses trustedProxies: [%s] (%#)', (shown, value, rule, cure) => {
    expect(refusalOf(make({ trustedProxies: ['loopback', value] }))).toEqual(
      refusal('trustedProxies[1]', shown, rule, cure),
    );
  });

  test('refuses a hole in the list', () => {
    expect(refusalOf(make({ trustedProxies: Array(1) }))).toEqual(
      refusal('trustedProxies[0]', 'undefined', form),
    );
  });

  test.each(notWholeNumbers)('refuses ipv6Prefix: %s (%#)', (shown, value) => {
    expect(refusalOf(make({ ipv6Prefix: value }))).toEqual(
      refusal('ipv6Prefix', shown, /^must be a whole number from 32 to 128$/),
    );
  });

  test.each([31, 129])('refuses ipv6Prefix: %i', (value) => {
    expect(refusalOf(make({ ipv6Prefix: value }))).toEqual(
      refusal('ipv6Prefix', String(value), /^must be a whole number from 32 to 128$/),
    );
  });

  test.each(['X-Forwarded-For', 'x-real-ip', '', true, null, ['forwarded']])(
    'refuses forwardedHeader: %j',
    (value) => {
      expect(refusalOf(make({ forwardedHeader: value }))).toMatchObject({
        option: 'forwardedHeader',
        rule: "must be one of 'x-forwarded-for', 'forwarded'",
      });
    },
  );

  test.each([
    ['trustProxy', '`trustedProxies`'],
    ['trustedProxy', '`trustedProxies`'],
    ['hops', '`trustedProxies`'],
    ['ipv6Subnet', '`ipv6Prefix`'],
    ['ipv6prefix', '`ipv6Prefix`'],
    ['remoteAddress', 'Known options: trustedProxies, forwardedHeader, ipv6Prefix'],
  ])('refuses the unknown option %s', (name, meant) => {
    expect(refusalOf(make({ [name]: true }))).toMatchObject({
      option: name,
      rule:
        'must'.length > 0 ? expect.stringMatching(/^is not an option of identifyByAddress/) : '',
      cure: expect.stringContaining(meant),
    });
  });

  test('are checked for each call of clientAddress', () => {
    expect(
      refusalOf(() => clientAddress(request(CLIENT), { trustProxy: 1 } as AddressOptions)),
    ).toMatchObject({
      rule: 'is not an option of clientAddress',
      cure: 'Did you mean `trustedProxies`?',
    });
    const remoteAddress = 7 as unknown as string;
    expect(refusalOf(() => clientAddress(request(CLIENT), { remoteAddress }))).toEqual(
      refusal('remoteAddress', '7', /^must be a string$/),
    );
  });

  test('refuses an unreadable proxy object', () => {
    expect(refusalOf(make({ trustedProxies: hostileProxy }))).toMatchObject({
      option: 'trustedProxies',
    });
    expect(refusalOf(make(null))).toMatchObject({ option: 'identifyByAddress options' });
  });

  test('are read once, so later changes of the list have no effect', () => {
    const trustedProxies = ['10.0.0.0/8'];
    const options = { trustedProxies };
    const identify = identifyByAddress(options);
    trustedProxies[0] = '198.51.100.0/24';
    options.trustedProxies = [];
    expect(identify(request(PROXY, { 'x-forwarded-for': CLIENT }))).toBe(CLIENT);
    expect(identify(request('198.51.100.1', { 'x-forwarded-for': CLIENT }))).toBe('198.51.100.1');
  });
});
