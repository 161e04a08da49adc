import { describe, expect, test } from 'vitest';
import { clientAddress } from 'distributed-rate-limiter/http';
import type { AddressRequest, ClientAddressOptions } from 'distributed-rate-limiter/http';

const CLIENT = '203.0.113.7';
const FORGED = '198.51.100.99';

/** A request as it arrives behind a platform's proxies, from a client that forged every field it could. */
interface Arrival {
  readonly peer: string;
  readonly headers: Record<string, string>;
  readonly options: (headers: Record<string, string>) => ClientAddressOptions;
}

const cloudflare = ['104.16.0.0/13', '173.245.48.0/20', '2400:cb00::/32'];

const platforms: [name: string, arrival: Arrival][] = [
  [
    'nginx that appends',
    {
      peer: '127.0.0.1',
      headers: { 'x-forwarded-for': `${FORGED}, ${CLIENT}` },
      options: () => ({ trustedProxies: ['loopback'] }),
    },
  ],
  [
    'nginx, Caddy or Traefik that overwrites',
    {
      peer: '172.18.0.2',
      headers: { 'x-forwarded-for': CLIENT },
      options: () => ({ trustedProxies: ['172.18.0.0/16'] }),
    },
  ],
  [
    'Cloudflare',
    {
      peer: '173.245.48.5',
      headers: { 'x-forwarded-for': `${FORGED},${CLIENT}`, 'cf-connecting-ip': CLIENT },
      options: () => ({ trustedProxies: cloudflare }),
    },
  ],
  [
    'Vercel',
    {
      peer: '127.0.0.1',
      headers: { 'x-forwarded-for': CLIENT },
      options: (headers) => ({ remoteAddress: headers['x-forwarded-for'] }),
    },
  ],
  [
    'Fly.io',
    {
      peer: '172.16.0.2',
      headers: { 'x-forwarded-for': `${FORGED}, ${CLIENT}, 66.241.1.1`, 'fly-client-ip': CLIENT },
      options: (headers) => ({ remoteAddress: headers['fly-client-ip'], trustedProxies: [] }),
    },
  ],
  [
    'Render',
    {
      peer: '10.21.157.68',
      headers: { 'x-forwarded-for': `${FORGED}, ${CLIENT}, 104.22.17.40` },
      options: () => ({ trustedProxies: ['10.0.0.0/8', ...cloudflare] }),
    },
  ],
  [
    'an Application Load Balancer that adds ports',
    {
      peer: '10.0.1.17',
      headers: { 'x-forwarded-for': `${FORGED}, ${CLIENT}:53411` },
      options: () => ({ trustedProxies: ['10.0.1.0/24', '10.0.2.0/24'] }),
    },
  ],
];

describe('the settings for each platform on the page on addresses', () => {
  test.each(platforms)('%s: the client is found, whatever it forges', (_, arrival) => {
    const { peer, headers, options } = arrival;
    const request: AddressRequest = { headers, socket: { remoteAddress: peer } };
    expect(clientAddress(request, options(headers))).toBe(CLIENT);
  });

  const byList = platforms.filter(
    ([, { headers, options }]) => !('remoteAddress' in options(headers)),
  );
  test.each(byList)(
    '%s: a client that bypasses the proxy is identified by its own address',
    (_, { headers, options }) => {
      const request: AddressRequest = { headers, socket: { remoteAddress: FORGED } };
      expect(clientAddress(request, options(headers))).toBe(FORGED);
    },
  );
});
