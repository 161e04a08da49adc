import { callerOf, clientOf, costOf, lastForwarded } from './caller.ts';
import { NO_CALLER, NO_COST, NO_TIME, NoEntry } from './entry.ts';
import type { FieldNames, LineParser } from './entry.ts';
import type { InstantReader } from './instant.ts';

type Json = Readonly<Record<string, unknown>>;

/** A format of JSON objects, one a line. */
interface JsonFormat {
  /** Candidates, the first that a line has is read. */
  readonly time: readonly string[];
  readonly key: readonly string[];
  /** Whether the object is a line of this format. */
  readonly holds: (object: Json) => boolean;
  /** Microseconds from `time` back to the request's beginning, where `time` is that of its end. */
  readonly took?: (object: Json) => number;
}

const NOT_JSON = new NoEntry('not a JSON object');
const NO_REQUEST = new NoEntry('no request', true);

/** https://caddyserver.com/docs/caddyfile/directives/log */
const CADDY: JsonFormat = {
  time: ['ts'],
  key: ['request.client_ip', 'request.remote_ip', 'request.remote_addr'],
  holds: ({ ts, request }) => ts !== undefined && typeof request === 'object' && request !== null,
  took: ({ duration }) => (typeof duration === 'number' ? duration * 1e6 : 0),
};

/** https://doc.traefik.io/traefik/observability/access-logs/ */
const TRAEFIK: JsonFormat = {
  time: ['StartUTC', 'StartLocal', 'time'],
  key: ['ClientHost', 'ClientAddr'],
  holds: ({ ClientHost, ClientAddr }) => ClientHost !== undefined || ClientAddr !== undefined,
};

/** https://developers.cloudflare.com/logs/logpush/logpush-job/datasets/zone/http_requests/ */
const CLOUDFLARE: JsonFormat = {
  time: ['EdgeStartTimestamp'],
  key: ['ClientIP'],
  holds: ({ EdgeStartTimestamp }) => EdgeStartTimestamp !== undefined,
};

/** Envoy with a JSON format, whose field names are those of Istio and of Envoy's own example. */
const ENVOY_JSON: JsonFormat = {
  time: ['start_time'],
  key: ['x_forwarded_for', 'downstream_remote_address', 'downstream_direct_remote_address'],
  holds: (object) =>
    object['start_time'] !== undefined &&
    ('x_forwarded_for' in object || 'downstream_remote_address' in object),
};

/** Any other objects. The names are those that loggers of Node.js, nginx and HAProxy configurations use. */
const PLAIN: JsonFormat = {
  time: ['time', 'timestamp', '@timestamp', 'ts', 'time_iso8601', 'msec', 'date', 'time_local'],
  key: 'remote_addr client_ip clientIp clientip remote_ip remoteAddress remote_address ip client req.remoteAddress req.ip'.split(
    ' ',
  ),
  holds: () => true,
};

export const JSON_FORMATS: Readonly<Record<string, JsonFormat>> = {
  cloudflare: CLOUDFLARE,
  caddy: CADDY,
  traefik: TRAEFIK,
  'envoy-json': ENVOY_JSON,
  json: PLAIN,
};

/** The object of a line; undefined for anything else. */
export function objectOf(line: string): Json | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Json)
      : undefined;
  } catch {
    return undefined;
  }
}

/** Makes a parser of a JSON format. `--field` names a property, or a path with dots. */
export function jsonParser(name: string, fields: FieldNames, instants: InstantReader): LineParser {
  const format = JSON_FORMATS[name]!;
  const given = (field: string): readonly Getter[] | undefined =>
    fields.has(field) ? [getter(fields.get(field)!)] : undefined;
  const times = given('time') ?? format.time.map(getter);
  const keys = given('key');
  const addresses = format.key.map(getter);
  const costs = given('cost');
  const took = fields.has('time') ? undefined : format.took;
  const parts = [...fields]
    .filter(([part]) => part !== 'time' && part !== 'key' && part !== 'cost')
    .map(([part, path]) => [part, getter(path)] as const);
  return (line) => {
    const object = objectOf(line);
    if (object === undefined) {
      return NOT_JSON;
    }
    if (!format.holds(object)) {
      return NO_REQUEST;
    }
    const time = instants.read(first(times, object));
    if (time === undefined) {
      return NO_TIME;
    }
    const caller =
      keys === undefined ? addressIn(first(addresses, object)) : callerOf(first(keys, object));
    if (caller === undefined) {
      return NO_CALLER;
    }
    const cost = costs === undefined ? 1 : costOf(first(costs, object));
    if (cost === undefined) {
      return NO_COST;
    }
    const at = took === undefined ? time : Math.max(0, Math.round(time - took(object)));
    if (parts.length === 0) {
      return { at, order: 0, caller, cost };
    }
    const named: Record<string, string> = {};
    for (const [part, get] of parts) {
      const value = callerOf(get(object));
      if (value === undefined) {
        return NO_CALLER;
      }
      named[part] = value;
    }
    return { at, order: 0, caller, cost, parts: named };
  };
}

function addressIn(value: unknown): string | undefined {
  return typeof value === 'string' ? clientOf(lastForwarded(value)) : undefined;
}

type Getter = (object: Json) => unknown;

/** Reads the property of that very name, or else follows the dots. */
function getter(path: string): Getter {
  const names = path.split('.');
  if (names.length === 1) {
    return (object) => own(object, path);
  }
  return (object) =>
    own(object, path) ?? names.reduce<unknown>((at, name) => own(at, name), object);
}

function own(object: unknown, name: string): unknown {
  return typeof object === 'object' && object !== null && Object.hasOwn(object, name)
    ? (object as Json)[name]
    : undefined;
}

/** The first value that is there; `-` and empty text are none. */
function first(getters: readonly Getter[], object: Json): unknown {
  for (const get of getters) {
    const value = get(object);
    if (value !== undefined && value !== null && value !== '' && value !== '-') {
      return value;
    }
  }
  return undefined;
}
