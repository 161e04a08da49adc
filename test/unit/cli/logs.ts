/** One request of a made log. */
export interface Made {
  /** Unix milliseconds. */
  readonly at: number;
  readonly address: string;
  readonly path?: string;
  readonly user?: string;
  readonly tookMs?: number;
}

const MONTHS = 'Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec'.split(' ');

function common(at: number): string {
  const [, year, month, day, time] = /^(\d+)-(\d+)-(\d+)T([\d:]+)/.exec(
    new Date(at).toISOString(),
  )!;
  return `${day}/${MONTHS[Number(month) - 1]}/${year}:${time} +0000`;
}

function iso(at: number): string {
  return new Date(at).toISOString();
}

/** How each format writes a request. */
export const LINES: Readonly<Record<string, (request: Made) => string>> = {
  combined: ({ at, address, user = '-', path = '/' }) =>
    `${address} - ${user} [${common(at)}] "GET ${path} HTTP/1.1" 200 512 "https://example.org/" "curl/8 \\"quoted\\""`,
  common: ({ at, address, user = '-', path = '/' }) =>
    `${address} - ${user} [${common(at)}] "GET ${path} HTTP/1.1" 200 512`,
  alb: ({ at, address, path = '/', tookMs = 0 }) =>
    `https ${iso(at + tookMs)} app/lb/1 ${address}:40000 10.0.0.1:80 0.000 0.001 0.000 200 200 34 366 "GET https://example.org:443${path} HTTP/1.1" "curl/8" TLS_AES TLSv1.3 arn:aws:tg "Root=1-5" "example.org" "arn:aws:cert" 0 ${iso(at)} "forward" "-" "-" "10.0.0.1:80" "200" "-" "-"`,
  envoy: ({ at, address, path = '/' }) =>
    `[${iso(at)}] "GET ${path} HTTP/2" 200 - 0 512 13 12 "198.51.100.9, ${address}" "curl/8" "6f1d" "example.org" "10.0.0.1:80"`,
  cloudflare: ({ at, address }) =>
    JSON.stringify({ ClientIP: address, EdgeStartTimestamp: at * 1e6, EdgeResponseStatus: 200 }),
  caddy: ({ at, address, tookMs = 0 }) =>
    JSON.stringify({
      level: 'info',
      ts: (at + tookMs) / 1_000,
      logger: 'http.log.access',
      request: { remote_ip: '10.0.0.1', client_ip: address, uri: '/' },
      duration: tookMs / 1_000,
      status: 200,
    }),
  traefik: ({ at, address, tookMs = 0 }) =>
    JSON.stringify({
      ClientAddr: `${address}:40000`,
      ClientHost: address,
      StartUTC: iso(at),
      time: iso(at + tookMs),
      DownstreamStatus: 200,
    }),
  'envoy-json': ({ at, address }) =>
    JSON.stringify({
      start_time: iso(at),
      x_forwarded_for: `198.51.100.9,${address}`,
      downstream_remote_address: '10.0.0.1:40000',
    }),
  json: ({ at, address, user = 'none' }) =>
    JSON.stringify({ time: at, ip: address, user: { id: user }, tokens: 3 }),
};

/** Steady callers and a busy one, over ten minutes. */
export function madeRequests(): Made[] {
  const start = Date.UTC(2026, 9, 10, 12);
  const requests: Made[] = [];
  for (let second = 0; second < 600; second += 10) {
    for (let caller = 1; caller <= 5; caller++) {
      requests.push({ at: start + second * 1_000 + caller, address: `192.0.2.${caller}` });
    }
  }
  for (let i = 0; i < 300; i++) {
    requests.push({ at: start + 120_000 + i * 500, address: '203.0.113.7', user: 'busy' });
  }
  return requests.toSorted((a, b) => a.at - b.at);
}

export function logOf(format: string, requests: readonly Made[]): string {
  return requests.map((request) => `${LINES[format]!(request)}\n`).join('');
}
