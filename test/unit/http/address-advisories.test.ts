import { describe, expect, test } from 'vitest';
import { clientAddress, identifyByAddress } from '../../../src/http/address/client-address.ts';
import type { AddressOptions, AddressRequest } from '../../../src/http/address/client-address.ts';

/** Vulnerabilities published for other libraries, each under its advisory's number, and why they do not occur here. */

const PROXY = '10.0.0.1';
const CLIENT = '203.0.113.7';
const BEHIND_PROXY: AddressOptions = { trustedProxies: ['10.0.0.1'] };

function request(remoteAddress: string, forwardedFor?: string): AddressRequest {
  return {
    headers: forwardedFor === undefined ? {} : { 'x-forwarded-for': forwardedFor },
    socket: { remoteAddress, localAddress: '10.0.0.80', destroyed: false },
  };
}

/** The groups of requests through the proxy, with these texts before the real client in the header. */
function groups(
  written: readonly string[],
  options: AddressOptions = BEHIND_PROXY,
): Set<string | undefined> {
  const identify = identifyByAddress(options);
  return new Set(written.map((text) => identify(request(PROXY, text))));
}

describe('X-Forwarded-For spoofing', () => {
  const made = Array.from({ length: 256 }, (_, i) => `198.51.100.${i}`);

  test('GHSA-p6v2-xcpg-h6xw / CVE-2026-45364: the leftmost entry, written by the client, does not identify it', () => {
    expect(groups(made.map((text) => `${text}, ${CLIENT}`))).toEqual(new Set([CLIENT]));
  });

  test('CVE-2020-28483: without a trusted proxy no header identifies the client', () => {
    const identify = identifyByAddress({ trustedProxies: [] });
    for (const header of ['x-forwarded-for', 'x-real-ip', 'x-appengine-remote-addr', 'forwarded']) {
      const { socket } = request(CLIENT);
      expect(identify({ headers: { [header]: '198.51.100.1' }, socket })).toBe(CLIENT);
    }
  });

  test('GHSA-444r-cwp2-x5xf / CVE-2026-3635: a client that bypasses the proxy is not believed, whatever it sends', () => {
    const identify = identifyByAddress(BEHIND_PROXY);
    for (const text of made) expect(identify(request(CLIENT, text))).toBe(CLIENT);
    for (const text of made) expect(identify(request(CLIENT, `${text}, ${PROXY}`))).toBe(CLIENT);
  });

  test('GHSA-3m5p-2c4r-xxw2 / CVE-2026-16732: a number of hops trusts any peer and that many entries; a list does not', () => {
    // The documentation's warning: this holds only if no client can bypass the proxy.
    expect(clientAddress(request(CLIENT, '198.51.100.1'), { trustedProxies: 1 })).toBe(
      '198.51.100.1',
    );
    expect(clientAddress(request(CLIENT, '198.51.100.1'), BEHIND_PROXY)).toBe(CLIENT);
    // A longer header does not help a client behind the proxy.
    expect(
      groups(
        made.map((text) => `${text}, ${CLIENT}`),
        { trustedProxies: 1 },
      ),
    ).toEqual(new Set([CLIENT]));
  });
});

describe('IPv4-mapped IPv6', () => {
  test('GHSA-46wh-pxpv-q5gq / CVE-2026-30827: IPv4 clients of a dual-stack server are not one group', () => {
    const found = new Set<string | undefined>();
    for (let i = 0; i < 256; i++) {
      found.add(clientAddress(request(`::ffff:203.0.${i}.7`)));
      found.add(clientAddress(request(`::ffff:203.0.${i}.7`), { ipv6Prefix: 56 }));
    }
    expect(found.size).toBe(256);
    expect(found).toContain('203.0.113.7');
  });

  test('mapped addresses are recognised by bits, not by notation (express-rate-limit 8.6.2)', () => {
    const spellings = [
      '::ffff:203.0.113.7',
      '::ffff:cb00:7107',
      '0:0:0:0:0:ffff:cb00:7107',
      '::FFFF:CB00:7107',
    ];
    for (const text of [...spellings, '0:0::0:ffff:203.0.113.7']) {
      expect(clientAddress(request(text))).toBe(CLIENT);
    }
    // Dots alone do not make an address IPv4.
    expect(clientAddress(request('2001:db8::203.0.113.7'))).toBe('2001:db8::/64');
  });

  test('GHSA-xpcf-pg52-r92g / CVE-2026-39409: rules for IPv4 hold for mapped addresses and vice versa', () => {
    for (const trusted of ['10.0.0.1', '10.0.0.0/8', '::ffff:10.0.0.1', '::ffff:a00:0/104']) {
      for (const peer of [
        '10.0.0.1',
        '::ffff:10.0.0.1',
        '::ffff:a00:1',
        '0:0:0:0:0:ffff:10.0.0.1',
      ]) {
        expect(clientAddress(request(peer, CLIENT), { trustedProxies: [trusted] })).toBe(CLIENT);
      }
    }
  });
});

describe('IPv6', () => {
  test('GHSA-p6v2-xcpg-h6xw / CVE-2026-45364: a client that rotates inside its /64 stays one client', () => {
    const rotating = Array.from(
      { length: 65_536 },
      (_, i) => `2001:db8:1:2:${i.toString(16)}::${(65_535 - i).toString(16)}`,
    );
    expect(groups(rotating)).toEqual(new Set(['2001:db8:1:2::/64']));
    expect(groups(['2001:db8:1:3::1'])).toEqual(new Set(['2001:db8:1:3::/64']));
  });

  const spellings = [
    '2001:db8::a',
    '2001:DB8::A',
    '2001:0db8::000a',
    '2001:db8:0:0:0:0:0:a',
    '2001:db8:0::0:a',
    '2001:db8::0.0.0.10',
    '2001:db8::a%eth0',
    '[2001:db8::a]',
    '[2001:db8::a]:443',
  ];

  test('GHSA-p6v2-xcpg-h6xw / CVE-2026-45364: one address in many spellings is one client', () => {
    expect(groups(spellings, { ...BEHIND_PROXY, ipv6Prefix: 128 })).toEqual(
      new Set(['2001:db8::a/128']),
    );
  });

  test('CVE-2026-47674: a rule holds however the rule and the address are spelt', () => {
    for (const rule of spellings.filter((text) => !/[[%]/.test(text))) {
      const identify = identifyByAddress({ trustedProxies: [rule] });
      for (const peer of spellings) expect(identify(request(peer, CLIENT))).toBe(CLIENT);
    }
  });
});

describe('lenient IPv4', () => {
  test('GHSA-r354-f388-2fhh: an octet over 255 does not overflow into another address', () => {
    // 266 is 10 in eight bits.
    for (const text of [
      '266.0.0.1',
      '10.0.0.257',
      '10.0.256.1',
      '10.0.0.4294967297',
      '::ffff:266.0.0.1',
    ]) {
      expect(groups([text])).toEqual(new Set([PROXY]));
      expect(clientAddress(request(text, CLIENT), BEHIND_PROXY)).toBeUndefined();
    }
  });

  test('CVE-2023-42282: hexadecimal, octal and short forms are no addresses and never trusted', () => {
    const loopback = [
      '0x7f.1',
      '0x7f.0.0.1',
      '0177.0.0.1',
      '127.1',
      '2130706433',
      '127.0.0.01',
      '::ffff:127.1',
    ];
    for (const text of loopback) {
      expect(groups([text])).toEqual(new Set([PROXY]));
      expect(groups([`${CLIENT}, ${text}`], { trustedProxies: ['loopback', PROXY] })).toEqual(
        new Set([PROXY]),
      );
    }
  });
});
